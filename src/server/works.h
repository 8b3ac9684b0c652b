/*
 * Afterwork (chat/afterwork.h) on its way between the relay, which runs it, and
 * the ledger, which asks Postgres whether it may be, and stores what came of
 * it. It changes hands with the push (base/queue_pair.h).
 *
 * Thread: works_give is the relay's, works_answer the ledger's.
 */
#ifndef SERVER_WORKS_H
#define SERVER_WORKS_H

#include <stdbool.h>
#include <stddef.h>

struct afterwork;
struct arena;
struct cache;
struct pg;
struct queue_pair;

/* At most `max` questions at a time, and so many bills besides; NULL without
 * memory. */
struct queue_pair *works_new(size_t max, size_t bills);

/* Gives one to the ledger, which is to be woken; false: too many wait. One that
 * is to be billed does not come back, and finds room where others do not. */
bool works_give(struct queue_pair *works, struct afterwork *w);

/* What the ledger needs. Borrowed. */
struct works_stores {
	struct pg *pg;
	struct cache *cache;
	struct arena *arena;       /* reset here */
	struct arena *cache_arena; /* likewise */
};

/* Answers a few of what waits; true: more waits. What cannot be stored now is
 * dropped, with a line in the log. */
bool works_answer(struct queue_pair *works, const struct works_stores *stores);

#endif
