/*
 * Afterwork (chat/afterwork.h) on its way between the relay, which runs it, and
 * the ledger, which asks Postgres whether it may be, and stores what came of
 * it. It changes hands with the push.
 *
 * Thread: works_ask and works_take the relay's, works_answer the ledger's;
 * works_new and works_free before and after both.
 */
#ifndef SERVER_WORKS_H
#define SERVER_WORKS_H

#include <stdbool.h>
#include <stddef.h>

struct afterwork;
struct arena;
struct cache;
struct pg;
struct works;

/* At most `max` of them at a time on either way, and so many bills besides;
 * NULL without memory. */
struct works *works_new(size_t max, size_t bills);
void works_free(struct works *works);

/* Gives one to the ledger, which is to be woken; false: too many wait. One that
 * is to be billed does not come back, and finds room where others do not. */
bool works_ask(struct works *works, struct afterwork *w);

/* One that came back, or NULL; works_fd is readable while there is one. */
struct afterwork *works_take(struct works *works);
int works_fd(const struct works *works);

/* What the ledger needs. Borrowed. */
struct works_stores {
	struct pg *pg;
	struct cache *cache;
	struct arena *arena;       /* reset here */
	struct arena *cache_arena; /* likewise */
};

/* Answers a few of what waits; true: more waits. What cannot be stored now is
 * dropped, with a line in the log. */
bool works_answer(struct works *works, const struct works_stores *stores);

#endif
