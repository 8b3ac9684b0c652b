/*
 * Asking for a summary and keeping it. Knows the order of TURN_HISTORY's
 * columns.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/text.h"
#include "chat/afterwork.h"
#include "chat/context.h"
#include "chat/prompts.h"
#include "chat/queries.h"
#include "chat/summary.h"
#include "chat/turn.h"
#include "chat/turn_context.h"
#include "http/request.h"
#include "model/mask.h"
#include "model/model.h"
#include "store/pg.h"

enum column { ROLE, CONTENT, DEPTH };

static bool
is_role(const PGresult *rows, int row, const char *role)
{
	return !strcmp(pg_text(rows, row, ROLE), role);
}

int
summary_rows(const struct turn_context *c)
{
	const PGresult *rows = c->history;
	int n = pg_rows(rows);
	size_t all = 0, kept = 0;
	int first = n;
	for (int i = 0; i < n; i++)
		all += strlen(pg_text(rows, i, CONTENT));
	/* The newer half stays, by number and by bytes. */
	while (first > 0 && (n - first) * 2 < n && kept * 2 < all)
		kept += strlen(pg_text(rows, --first, CONTENT));
	/* What stays begins with a question. */
	while (first < n && !is_role(rows, first, "user"))
		first++;
	bool has_summary = n > 0 && is_role(rows, 0, CONTEXT_SUMMARY_ROLE);
	return first > (has_summary ? 1 : 0) ? first : 0;
}

/* "User: …", one after the other. */
static void
write_talk(struct buf *out, const PGresult *rows, int from, int to)
{
	for (int i = from; i < to; i++) {
		if (is_role(rows, i, "tools"))
			continue;
		buf_printf(out, "%s%s: %s", out->n > 0 ? "\n\n" : "",
		    is_role(rows, i, "user") ? "User" : "Assistant",
		    pg_text(rows, i, CONTENT));
	}
	(void)buf_text(out);
}

static void
write_body(struct afterwork *w, const struct config *config,
    const PGresult *rows, int n)
{
	bool goes_on = is_role(rows, 0, CONTEXT_SUMMARY_ROLE);
	const char *values[PROMPT__MAX] = {
	    [PROMPT_SUMMARY] = goes_on ? pg_text(rows, 0, CONTENT) : NULL,
	};
	struct buf system = {0}, talk = {0};
	prompt_render(prompts_find(prompts_current(), PROMPT_SUMMARY_FILE),
	    values, &system);
	write_talk(&talk, rows, goes_on ? 1 : 0, n);
	const struct model_message messages[] = {
	    {.role = "system", .content = buf_text(&system)},
	    {.role = "user", .content = buf_text(&talk)}};
	openai_request_body(
	    &w->body, &(struct model_request){
			  .model = w->model,
			  .messages = messages,
			  .n_messages = 2,
			  .mask = w->mask,
			  .max_tokens = w->max_tokens,
			  .tokens_field = config->model_tokens_field,
		      });
	w->body.failed |= system.failed || talk.failed;
	w->prompt_tokens = context_tokens(system.n + talk.n);
	buf_free(&system);
	buf_free(&talk);
}

void
summary_want(struct request *req, const struct turn_context *c)
{
	const struct config *config = req->services->config;
	struct turn *t = c->turn;
	int n = t->wants_summary ? summary_rows(c) : 0;
	struct afterwork *w =
	    n > 0 ? afterwork_add(t, AFTERWORK_SUMMARY, c->quotas) : NULL;
	if (!w)
		return;
	if (config->pii_mask)
		w->mask = mask_new();
	(void)snprintf(w->model, sizeof(w->model), "%s", t->model);
	w->max_tokens = SUMMARY_TOKENS;
	/* From the reply, which is one further down than the question. */
	buf_printf(
	    &w->note, "%" PRId64, pg_number(c->history, n - 1, DEPTH) + 1);
	write_body(w, config, c->history, n);
	if (w->note.failed || w->body.failed || (config->pii_mask && !w->mask))
		afterwork_remove(t, w);
}

bool
summary_keep(struct afterwork *w, struct arena *a, struct pg_call *out_call)
{
	size_t n = w->text.n > 0
		       ? text_prefix(w->text.p, w->text.n, SUMMARY_BYTES_MAX)
		       : 0;
	const char *text = n > 0 ? arena_strndup(a, w->text.p, n) : NULL;
	if (!text || text[strspn(text, " \t\r\n")] == '\0')
		return false;
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_SUMMARY_KEEP),
	    .params = {w->user_id, w->message_id,
		arena_strndup(a, w->note.p, w->note.n), w->conversation_id,
		text, *w->answered_by ? w->answered_by : w->model},
	};
	return out_call->params[2] != NULL;
}
