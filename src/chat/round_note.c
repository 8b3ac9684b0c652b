/*
 * Fills the one statement of a note.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "chat/queries.h"
#include "chat/round_note.h"
#include "chat/tool_use.h"
#include "store/pg.h"

void
round_note_take(const struct turn *t, int64_t prompt, struct round_note *out)
{
	*out = (struct round_note){
	    .prompt = prompt,
	    .rounds = t->rounds,
	    .n_calls = t->uses ? t->uses->n : 0,
	};
	memcpy(out->message_id, t->message_id, sizeof(out->message_id));
	memcpy(out->model, t->model, sizeof(out->model));
}

/* As an int4. */
static const char *
number(struct arena *a, int64_t n)
{
	return arena_printf(a, "%" PRId64, n > INT32_MAX ? INT32_MAX : n);
}

void
round_note_call(const char *user_id, const struct round_note *note,
    struct arena *a, struct pg_call *out_call)
{
	const struct turn_rounds *r = &note->rounds;
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_ROUND_NOTE),
	    .params = {user_id, note->message_id, note->model,
		number(a, note->prompt), number(a, r->prompt_tokens),
		number(a, r->completion_tokens), number(a, r->cached_tokens),
		arena_printf(a, "%zu", r->text_from),
		number(a, (int64_t)note->n_calls)},
	};
}
