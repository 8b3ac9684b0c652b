/*
 * Builds what is sent to a model from the rows that the turn's pipeline read.
 * Knows the order of TURN_HISTORY's columns; knows nothing of HTTP.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "chat/context.h"
#include "chat/tool.h"
#include "chat/tool_use.h"
#include "model/model.h"
#include "store/pg.h"

/* The columns of TURN_HISTORY. */
enum column { ROLE, CONTENT };

static void
add(struct model_request *request, struct model_message *to, const char *role,
    const char *content)
{
	to[request->n_messages++] =
	    (struct model_message){.role = role, .content = content};
}

/* What an earlier reply did with tools, as the model would have been told. */
static bool
add_tools(struct arena *a, struct model_request *request,
    struct model_message *to, const char *json)
{
	struct buf out = {0};
	const char *raw = NULL;
	if (tool_history_messages(json, &out))
		raw = arena_strndup(a, out.p, out.n);
	bool is_lost = out.failed || (out.n > 0 && !raw);
	buf_free(&out);
	if (raw)
		to[request->n_messages++] =
		    (struct model_message){.content = json, .raw = raw};
	return !is_lost;
}

/* A row of the history. */
static bool
add_row(struct arena *a, struct model_request *request,
    struct model_message *to, const struct context *c, int row)
{
	const char *role = pg_text(c->history, row, ROLE);
	const char *content = pg_text(c->history, row, CONTENT);
	if (strcmp(role, "tools") != 0)
		add(request, to, role, content);
	else if (c->tools)
		return add_tools(a, request, to, content);
	return true;
}

/* The `tools` array; NULL: none, or no room for it. */
static const char *
tools_of(struct arena *a, const struct context *c)
{
	struct buf out = {0};
	const char *text;
	if (!c->tools || c->tools->n == 0)
		return NULL;
	tools_write(&out, c->tools);
	text = out.failed ? NULL : arena_strndup(a, out.p, out.n);
	buf_free(&out);
	return text;
}

/* The first message of the history that goes with it. */
static int
first_that_fits(const struct context *c, int n)
{
	int64_t left = c->history_bytes;
	int first = n;

	while (first > 0) {
		left -=
		    (int64_t)strlen(pg_text(c->history, first - 1, CONTENT));
		if (left < 0)
			break;
		first--;
	}
	return first;
}

enum err
context_request(struct arena *a, const struct context *c, struct buf *out,
    int64_t *out_tokens)
{
	int n = c->history ? pg_rows(c->history) : 0;
	struct model_message *messages =
	    arena_array(a, (size_t)n + 2, sizeof(*messages));
	if (!messages)
		return ERR_TOO_LARGE;
	struct model_request request = {
	    .model = c->model,
	    .messages = messages,
	    .max_tokens = c->max_tokens,
	    .tokens_field = c->tokens_field,
	};
	if (c->system_prompt && *c->system_prompt)
		add(&request, messages, "system", c->system_prompt);
	for (int i = first_that_fits(c, n); i < n; i++) {
		if (!add_row(a, &request, messages, c, i))
			return ERR_TOO_LARGE;
	}
	add(&request, messages, "user", c->question);
	request.tools = tools_of(a, c);

	size_t bytes = request.tools ? strlen(request.tools) : 0;
	for (size_t i = 0; i < request.n_messages; i++)
		bytes += strlen(messages[i].content);
	openai_request_body(out, &request);
	if (out->failed)
		return ERR_TOO_LARGE;
	*out_tokens = context_tokens(bytes);
	return OK;
}

int64_t
context_tokens(size_t bytes)
{
	return (int64_t)(bytes / 4 + (bytes % 4 != 0));
}
