/*
 * natter-local's commands: which task is meant, the tool, and what came of it.
 *
 * Thread: front.
 */
#ifndef CHAT_LOCAL_COMMAND_H
#define CHAT_LOCAL_COMMAND_H

struct buf;
struct local_turn;

/* Carries the question's command out and says what came of it. */
void local_command_run(struct local_turn *l, struct buf *out, struct buf *note);

/* The answer to what was asked: a yes, a no or a choice. */
void
local_command_answer(struct local_turn *l, struct buf *out, struct buf *note);

#endif
