/*
 * Reading the note that context_note.c wrote. Knows the order of CONTEXT_GET's
 * columns.
 */
#include <json-c/json.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/id.h"
#include "base/json.h"
#include "base/json_write.h"
#include "chat/context.h"
#include "chat/context_note.h"
#include "chat/context_rounds.h"
#include "chat/context_show.h"
#include "chat/prompts.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/tool.h"
#include "chat/turn.h"
#include "chat/turn_context.h"
#include "http/request.h"
#include "model/mask.h"

enum column {
	STATUS,
	MODEL,
	NOTE,
	FALLBACK_FROM,
	TOOL_CALLS,
	TOOL_RESPONSES,
	QUESTION_ID,
	QUESTION,
	SYSTEM_PROMPT,
	FACTS,
	SUMMARY,
	SUMMARY_TEMPLATE,
	REPLY,
};

/* A path of as many messages as a context may have (CHAT_CONTEXT_MESSAGES). */
#define PATH_MAX_MESSAGES "1000"
#define PATH_MAX_BYTES    "1048576"

/* One reply while it is looked at. */
struct showing {
	struct request *req;
	const PGresult *row;
	struct json_object *note;
	struct context context;
	struct turn *turn; /* holds the body that is built */
	struct passages_found *passages;
	PGresult *history;  /* what is left of that; owned */
	struct buf rounds;  /* JSON: the requests after the first */
	bool is_exact;      /* the first one is what was sent */
	struct buf changes; /* JSON objects, commas between */
};

static struct json_object *
member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;
	(void)json_object_object_get_ex(o, name, &v);
	return v;
}

static const char *
text_of(struct json_object *o, const char *name)
{
	struct json_object *v = member(o, name);
	return v ? json_object_get_string(v) : NULL;
}

/* A flag that notes of before may not have. */
static bool
flag_of(struct json_object *o, const char *name, bool otherwise)
{
	struct json_object *v = member(o, name);
	return v ? json_object_get_boolean(v) : otherwise;
}

static int64_t
number_of(struct json_object *o, const char *name)
{
	struct json_object *v = member(o, name);
	return v ? json_object_get_int64(v) : 0;
}

/* What the note says of a part. */
static struct context_use
noted(const struct showing *s, enum context_part part)
{
	struct json_object *o =
	    member(member(s->note, "parts"), context_part_name(part));
	return (struct context_use){
	    number_of(o, "bytes"), (int)number_of(o, "items")};
}

/* One more thing that is not as it was; `id` NULL: all of the part. */
static void
tell(struct showing *s, const char *part, const char *what, const char *id)
{
	json_write_open(&s->changes, NULL, '{');
	json_write_text(&s->changes, "part", part);
	json_write_text(&s->changes, "change", what);
	if (id)
		json_write_text(&s->changes, "id", id);
	json_write_close(&s->changes, '}');
}

/* The template of that name and version, or what has taken its place. */
static const struct prompt *
find_template(
    struct showing *s, const char *key, const char *part, const char *otherwise)
{
	struct json_object *o = member(s->note, key);
	const char *name = text_of(o, "name");
	const char *version = text_of(o, "version");
	const struct prompts *prompts = prompts_current();
	const struct prompt *p = name ? prompts_find(prompts, name) : NULL;
	if (o && (!p || !version || strcmp(p->version, version) != 0))
		tell(s, part, "template_changed", NULL);
	return p ? p : prompts_find(prompts, otherwise);
}

/* The values that the template said then. */
static void
read_values(struct showing *s)
{
	struct json_object *values = member(s->note, "values");
	for (int i = 0; i < PROMPT__MAX; i++)
		s->context.values[i] =
		    text_of(values, prompt_value_name((enum prompt_value)i));
	const char *own = pg_text(s->row, 0, SYSTEM_PROMPT);
	const char *system =
	    own ? own : s->req->services->config->system_prompt;
	const char *then = text_of(s->note, "system_prompt");
	char now[CONTEXT_HASH];
	context_hash(system ? system : "", system ? strlen(system) : 0, now);
	if (!then || strcmp(now, then) != 0)
		tell(s, "system", "changed", NULL);
	s->context.values[PROMPT_SYSTEM_PROMPT] = system;
}

static bool
has_fact(const struct context *c, const char *id)
{
	for (size_t i = 0; i < c->n_facts; i++)
		if (!strcmp(c->facts[i].id, id))
			return true;
	return false;
}

