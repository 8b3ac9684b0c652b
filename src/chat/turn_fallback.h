/*
 * What the front knows of models that stand in (model/fallback.h) when a turn
 * begins: whether any model may be asked at all, and which of them the user's
 * limits allow. Asking them is the relay's.
 *
 * Thread: front.
 */
#ifndef CHAT_TURN_FALLBACK_H
#define CHAT_TURN_FALLBACK_H

#include <stdbool.h>

#include "base/errors.h"

struct pg_call;
struct request;
struct turn;

/*
 * ERR_MODEL_UNAVAILABLE, with the time to wait: the breakers of this turn's
 * model and of all that stand in for it are open. Costs a round trip, and only
 * while some breaker is open. `model` is what the request asked for, NULL: what
 * the conversation (by its two keys), its store or the settings say.
 */
enum err turn_fallback_admit(struct request *req, const char *model,
    const char *const conversation[2]) MUST_CHECK;

/* Fills the call that reads which stand-ins have a price; false: none is
 * needed. Strings are in the request's arena. */
bool turn_fallback_call(struct request *req, struct pg_call *call);

/* Notes in the turn, whose budget was read, which of them it may have. */
void turn_fallback_allow(struct turn *t, const struct pg_call *call);

#endif
