/*
 * The kinds of afterwork, and what they have in common: asking for it, and the
 * bill.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "chat/afterwork.h"
#include "chat/context.h"
#include "chat/queries.h"
#include "chat/summary.h"
#include "chat/title.h"
#include "chat/turn.h"
#include "model/mask.h"
#include "store/pg.h"

static const struct afterwork_row rows[AFTERWORK__MAX] = {
    [AFTERWORK_TITLE] = {"title", title_compose, title_keep},
    [AFTERWORK_SUMMARY] = {"summary", NULL, summary_keep},
};

const struct afterwork_row *
afterwork_row(enum afterwork_kind kind)
{
	assert(kind < AFTERWORK__MAX);
	return &rows[kind];
}

struct afterwork *
afterwork_add(struct turn *t, enum afterwork_kind kind, const char *limits)
{
	struct afterwork *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->kind = kind;
	w->usage = (struct model_usage){-1, -1, -1};
	w->limits = strdup(limits);
	w->mask = t->mask ? mask_new() : NULL;
	if (!w->limits || (t->mask && !w->mask)) {
		afterworks_free(w);
		return NULL;
	}
	memcpy(w->user_id, t->user_id, ID_TEXT);
	memcpy(w->conversation_id, t->conversation_id, ID_TEXT);
	memcpy(w->message_id, t->message_id, ID_TEXT);
	memcpy(w->store_id, t->budget.store_id, ID_TEXT);
	id_make(w->usage_id);
	w->next = t->works;
	t->works = w;
	return w;
}

void
afterwork_remove(struct turn *t, struct afterwork *w)
{
	assert(t->works == w);
	t->works = w->next;
	w->next = NULL;
	afterworks_free(w);
}

bool
afterwork_compose(
    struct afterwork *w, const struct turn *t, enum model_place place)
{
	if (!*w->model) {
		(void)snprintf(w->model, sizeof(w->model), "%s", t->model);
		w->place = place;
	}
	w->stage = WORK_ASKED;
	if (rows[w->kind].compose && !rows[w->kind].compose(w, t))
		return false;
	if (w->prompt_tokens == 0)
		w->prompt_tokens = context_tokens(w->body.n);
	return w->body.n > 0 && !w->body.failed;
}

static size_t
admit_calls(struct afterwork *w, struct arena *a, struct pg_call *calls)
{
	calls[0] = (struct pg_call){
	    .query = chat_query(CHAT_AFTERWORK_ADMIT),
	    .params = {w->user_id, *w->store_id ? w->store_id : NULL, w->model,
		w->limits, arena_printf(a, "%" PRId64, w->prompt_tokens),
		arena_printf(a, "%" PRId64, w->max_tokens)},
	};
	return 1;
}

static const char *
tokens(struct arena *a, int64_t n)
{
	return arena_printf(a, "%" PRId64,
	    n < 0           ? 0
	    : n > INT32_MAX ? INT32_MAX
			    : n);
}

static size_t
bill_calls(struct afterwork *w, struct arena *a, struct pg_call *calls)
{
	struct model_usage u = w->usage;
	bool is_estimated = u.prompt_tokens < 0 || u.completion_tokens < 0;
	if (u.prompt_tokens < 0)
		u.prompt_tokens = w->prompt_tokens;
	if (u.completion_tokens < 0)
		u.completion_tokens = context_tokens(w->text.n);
	calls[0] = (struct pg_call){
	    .query = chat_query(CHAT_AFTERWORK_BILL),
	    .params = {w->user_id, w->usage_id, w->conversation_id,
		*w->answered_by ? w->answered_by : w->model,
		tokens(a, u.prompt_tokens), tokens(a, u.completion_tokens),
		tokens(a, u.cached_tokens), is_estimated ? "t" : "f",
		*w->store_id ? w->store_id : NULL, w->model},
	};
	return w->stage == WORK_ANSWERED && rows[w->kind].keep(w, a, &calls[1])
		   ? 2
		   : 1;
}

size_t
afterwork_calls(struct afterwork *w, struct arena *a, struct pg_call *calls)
{
	return w->stage == WORK_ASKED ? admit_calls(w, a, calls)
				      : bill_calls(w, a, calls);
}

bool
afterwork_failed(struct afterwork *w)
{
	bool has_cost = w->text.n > 0 || w->usage.prompt_tokens > 0 ||
			w->usage.completion_tokens > 0;
	if (has_cost)
		w->stage = WORK_SPENT;
	return has_cost;
}

void
afterwork_done(struct afterwork *w, const struct pg_call *calls)
{
	if (w->stage != WORK_ASKED)
		return;
	w->stage = calls && pg_rows(calls[0].result) > 0 &&
			   pg_flag(calls[0].result, 0, 0)
		       ? WORK_ADMITTED
		       : WORK_REFUSED;
}

void
afterworks_free(struct afterwork *first)
{
	while (first) {
		struct afterwork *next = first->next;
		buf_free(&first->note);
		buf_free(&first->body);
		buf_free(&first->text);
		mask_free(first->mask);
		free(first->limits);
		free(first);
		first = next;
	}
}
