/*
 * The chores thread: slow requests (password hashing, later extraction and
 * exports), so that the front never waits for one. A request comes here whole,
 * connection and arena included, and is answered from here. One whose client
 * has left meanwhile is dropped, one that waited longer than CHAT_CHORES_WAIT
 * gets 503: a crowd must not keep the thread hashing for clients long gone.
 *
 * Thread: chores_run is the thread; chores_give from the front.
 */
#ifndef SERVER_CHORES_H
#define SERVER_CHORES_H

#include <stdbool.h>
#include <stddef.h>

#include "http/reply.h"
#include "http/request.h"

struct chores;
struct shared;

/* A request that left libfcgi. Lives in its own arena. */
struct chore {
	struct request request;
	int fd;         /* the connection to nginx */
	int request_id; /* FastCGI's */
};

struct chores *chores_new(struct shared *shared);

/* The thread's function; `arg` is the chores. */
void *chores_run(void *arg);

/* Gives a request away, its fd and arena with it; false: too many wait. */
bool chores_give(struct chores *c, struct chore *chore);

/* Requests waiting or being served. */
size_t chores_count(const struct chores *c);

/* No more: the thread ends when what it has is served. */
void chores_close(struct chores *c);
void chores_free(struct chores *c);

#endif
