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
#include "chat/prompt.h"
#include "chat/queries.h"
#include "chat/summary.h"
#include "chat/turn.h"
#include "chat/turn_context.h"
#include "http/request.h"
#include "model/model.h"
#include "model/window.h"
#include "store/pg.h"

enum column { ROLE, CONTENT, DEPTH };

/* "Assistant: " and the blank line. */
#define WHO_BYTES 13

/* What is summed up: rows, and at most so many bytes of each. */
struct talk {
	int from, to;
	size_t each;
};

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

/* A row that is written, with what stands before it. */
static size_t
talk_bytes(const PGresult *rows, int row)
{
	return is_role(rows, row, "tools")
		   ? 0
		   : strlen(pg_text(rows, row, CONTENT)) + WHO_BYTES;
}

/*
 * Of the rows from `from` to `to`, as many as fit into `most` bytes: a later
 * summary takes the others in. They end before a question, behind one answer at
 * least, which is cut if need be.
 */
static struct talk
fit(const PGresult *rows, int from, int to, size_t most)
{
	struct talk talk = {from, from, SIZE_MAX};
	size_t bytes = 0;
	for (int n = from; n < to;) {
		do
			bytes += talk_bytes(rows, n++);
		while (n < to && !is_role(rows, n, "user"));
		if (bytes > most && talk.to > from)
			break;
		talk.to = n;
		if (bytes > most)
			talk.each = most / (size_t)(n - from);
	}
	return talk;
}

/* "User: …", one after the other. */
static void
write_talk(struct buf *out, const PGresult *rows, const struct talk *talk)
{
	for (int i = talk->from; i < talk->to; i++) {
		if (is_role(rows, i, "tools"))
			continue;
		const char *text = pg_text(rows, i, CONTENT);
		buf_printf(out, "%s%s: ", out->n > 0 ? "\n\n" : "",
		    is_role(rows, i, "user") ? "User" : "Assistant");
		buf_add(out, text, text_prefix(text, strlen(text), talk->each));
	}
	(void)buf_text(out);
}

/* A request while it is written. */
struct asking {
	struct request *req;
	const struct prompt *task;
	const PGresult *rows;
	int64_t window; /* of the model */
	struct afterwork *w;
};

/* The task, with what came before as far as a summary may be told. */
static void
write_task(const struct asking *a, struct buf *out)
{
	const char *values[PROMPT__MAX] = {NULL};
	int64_t most = context_most(CONTEXT_SUMMARY, a->window);
	if (is_role(a->rows, 0, CONTEXT_SUMMARY_ROLE)) {
		const char *before = pg_text(a->rows, 0, CONTENT);
		values[PROMPT_SUMMARY] = arena_strndup(a->req->arena, before,
		    text_prefix(before, strlen(before), (size_t)most));
		out->failed |= !values[PROMPT_SUMMARY];
	}
	prompt_render(a->task, values, out);
}

/* Of the first `n` rows; how many of them it covers. */
static int
write_body(const struct asking *a, int n)
{
	struct afterwork *w = a->w;
	bool goes_on = is_role(a->rows, 0, CONTEXT_SUMMARY_ROLE);
	struct buf system = {0}, said = {0};
	write_task(a, &system);
	int64_t most =
	    context_most(CONTEXT__MAX, a->window) - (int64_t)system.n;
	struct talk talk =
	    fit(a->rows, goes_on ? 1 : 0, n, most > 0 ? (size_t)most : 0);
	write_talk(&said, a->rows, &talk);
	const struct model_message messages[] = {
	    {.role = "system", .content = buf_text(&system)},
	    {.role = "user", .content = buf_text(&said)}};
	openai_request_body(&w->body,
	    &(struct model_request){
		.model = w->model,
		.messages = messages,
		.n_messages = 2,
		.mask = w->mask,
		.max_tokens = w->max_tokens,
		.tokens_field = a->req->services->config->model_tokens_field,
	    });
	w->body.failed |= system.failed || said.failed;
	w->prompt_tokens = context_tokens(system.n + said.n);
	buf_free(&system);
	buf_free(&said);
	return talk.to;
}

/* What the model may say: it is cut to that where it is told. */
static int64_t
most_tokens(int64_t window)
{
	int64_t share = context_most(CONTEXT_SUMMARY, window) / 4;
	return share < SUMMARY_TOKENS ? share : SUMMARY_TOKENS;
}

void
summary_want(struct request *req, const struct turn_context *c,
    const struct prompt *task)
{
	const struct config *config = req->services->config;
	struct turn *t = c->turn;
	int n = t->wants_summary ? summary_rows(c) : 0;
	struct asking asking = {
	    .req = req,
	    .task = task,
	    .rows = c->history,
	    .window = window_of(config->model_window, t->model),
	    .w = n > 0 ? afterwork_add(t, AFTERWORK_SUMMARY, c->quotas) : NULL,
	};
	struct afterwork *w = asking.w;
	if (!w)
		return;
	(void)snprintf(w->model, sizeof(w->model), "%s", t->model);
	w->max_tokens = most_tokens(asking.window);
	n = write_body(&asking, n);
	/* From the reply, which is one further down than the question. */
	buf_printf(&w->note, "%" PRId64 " %s %s",
	    pg_number(c->history, n - 1, DEPTH) + 1, task->name, task->version);
	if (w->note.failed || w->body.failed)
		afterwork_remove(t, w);
}

bool
summary_keep(struct afterwork *w, struct arena *a, struct pg_call *out_call)
{
	size_t n = w->text.n > 0
		       ? text_prefix(w->text.p, w->text.n, SUMMARY_BYTES_MAX)
		       : 0;
	const char *text = n > 0 ? arena_strndup(a, w->text.p, n) : NULL;
	char *depth = arena_strndup(a, w->note.p, w->note.n);
	char *template = depth ? strchr(depth, ' ') : NULL;
	if (!text || text[strspn(text, " \t\r\n")] == '\0' || !template)
		return false;
	*template ++ = '\0';
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_SUMMARY_KEEP),
	    .params = {w->user_id, w->message_id, depth, w->conversation_id,
		text, *w->answered_by ? w->answered_by : w->model, template},
	};
	return true;
}
