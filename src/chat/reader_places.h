/*
 * How many readers each user has on this host: CHAT_READERS_PER_USER bounds
 * them (a reader is a connection, and somebody's tabs are a few). Workers are
 * processes, so the counts lie in a mapping that the master makes before it
 * forks, a table for each worker: one that dies takes its readers along.
 *
 * A user's count stands at two places of a table, which a keyed hash names;
 * others may share one of them, seldom both, so that the smaller is taken. It
 * is never too small; and too great, by those others' readers, for one user of
 * thousands where a host has thousands of readers.
 *
 * Thread: any; readers_share, readers_join and readers_leave as with metrics.h.
 */
#ifndef CHAT_READER_PLACES_H
#define CHAT_READER_PLACES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/errors.h"

/* Takes a place, of `most` (0: as many as one likes); false: all are taken. */
bool reader_place_take(const char *user_id, long most) MUST_CHECK;

/* Gives it back. */
void reader_place_give(const char *user_id);

/* Makes the mapping that all children of this process share; false: no
 * memory. */
bool reader_places_share(void);

/* This process becomes worker `pid`; worker `pid` has died and was reaped. */
void reader_places_join(pid_t pid);
void reader_places_leave(pid_t pid);

#endif
