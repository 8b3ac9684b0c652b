/*
 * What a message is that is no command: a yes, a greeting, a question, a
 * request, or a statement.
 *
 * Pure. Thread: any.
 */
#ifndef TASK_TALK_H
#define TASK_TALK_H

#include <stdbool.h>
#include <stddef.h>

#include "task/command.h"

struct words;

/*
 * Is the whole message short talk: a yes or a no, a choice (out->number), a
 * greeting, thanks? Then its intent is set.
 */
bool talk_is_short(const struct words *w, struct command *out);

/* What else it is. `begin` is the first word behind its politeness. */
enum command_intent talk_intent(const struct words *w, size_t begin);

#endif