static enum err
read_facts(struct showing *s)
{
	struct json_object *o = member(s->note, "facts");
	struct json_object *ids = member(o, "ids");
	const char *then = text_of(o, "hash");
	char now[CONTEXT_HASH];
	enum err e = context_read_facts(
	    s->req->arena, pg_text(s->row, 0, FACTS), &s->context);
	if (e != OK || !ids)
		return e;
	size_t n = json_object_array_length(ids);
	for (size_t i = 0; i < n; i++) {
		const char *id =
		    json_object_get_string(json_object_array_get_idx(ids, i));
		if (!has_fact(&s->context, id))
			tell(s, "facts", "deleted", id);
	}
	if (s->context.n_facts < n)
		return OK;
	context_hash_facts(&s->context, (int)n, now);
	if (!then || strcmp(now, then) != 0)
		tell(s, "facts", "changed", NULL);
	return OK;
}

/* "{id,…}" of the note's passages. */
static const char *
list_passages(struct showing *s, struct json_object *ids)
{
	struct buf b = {0};
	for (size_t i = 0; i < json_object_array_length(ids); i++) {
		const char *id =
		    json_object_get_string(json_object_array_get_idx(ids, i));
		if (!id_is_uuid(id))
			continue;
		buf_putc(&b, b.n == 0 ? '{' : ',');
		buf_puts(&b, id);
	}
	if (b.n == 0)
		buf_putc(&b, '{');
	buf_putc(&b, '}');
	const char *text =
	    b.failed ? NULL : arena_strndup(s->req->arena, b.p, b.n);
	buf_free(&b);
	return text;
}

static bool
has_passage(const struct passages_found *found, const char *id)
{
	for (size_t i = 0; found && i < found->n; i++)
		if (!strcmp(found->passages[i].chunk_id, id))
			return true;
	return false;
}

static enum err
read_passages(struct showing *s)
{
	struct json_object *ids = member(s->note, "passages");
	s->context.passages_prompt = find_template(
	    s, "passages_template", "passages", PROMPT_PASSAGES_FILE);
	if (!ids)
		return OK;
	struct pg_call call = {
	    .query = chat_query(CHAT_CONTEXT_PASSAGES),
	    .params = {s->req->who.user_id, list_passages(s, ids)},
	};
	if (!call.params[1])
		return ERR_TOO_LARGE;
	enum err e = chat_run(s->req, &call, 1);
	if (e != OK)
		return e;
	e = retrieve_read(call.result, &s->passages);
	pg_calls_clear(&call, 1);
	for (size_t i = 0; i < json_object_array_length(ids); i++) {
		const char *id =
		    json_object_get_string(json_object_array_get_idx(ids, i));
		if (!has_passage(s->passages, id))
			tell(s, "passages", "deleted", id);
	}
	s->context.passages = s->passages;
	return e;
}

/* The tools that were offered; their texts are the note's. */
static enum err
read_tools(struct showing *s)
{
	struct json_object *list = member(s->note, "tools");
	if (!list)
		return OK;
	struct tools *tools = s->turn->tools = tools_new();
	if (!tools)
		return ERR_BUSY;
	if (flag_of(s->note, "changes_tasks", false))
		tools_add_native(tools);
	else
		tools_add_reading(tools);
	if (!flag_of(s->note, "searches_documents", true))
		tools_remove(tools, TOOL_SEARCH_DOCUMENTS);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		const struct tool tool = {
		    .name = text_of(o, "name"),
		    .description = text_of(o, "description"),
		    .schema = text_of(o, "schema"),
		    .kind = TOOL_SITE,
		};
		if (tool.name && tool.description && tool.schema &&
		    !tools_add(tools, &tool))
			tell(s, "tools", "changed", NULL);
	}
	s->context.tools = tools;
	return OK;
}

static bool
add_row(PGresult *to, const char *role, const char *content)
{
	int row = PQntuples(to);
	return PQsetvalue(to, row, 0, (char *)role, (int)strlen(role)) &&
	       PQsetvalue(to, row, 1, (char *)content, (int)strlen(content));
}

/* Of `n` bytes of a summary, so many were told. */
static size_t
cut_summary(const struct showing *s, size_t n)
{
	int64_t told = noted(s, CONTEXT_SUMMARY).bytes;
	return told >= 0 && (size_t)told < n ? (size_t)told : n;
}

