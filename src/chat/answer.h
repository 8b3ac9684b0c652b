/*
 * Answers to identical prompts: a model that was asked the very same within the
 * last hour is not asked again. Off unless the request asks for it (then for
 * the caller alone) or the conversation's store has `"answer_cache": true` in
 * its settings (then for all who talk in it). The same is: model, longest
 * reply, and every byte of what would be sent.
 *
 * Only whole answers are kept (finish_reason `stop`), none of temporary
 * conversations, and each only until the user from whose conversation it came
 * deletes anything (store/cache.h). An answer from here is stored as any other,
 * with `"cached": true` in its metadata and without usage.
 */
#ifndef CHAT_ANSWER_H
#define CHAT_ANSWER_H

#include <stdbool.h>

struct arena;
struct cache;
struct request;
struct turn;

/* What a request says of it. */
enum answer_wish {
	ANSWER_AS_STORE, /* nothing */
	ANSWER_CACHED,
	ANSWER_FRESH,
};

/* Under which key a turn's answer is kept, if it is a whole one. */
struct answer_key {
	char hash[65];
	char stamp[128];
};

/*
 * Looks for the answer to the turn's prompt. `store_id`: of a store that
 * keeps answers, else NULL. Found: t->prompt is the answer, t->is_cached. Else
 * t->answer, owned by the turn, says where to keep it. One round trip to Redis,
 * none where nobody asks for it. Thread: front.
 */
void answer_find(struct request *req, struct turn *t, enum answer_wish wish,
    const char *store_id);

/*
 * Keeps the answer of a turn that was stored, if it may be. One round trip at
 * most. Thread: ledger.
 */
void answer_keep(struct cache *cache, struct arena *a, const struct turn *t);

#endif
