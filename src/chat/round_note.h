/*
 * What a reply took so far, noted in its row of running_replies: whoever ends
 * it after its worker's death bills the rounds that had ended by their numbers
 * and the one that was running by what was sent for it (migration 034). A reply
 * that calls no tool notes nothing: what its row has since it was begun is all
 * there is to know.
 *
 * Thread: round_note_take the turn's, round_note_call the connection's.
 */
#ifndef CHAT_ROUND_NOTE_H
#define CHAT_ROUND_NOTE_H

#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "chat/turn.h"

struct arena;
struct pg_call;

struct round_note {
	char message_id[ID_TEXT];
	char model[128];           /* that is asked */
	int64_t prompt;            /* tokens; 0: it is not asked now */
	struct turn_rounds rounds; /* that have ended */
	size_t n_calls;            /* of them */
};

/* As the turn is now; `prompt` is what its model is asked with next. */
void
round_note_take(const struct turn *t, int64_t prompt, struct round_note *out);

/* Fills the call. Strings are borrowed from the note and from `a`. */
void round_note_call(const char *user_id, const struct round_note *note,
    struct arena *a, struct pg_call *out_call);

#endif
