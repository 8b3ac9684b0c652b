/*
 * How many file descriptors a process may have, and how many replies that is.
 * Thread: the master, before workers.
 */
#ifndef SERVER_DESCRIPTORS_H
#define SERVER_DESCRIPTORS_H

struct config;

/* Takes as many as the system lets us have. */
void descriptors_raise(void);

/*
 * Cuts CHAT_STREAMS_MAX to what fits, and says so in the log: one reply too
 * many would be stored and charged, and then nobody would hear it.
 */
void descriptors_fit(struct config *config);

#endif
