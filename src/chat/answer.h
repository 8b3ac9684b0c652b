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
 *
 * Of those who ask the very same at once, one asks the model. Who waits for it
 * wants the answer, not the order: the one whose builder fails, dies or takes
 * too long asks for themselves.
 */
#ifndef CHAT_ANSWER_H
#define CHAT_ANSWER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "base/id.h"
#include "store/cache.h"

struct arena;
struct request;
struct turn;

/* What a request says of it. */
enum answer_wish {
	ANSWER_AS_STORE, /* nothing */
	ANSWER_CACHED,
	ANSWER_FRESH,
};

/*
 * Where a turn's answer is kept, if it is a whole one. Of several turns with
 * the same key one asks the model and holds the key's lock by its token; the
 * others wait (server/stream_answer.c).
 */
struct answer_key {
	char hash[65];
	char stamp[128]; /* "" while another one's answer is waited for */
	char token[ID_TEXT];
	bool is_waiting;
	struct cache_shared *shared;
};

/*
 * Looks for the answer to the turn's prompt. `store_id`: of a store that
 * keeps answers, else NULL. Found: t->prompt is the answer, t->is_cached. Else
 * t->answer, owned by the turn, says where to keep it. One round trip to Redis,
 * none where nobody asks for it. Thread: front.
 */
void answer_find(struct request *req, struct turn *t, enum answer_wish wish,
    const char *store_id);

/* The words that look for it once more, or that hold the lock on it; borrowed
 * from the turn. Thread: relay. */
void answer_ask(const struct turn *t, struct cache_ask *out);
void answer_renew(const struct turn *t, struct cache_ask *out);

/*
 * What that look found, or NULL. CACHE_HIT: t->prompt is the answer, and
 * t->is_cached; CACHE_WAIT: not yet; else the model is to be asked. Thread:
 * relay.
 */
enum cache_found answer_told(struct turn *t, const redisReply *reply);

/*
 * Keeps the answer of a turn that has ended, if it is stored and may be kept,
 * and lets those go on who wait for it. One round trip at most. Thread: ledger.
 */
void answer_keep(struct cache *cache, struct arena *a, const struct turn *t);

#endif