/* The rows that went with it: a summary, the last `n` of the path. */
static enum err
keep_rows(struct showing *s, const PGresult *path)
{
	PGresAttDesc columns[] = {
	    {.name = (char *)"role"}, {.name = (char *)"content"}};
	const char *summary = pg_text(s->row, 0, SUMMARY);
	int n = noted(s, CONTEXT_HISTORY).items;
	int all = pg_rows(path);
	s->history = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	if (!s->history || !PQsetResultAttrs(s->history, 2, columns))
		return ERR_BUSY;
	if (noted(s, CONTEXT_SUMMARY).items > 0 && !summary)
		tell(s, "summary", "deleted", NULL);
	if (summary)
		summary = arena_strndup(
		    s->req->arena, summary, cut_summary(s, strlen(summary)));
	if (summary && !add_row(s->history, CONTEXT_SUMMARY_ROLE, summary))
		return ERR_BUSY;
	for (int i = n < all ? all - n : 0; i < all; i++)
		if (!add_row(
			s->history, pg_text(path, i, 0), pg_text(path, i, 1)))
			return ERR_BUSY;
	s->context.history = s->history;
	return OK;
}

static enum err
read_history(struct showing *s)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_TURN_HISTORY),
	    .params = {s->req->who.user_id, pg_text(s->row, 0, QUESTION_ID),
		PATH_MAX_MESSAGES, PATH_MAX_BYTES, "f"},
	};
	enum err e = chat_run(s->req, &call, 1);
	if (e != OK)
		return e;
	e = keep_rows(s, call.result);
	pg_calls_clear(&call, 1);
	return e;
}

/* What parts have now besides what was told already. */
static void
compare_parts(struct showing *s)
{
	static const enum context_part parts[] = {
	    CONTEXT_SUMMARY, CONTEXT_HISTORY, CONTEXT_QUESTION};
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		struct context_use then = noted(s, parts[i]);
		struct context_use now = s->turn->used[parts[i]];
		if (now.items < then.items && parts[i] == CONTEXT_SUMMARY)
			continue;
		if (now.items < then.items)
			tell(s, context_part_name(parts[i]), "deleted", NULL);
		else if (now.bytes != then.bytes)
			tell(s, context_part_name(parts[i]), "changed", NULL);
	}
}

static enum err
build(struct showing *s)
{
	struct context *c = &s->context;
	c->model = text_of(s->note, "model");
	c->question = pg_text(s->row, 0, QUESTION);
	c->max_tokens = number_of(s->note, "max_tokens");
	c->tokens_field = text_of(s->note, "tokens_field");
	c->granted = INT64_MAX / 2;
	c->passages_bytes = CONTEXT_PASSAGES_MAX;
	if (!c->model || !c->question)
		return ERR_NOT_FOUND;
	c->system = find_template(s, "template", "system", PROMPT_DEFAULT);
	read_values(s);
	enum err e = read_facts(s);
	if (e == OK)
		e = read_passages(s);
	if (e == OK)
		e = read_tools(s);
	if (e == OK)
		e = read_history(s);
	if (e == OK &&
	    flag_of(s->note, "is_masked", s->req->services->config->pii_mask) &&
	    !(s->turn->mask = mask_new()))
		e = ERR_BUSY;
	if (e == OK)
		e = context_request(s->req->arena, c, s->turn);
	if (e == OK)
		compare_parts(s);
	return e;
}

/* Is the first request what was sent? */
static void
judge(struct showing *s, const char *sent)
{
	char hex[2 * CONTEXT_SHA256 + 1];
	context_seal(s->turn);
	sodium_bin2hex(hex, sizeof(hex), s->turn->sent_sha256, CONTEXT_SHA256);
	s->is_exact = sent && !strcmp(sent, hex);
	if (s->is_exact)
		buf_clear(&s->changes);
	else if (s->changes.n == 0)
		tell(s, "request", "changed", NULL);
}

/* The others, of a reply whose model called tools. */
static enum err
build_rounds(struct showing *s)
{
	const struct rounds_left left = {
	    .note = s->note,
	    .first = &s->turn->prompt,
	    .mask = s->turn->mask,
	    .text = pg_text(s->row, 0, REPLY),
	    .calls = pg_text(s->row, 0, TOOL_CALLS),
	    .responses = pg_text(s->row, 0, TOOL_RESPONSES),
	};
	bool are_exact;
	enum err e = context_rounds_show(&left, &s->rounds, &are_exact);
	if (e == OK && s->is_exact && !are_exact)
		tell(s, "tools", "changed", NULL);
	return e;
}

