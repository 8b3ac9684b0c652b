/*
 * From a call's arguments to its statement, and from its row to the result.
 * What a tool does is its statement's (queries_tools.def).
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/json_write.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/tool.h"
#include "chat/tool_run.h"
#include "chat/tool_use.h"

/* What a tool of tasks gives. */
enum { RESULT, IS_SUCCESS, CODE };

/* That of search_documents is the retrieval's own. */
static const enum chat_query queries[NATIVE_TOOLS] = {
    [TOOL_CREATE_TASK] = CHAT_TOOL_CREATE_TASK,
    [TOOL_LIST_TASKS] = CHAT_TOOL_SHOW_TASKS,
    [TOOL_UPDATE_TASK] = CHAT_TOOL_UPDATE_TASK,
    [TOOL_COMPLETE_TASK] = CHAT_TOOL_COMPLETE_TASK,
    [TOOL_DELETE_TASK] = CHAT_TOOL_DELETE_TASK,
};

/* Models write nothing where a tool takes nothing. */
static enum err
parse(const struct tool_use *use, struct json_object **out)
{
	size_t n = use->arguments.n;
	const char *p = n > 0 ? use->arguments.p : "{}";
	return json_parse_object(p, n > 0 ? n : 2, out);
}

/* A member that is null is not given. */
static void
drop_nulls(struct json_object *o)
{
	struct json_object_iterator it = json_object_iter_begin(o);
	struct json_object_iterator end = json_object_iter_end(o);
	while (!json_object_iter_equal(&it, &end)) {
		const char *name = json_object_iter_peek_name(&it);
		bool is_null = json_object_iter_peek_value(&it) == NULL;
		json_object_iter_next(&it);
		if (is_null)
			json_object_object_del(o, name);
	}
}

enum err
tool_arguments(struct tool_use *use, struct json_object **out)
{
	struct json_object *schema AUTO_JSON = NULL;
	const char *text = use->tool->schema;
	char why[JSON_SCHEMA_WHY];
	if (use->is_cut) {
		tool_use_fail(use, "invalid_arguments",
		    "The arguments are too long; send less.");
		return ERR_INVALID_FIELD;
	}
	if (parse(use, out) != OK) {
		tool_use_fail(use, "invalid_arguments",
		    "The arguments are not one JSON object.");
		return ERR_INVALID_FIELD;
	}
	if (json_parse_any(text, strlen(text), 32, &schema) != OK)
		return ERR_INTERNAL;
	drop_nulls(*out);
	if (json_schema_fits(schema, *out, why))
		return OK;
	tool_use_fail(use, "invalid_arguments", why);
	return ERR_INVALID_FIELD;
}

static enum err
fill_search(const struct tool_place *at, struct json_object *arguments,
    struct arena *a, struct pg_call *out)
{
	const struct retrieve_ask ask = {
	    .user_id = at->user_id,
	    .question = arena_strdup(a, json_member_text(arguments, "query")),
	    .message_id = at->question_id,
	    /* Where they are not wanted the tool is not offered. */
	    .documents = "t",
	};
	if (!ask.question)
		return ERR_TOO_LARGE;
	retrieve_call(&ask, out);
	return OK;
}

static enum err
fill_task(const struct tool_place *at, const struct tool_use *use,
    struct arena *a, struct pg_call *out)
{
	char *id = arena_alloc(a, ID_TEXT);
	if (!id)
		return ERR_TOO_LARGE;
	id_make(id);
	*out = (struct pg_call){
	    .query = chat_query(queries[use->tool->native]),
	    .params = {at->user_id, use->log_id, at->source,
		at->conversation_id, at->question_id, NULL, id,
		at->says_yes ? "t" : "f"},
	};
	return OK;
}

enum err
tool_fill(const struct tool_place *at, struct tool_use *use, struct arena *a,
    struct pg_call *out_call)
{
	struct json_object *arguments AUTO_JSON = NULL;
	enum err e = tool_arguments(use, &arguments);
	assert(use->tool->kind == TOOL_NATIVE);
	if (e != OK)
		return e;
	if (use->tool->native == TOOL_SEARCH_DOCUMENTS)
		return fill_search(at, arguments, a, out_call);
	e = fill_task(at, use, a, out_call);
	if (e != OK)
		return e;
	out_call->params[5] = arena_strdup(a, json_text(arguments, NULL));
	return out_call->params[5] ? OK : ERR_TOO_LARGE;
}

static void
write_passage(struct buf *out, const struct passage *p)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "document_id", p->document_id);
	json_write_text(out, "title", p->title);
	if (*p->heading)
		json_write_text(out, "heading", p->heading);
	json_write_text(out, "text", p->content);
	json_write_close(out, '}');
}

/* As many of the best as fit. */
static void
write_passages(struct buf *out, const struct passages_found *found,
    const struct tool_place *at, size_t limit)
{
	size_t n = found ? found->n : 0, used = 0, shown = 0;
	json_write_open(out, NULL, '{');
	json_write_open(out, "passages", '[');
	for (size_t i = 0; i < n && i < limit; i++) {
		struct buf one = {0};
		write_passage(&one, &found->passages[i]);
		used += one.n + 1;
		if (used + 64 <= at->max_bytes && !one.failed) {
			json_write_raw(out, NULL, buf_text(&one));
			shown++;
		}
		buf_free(&one);
	}
	json_write_close(out, ']');
	json_write_flag(out, "has_more", shown < n);
	json_write_close(out, '}');
}

static size_t
limit_of(const struct tool_use *use)
{
	struct json_object *arguments AUTO_JSON = NULL;
	int64_t limit = -1;
	if (parse(use, &arguments) == OK)
		limit = json_member_number(arguments, "limit");
	return limit > 0 ? (size_t)limit : 5;
}

static void
read_search(const struct tool_place *at, struct tool_use *use,
    const struct pg_call *call)
{
	struct passages_found *found;
	struct buf out = {0};
	enum err e = retrieve_read(call->result, &found);
	if (e != OK) {
		tool_failed(use, e);
		return;
	}
	write_passages(&out, found, at, limit_of(use));
	tool_use_end(use, out.p, out.n, at->max_bytes);
	passages_found_free(found);
	buf_free(&out);
}

void
tool_read(const struct tool_place *at, struct tool_use *use,
    const struct pg_call *call)
{
	const PGresult *r = call->result;
	if (use->tool->native == TOOL_SEARCH_DOCUMENTS) {
		read_search(at, use, call);
		return;
	}
	if (pg_rows(r) == 0) {
		tool_failed(use, ERR_INTERNAL);
		return;
	}
	const char *result = pg_text(r, 0, RESULT);
	const char *code = pg_text(r, 0, CODE);
	use->is_error = !pg_flag(r, 0, IS_SUCCESS) &&
			!(code && !strcmp(code, "confirmation_required"));
	tool_use_end(use, result, strlen(result), at->max_bytes);
}

void
tool_failed(struct tool_use *use, enum err e)
{
	if (e == ERR_INVALID_FIELD)
		tool_use_fail(use, "invalid_arguments",
		    "A value is not one that can be stored.");
	else if (e == ERR_UNAVAILABLE)
		tool_use_fail(use, "unavailable",
		    "The database did not answer; whether it was done is not "
		    "known. Do not say that it was.");
	else
		tool_use_fail(use, "failed", "It could not be done.");
}
