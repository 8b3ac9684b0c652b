/*
 * A thread for slow requests, so that the front never waits for one. A request
 * comes here whole, connection and arena included, and is answered from here. A
 * worker has three: one for password hashing; one ("bulk") for exports, imports
 * and documents; and one for searches that wait for a vector. Nobody's sign-in
 * waits for those. One whose client has left meanwhile is dropped, one that
 * waited longer than CHAT_CHORES_WAIT gets 503: a crowd must not keep the
 * thread hashing for clients long gone.
 *
 * A body that is made while it is sent (reply_source) goes to nginx a page at a
 * time; nginx keeps what its reader has not taken (a buffer, then a file of at
 * most 1 GB), so that a slow reader does not hold the thread. Beyond that one
 * is cut after 10 s without a byte taken, any after CHAT_BULK_SECONDS, and when
 * its worker drains for longer than CHAT_DRAIN_SECONDS.
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

/* `name` is a constant: as Postgres sees it. A transaction of theirs may take
 * `patience` times CHAT_PG_TIMEOUT. */
struct chores *
chores_new(struct shared *shared, const char *name, int patience);

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
