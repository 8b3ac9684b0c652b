/*
 * Why the pipeline of a turn's beginning stored nothing. Thread: front.
 */
#ifndef CHAT_TURN_REFUSAL_H
#define CHAT_TURN_REFUSAL_H

#include <stdbool.h>

#include "base/errors.h"

struct request;
struct turn_ask;

/* Has the same request led to a reply before, as far as is known? */
bool turn_is_replay(const struct turn_ask *ask);

/*
 * Finds out why nothing was stored in the conversation (as conversation_key
 * names it). OK: it is a replay, or nothing stands in the way any more and
 * trying again is worth it; the errors are turn_begin's. A reply that nobody
 * writes is ended.
 */
enum err turn_refusal(struct request *req, const struct turn_ask *ask,
    const char *const conversation[2]) MUST_CHECK;

#endif