static void
write_parts(struct showing *s, struct buf *out)
{
	json_write_open(out, "parts", '[');
	for (int i = 0; i < CONTEXT__MAX; i++) {
		enum context_part part = (enum context_part)i;
		struct context_use use = noted(s, part);
		json_write_open(out, NULL, '{');
		json_write_text(out, "part", context_part_name(part));
		json_write_number(out, "share", context_part_share(part));
		json_write_number(out, "items", use.items);
		json_write_number(out, "bytes", use.bytes);
		json_write_number(
		    out, "tokens", context_tokens((size_t)use.bytes));
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

/* Those of passages and of a summary, if there are such. */
static void
write_others(struct showing *s, struct buf *out)
{
	struct json_object *passages = member(s->note, "passages_template");
	const char *of_summary = pg_text(s->row, 0, SUMMARY_TEMPLATE);
	const char *version = of_summary ? strchr(of_summary, ' ') : NULL;
	json_write_raw(out, "passages_template",
	    passages ? json_text(passages, NULL) : NULL);
	if (!version) {
		json_write_raw(out, "summary_template", NULL);
		return;
	}
	json_write_open(out, "summary_template", '{');
	json_write_bytes(
	    out, "name", of_summary, (size_t)(version - of_summary));
	json_write_text(out, "version", version + 1);
	json_write_close(out, '}');
}

static void
write_templates(struct showing *s, struct buf *out)
{
	struct json_object *o = member(s->note, "template");
	json_write_open(out, "template", '{');
	json_write_text(out, "name", text_of(o, "name"));
	json_write_text(out, "version", text_of(o, "version"));
	json_write_text(
	    out, "asked_for", text_of(s->note, "template_asked_for"));
	json_write_close(out, '}');
	write_others(s, out);
}

static enum err
write_all(struct showing *s, const char *id, struct buf *out)
{
	const char *sent = text_of(s->note, "sha256");
	judge(s, sent);
	enum err e = build_rounds(s);
	if (e != OK)
		return e;
	json_write_open(out, NULL, '{');
	json_write_text(out, "message_id", id);
	json_write_text(out, "model", s->context.model);
	json_write_text(out, "answered_by", pg_text(s->row, 0, MODEL));
	json_write_text(
	    out, "fallback_from", pg_text(s->row, 0, FALLBACK_FROM));
	json_write_flag(out, "exact", s->is_exact);
	json_write_text(out, "sha256", sent);
	json_write_open(out, "changes", '[');
	buf_add(out, s->changes.p, s->changes.n);
	json_write_close(out, ']');
	write_templates(s, out);
	json_write_number(out, "window", number_of(s->note, "window"));
	write_parts(s, out);
	json_write_raw(out, "request", buf_text(&s->turn->prompt));
	json_write_raw(out, "tool_calls", pg_text(s->row, 0, TOOL_CALLS));
	json_write_raw(
	    out, "tool_responses", pg_text(s->row, 0, TOOL_RESPONSES));
	json_write_raw(out, "rounds", buf_text(&s->rounds));
	json_write_close(out, '}');
	return out->failed || s->rounds.failed ? ERR_TOO_LARGE : OK;
}

static enum err
refuse(struct request *req, const char *why)
{
	req->detail = why;
	return ERR_NOT_FOUND;
}

static enum err
show(struct request *req, const char *id, const PGresult *row, struct buf *out)
{
	const char *text = pg_text(row, 0, NOTE);
	AUTO_JSON struct json_object *note =
	    text ? json_tokener_parse(text) : NULL;
	if (!note)
		return refuse(req,
		    !strcmp(pg_text(row, 0, STATUS), "streaming")
			? "What the model is told is known when the reply has "
			  "ended."
			: "Nothing is known of a model that was asked for "
			  "this reply.");
	struct showing s = {.req = req, .row = row, .note = note};
	s.turn = calloc(1, sizeof(*s.turn));
	enum err e = s.turn ? build(&s) : ERR_BUSY;
	if (e == OK)
		e = write_all(&s, id, out);
	turn_free(s.turn);
	passages_found_free(s.passages);
	PQclear(s.history);
	buf_free(&s.rounds);
	buf_free(&s.changes);
	return e;
}

enum err
context_show(struct request *req, const char *id, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_CONTEXT_GET),
	    .params = {req->who.user_id, id},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	e = pg_rows(call.result) > 0 ? show(req, id, call.result, out)
				     : ERR_NOT_FOUND;
	pg_calls_clear(&call, 1);
	return e;
}
