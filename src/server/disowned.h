/*
 * Replies that may be stored and that nobody will write: the answer to the
 * commit of their beginning was lost, so that no relay ever heard of them. The
 * worker that began them lives on, so that no sweep takes them for a dead
 * one's; it ends them itself, as failed, as soon as it reaches Postgres, and
 * looks again until the lost commit is decided for certain.
 *
 * Where that fails too (too many, the worker dies), the sweeps are left:
 * 10 s after the worker's death, or when no reply can be that old.
 *
 * Thread: disowned_add any; disowned_settle the ledger's; the rest before and
 * after the threads.
 */
#ifndef SERVER_DISOWNED_H
#define SERVER_DISOWNED_H

#include "base/errors.h"

struct disowned;
struct pg;

/* A commit is decided `decided_ms` after its answer was given up. NULL without
 * memory. */
struct disowned *disowned_new(long decided_ms);
void disowned_free(struct disowned *d);

void
disowned_add(struct disowned *d, const char *user_id, const char *message_id);

/* Ends those that are stored. No round trip where there are none. */
enum err disowned_settle(struct disowned *d, struct pg *pg) MUST_CHECK;

#endif
