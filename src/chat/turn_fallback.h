/*
 * What the front knows of models that stand in (model/fallback.h) when a turn
 * begins: whether any model may be asked at all, and which might be. Asking
 * them is the relay's.
 *
 * Thread: front.
 */
#ifndef CHAT_TURN_FALLBACK_H
#define CHAT_TURN_FALLBACK_H

#include "base/errors.h"

struct request;

/*
 * ERR_MODEL_UNAVAILABLE, with the time to wait: the breakers of this turn's
 * model and of all that stand in for it are open. Costs a round trip, and only
 * while some breaker is open. `model` is what the request asked for, NULL: what
 * the conversation (by its two keys), its store or the settings say.
 */
enum err turn_fallback_admit(struct request *req, const char *model,
    const char *const conversation[2]) MUST_CHECK;

/* Those that may stand in, in their order, blanks between, for who reserves
 * (chat/budget.h says which of them it may be). NULL: none, or no memory. */
const char *turn_fallback_names(struct request *req);

#endif
