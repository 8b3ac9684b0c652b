/*
 * The turn as an object: it comes to be, counts what it took, ends its text and
 * goes. Beginning one is turn_begin.c's, storing its end turn_finish.c's.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "chat/afterwork.h"
#include "chat/completion.h"
#include "chat/context.h"
#include "chat/context_rounds.h"
#include "chat/retrieve.h"
#include "chat/tool.h"
#include "chat/tool_use.h"
#include "chat/turn.h"
#include "http/request.h"
#include "model/mask.h"

static const char *const status_names[] = {
    [TURN_STREAMING] = "streaming",
    [TURN_COMPLETE] = "complete",
    [TURN_INTERRUPTED] = "interrupted",
    [TURN_CANCELLED] = "cancelled",
    [TURN_FAILED] = "failed",
};

static const char *const kind_names[] = {
    [TURN_SEND] = "send",
    [TURN_EDIT] = "edit",
    [TURN_AGAIN] = "again",
};

const char *
turn_status_name(enum turn_status s)
{
	assert((size_t)s < sizeof(status_names) / sizeof(*status_names));
	return status_names[s];
}

const char *
turn_kind_name(enum turn_kind k)
{
	assert((size_t)k < sizeof(kind_names) / sizeof(*kind_names));
	return kind_names[k];
}

struct turn *
turn_new(const struct request *req)
{
	struct turn *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	(void)snprintf(t->user_id, sizeof(t->user_id), "%s", req->who.user_id);
	const char *grant =
	    req->who.key_id ? req->who.key_id : req->who.session_id;
	(void)snprintf(
	    t->grant_id, sizeof(t->grant_id), "%s", grant ? grant : "");
	t->is_by_key = req->who.key_id != NULL;
	(void)snprintf(t->request_id, sizeof(t->request_id), "%s",
	    req->request_id ? req->request_id : "");
	t->begun_us = clock_mono_us();
	t->usage = (struct model_usage){-1, -1, -1};
	return t;
}

void
turn_free(struct turn *t)
{
	if (!t)
		return;
	buf_free(&t->prompt);
	buf_free(&t->text);
	buf_free(&t->stored);
	history_note_free(t->history);
	buf_free(&t->local);
	afterworks_free(t->works);
	free(t->question);
	free(t->fallback_from);
	mask_free(t->mask);
	free(t->moderation);
	buf_free(&t->context_note);
	context_rounds_free(t->asked);
	passages_found_free(t->passages);
	cited_free(&t->cited);
	turn_events_free(&t->events);
	buf_free(&t->note);
	completion_free(t->completion);
	free(t->answer);
	tools_free(t->tools);
	tool_uses_free(t->uses);
	free(t);
}

void
turn_start_json(const struct turn *t, struct buf *out)
{
	buf_printf(out,
	    "{\"message_id\":\"%s\",\"user_message_id\":\"%s\","
	    "\"conversation_id\":\"%s\"}",
	    t->message_id, t->user_message_id, t->conversation_id);
}

bool
turn_end_text(struct turn *t)
{
	struct buf *text = &t->text;
	if (text->n == 0)
		return false;
	if (text->n == text->room) {
		/* Full to its cap, as a reply that was cut there is. */
		text->failed = false;
		text->cap = text->cap ? text->cap + 1 : 0;
		if (!buf_reserve(text, 1))
			return false;
	}
	text->p[text->n] = '\0';
	return true;
}

/* The model's numbers of one answer, or ours where it gave none. */
static struct model_usage
count_round(const struct turn *t, struct model_usage u)
{
	/* What was withheld was written all the same, and what is no text. */
	size_t bytes = t->text.n - t->rounds.text_from + t->withheld +
		       (t->completion ? t->completion->n_beside : 0);
	/* A model that failed without a word has charged nothing. */
	bool is_charged =
	    (t->status != TURN_FAILED && !t->is_unasked) || bytes > 0;
	if (u.prompt_tokens < 0)
		u.prompt_tokens = is_charged ? t->prompt_estimate : 0;
	if (u.completion_tokens < 0)
		u.completion_tokens = context_tokens(bytes);
	if (u.cached_tokens < 0)
		u.cached_tokens = 0;
	return u;
}

/* Of all its answers. */
struct model_usage
turn_usage(const struct turn *t)
{
	if (t->is_cached)
		return (struct model_usage){0, 0, 0};
	struct model_usage u = count_round(t, t->usage);
	u.prompt_tokens += t->rounds.prompt_tokens;
	u.completion_tokens += t->rounds.completion_tokens;
	u.cached_tokens += t->rounds.cached_tokens;
	return u;
}

void
turn_end_round(struct turn *t, const struct model_usage *usage)
{
	struct turn_rounds *r = &t->rounds;
	struct model_usage u = count_round(t, *usage);
	/* What was called is written too, and is no text. */
	for (size_t i = 0; usage->completion_tokens < 0 && i < t->uses->n;
	     i++) {
		if (t->uses->list[i].round == r->n + 1)
			u.completion_tokens +=
			    context_tokens(t->uses->list[i].arguments.n);
	}
	r->prompt_tokens += u.prompt_tokens;
	r->completion_tokens += u.completion_tokens;
	r->cached_tokens += u.cached_tokens;
	r->is_estimated |=
	    usage->prompt_tokens < 0 || usage->completion_tokens < 0;
	r->n++;
	r->said_from = r->text_from;
	r->text_from = t->text.n;
}

int64_t
turn_tokens(const struct turn *t)
{
	return t->rounds.prompt_tokens + t->rounds.completion_tokens;
}
