/*
 * What stays of a model's request while its answer comes. Nobody is asked again
 * after a first token, so that without tools nothing stays. With tools the same
 * model may be asked for another round, which begins with what it was told
 * before: that stays, without the list of tools, which the turn has anyway and
 * which is longer than most questions. A worker holds thousands of them.
 *
 * Thread: whoever has the turn.
 */
#ifndef CHAT_CONTEXT_KEEP_H
#define CHAT_CONTEXT_KEEP_H

#include <stdbool.h>

#include "base/errors.h"

struct turn;

/* The body was sent, and an answer has begun: t->prompt is nothing that could
 * be sent any more. */
void context_keep(struct turn *t);

/* Makes t->prompt the very bytes again that it was; false: no memory. Does
 * nothing where it is whole. */
bool context_restore(struct turn *t) MUST_CHECK;

#endif
