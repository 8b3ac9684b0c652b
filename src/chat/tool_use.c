/*
 * The uses of tools of one reply. Owns how they look: to the client, in the
 * database, to the model.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/tool.h"
#include "chat/tool_use.h"

/* Stands in for what the model did not live to see. */
#define NOT_KNOWN                                 \
	"{\"error\":\"interrupted\",\"message\":" \
	"\"The reply ended before the tool had answered.\"}"

struct tool_uses *
tool_uses_new(void)
{
	struct tool_uses *uses = calloc(1, sizeof(*uses));
	if (!uses)
		return NULL;
	uses->list = calloc(TOOL_USES_MAX, sizeof(*uses->list));
	if (uses->list)
		return uses;
	tool_uses_free(uses);
	return NULL;
}

void
tool_uses_free(struct tool_uses *uses)
{
	for (size_t i = 0; uses && i < uses->n; i++) {
		buf_free(&uses->list[i].arguments);
		buf_free(&uses->list[i].result);
	}
	if (uses)
		free(uses->list);
	free(uses);
}

static bool
has_id(const struct tool_uses *uses, const char *id)
{
	for (size_t i = 0; i < uses->n; i++) {
		if (!strcmp(uses->list[i].id, id))
			return true;
	}
	return false;
}

/* The model's own ids are kept where they tell its calls apart. */
static void
choose_id(const struct tool_uses *uses, const char *wanted, char *out)
{
	size_t n = uses->n;
	if (*wanted && !has_id(uses, wanted)) {
		memcpy(out, wanted, strlen(wanted) + 1);
		return;
	}
	do {
		(void)snprintf(out, MODEL_CALL_ID_MAX, "call_%zu", ++n);
	} while (has_id(uses, out));
}

struct tool_use *
tool_uses_add(struct tool_uses *uses, struct model_call *call,
    const struct tools *tools, int round)
{
	if (uses->n == TOOL_USES_MAX)
		return NULL;
	struct tool_use *use = &uses->list[uses->n];
	choose_id(uses, call->id, use->id);
	memcpy(use->name, call->name, sizeof(use->name));
	id_make(use->log_id);
	use->tool = tools_find(tools, use->name);
	use->arguments = call->arguments;
	use->is_cut = call->is_cut;
	use->round = round;
	call->arguments = (struct buf){0};
	uses->n++;
	return use;
}

void
tool_use_end(struct tool_use *use, const char *result, size_t n, size_t max)
{
	static const char cut[] = "\n[cut: the result was longer]";
	size_t kept = n > max ? text_prefix(result, n, max) : n;
	buf_clear(&use->result);
	text_append_clean(&use->result, result, kept);
	if (kept < n)
		buf_puts(&use->result, cut);
	use->has_ended = true;
}

void
tool_use_fail(struct tool_use *use, const char *code, const char *message)
{
	buf_clear(&use->result);
	json_write_open(&use->result, NULL, '{');
	json_write_text(&use->result, "error", code);
	json_write_text(&use->result, "message", message);
	json_write_close(&use->result, '}');
	use->is_error = true;
	use->has_ended = true;
}

/* An object as it stands, anything else as the text that it is. */
static void
write_json_or_text(struct buf *out, const char *key, const struct buf *text)
{
	struct json_object *parsed AUTO_JSON = NULL;
	const char *p = text->n > 0 ? text->p : "";
	if (json_parse_object(p, text->n, &parsed) != OK) {
		json_write_bytes(out, key, p, text->n);
		return;
	}
	json_write_raw(out, key, json_text(parsed, NULL));
}

static void
write_call(struct buf *out, const struct tool_use *use)
{
	json_write_text(out, "id", use->id);
	json_write_text(out, "name", use->name);
	write_json_or_text(out, "arguments", &use->arguments);
}

static void
write_response(struct buf *out, const struct tool_use *use)
{
	json_write_text(out, "id", use->id);
	json_write_text(out, "name", use->name);
	write_json_or_text(out, "result", &use->result);
	json_write_flag(out, "is_error", use->is_error);
}

void
tool_use_write_call(const struct tool_use *use, struct buf *out)
{
	json_write_open(out, NULL, '{');
	write_call(out, use);
	json_write_close(out, '}');
}

void
tool_use_write_result(const struct tool_use *use, struct buf *out)
{
	json_write_open(out, NULL, '{');
	write_response(out, use);
	json_write_close(out, '}');
}

void
tool_uses_write_calls(const struct tool_uses *uses, struct buf *out)
{
	json_write_open(out, NULL, '[');
	for (size_t i = 0; uses && i < uses->n; i++) {
		json_write_open(out, NULL, '{');
		write_call(out, &uses->list[i]);
		json_write_number(out, "round", uses->list[i].round);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

void
tool_uses_write_responses(const struct tool_uses *uses, struct buf *out)
{
	json_write_open(out, NULL, '[');
	for (size_t i = 0; uses && i < uses->n; i++) {
		if (!uses->list[i].has_ended)
			continue;
		json_write_open(out, NULL, '{');
		write_response(out, &uses->list[i]);
		json_write_number(out, "ms", uses->list[i].ms);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

static void
write_paragraph(struct buf *out, const char *p, size_t n)
{
	buf_puts(out, out->n > 0 && n > 0 ? "\n\n" : "");
	buf_add(out, p, n);
}

/* Without JSON's escapes, behind which letters could hide. */
static void
write_words(const struct tool_use *use, struct buf *out)
{
	struct json_object *parsed AUTO_JSON = NULL;
	const char *text = use->arguments.n > 0 ? use->arguments.p : "";
	size_t n = use->arguments.n;
	if (!use->tool)
		write_paragraph(out, use->name, strlen(use->name));
	if (json_parse_object(text, n, &parsed) == OK)
		text = json_text(parsed, &n);
	if (!parsed || json_object_object_length(parsed) > 0)
		write_paragraph(out, text, n);
}

void
tool_uses_write_words(const struct tool_uses *uses, int round, struct buf *out)
{
	for (size_t i = 0; i < uses->n; i++) {
		if (uses->list[i].round >= round)
			write_words(&uses->list[i], out);
	}
}

/* One call, as OpenAI has it: arguments are a string. */
struct spoken {
	const char *id;
	const char *name;
	const char *arguments;
	size_t n;
};

/* What a model's own server would refuse it is not told either: arguments are
 * an object. */
static void
write_spoken(struct buf *out, const struct spoken *s)
{
	struct json_object *parsed AUTO_JSON = NULL;
	bool is_object = json_parse_object(s->arguments, s->n, &parsed) == OK;
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", s->id);
	json_write_text(out, "type", "function");
	json_write_open(out, "function", '{');
	json_write_text(out, "name", *s->name ? s->name : "unknown");
	json_write_bytes(out, "arguments", is_object ? s->arguments : "{}",
	    is_object ? s->n : 2);
	json_write_close(out, '}');
	json_write_close(out, '}');
}

static void
open_assistant(struct buf *out, const char *text, size_t n)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "role", "assistant");
	if (n > 0)
		json_write_bytes(out, "content", text, n);
	else
		json_write_text(out, "content", NULL);
	json_write_open(out, "tool_calls", '[');
}

static void
close_assistant(struct buf *out)
{
	json_write_close(out, ']');
	json_write_close(out, '}');
}

static void
write_tool(struct buf *out, const char *id, const char *result, size_t n)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "role", "tool");
	json_write_text(out, "tool_call_id", id);
	json_write_bytes(out, "content", result, n);
	json_write_close(out, '}');
}

void
tool_round_messages(const struct tool_uses *uses, int round, const char *text,
    size_t n, struct buf *out)
{
	open_assistant(out, text, n);
	for (size_t i = 0; i < uses->n; i++) {
		const struct tool_use *u = &uses->list[i];
		const struct spoken s = {u->id, u->name,
		    u->arguments.n > 0 ? u->arguments.p : "", u->arguments.n};
		if (u->round == round)
			write_spoken(out, &s);
	}
	close_assistant(out);
	for (size_t i = 0; i < uses->n; i++) {
		const struct tool_use *u = &uses->list[i];
		if (u->round == round && u->has_ended)
			write_tool(out, u->id, u->result.p, u->result.n);
		else if (u->round == round)
			write_tool(out, u->id, NOT_KNOWN, strlen(NOT_KNOWN));
	}
}

/* A member of a stored use as text: JSON, or the string that it is. */
static const char *
member(struct json_object *o, const char *key, size_t *out_n)
{
	struct json_object *v = NULL;
	*out_n = 0;
	if (!json_object_object_get_ex(o, key, &v) || !v)
		return "";
	if (json_object_is_type(v, json_type_string)) {
		*out_n = (size_t)json_object_get_string_len(v);
		return json_object_get_string(v);
	}
	return json_text(v, out_n);
}

static struct json_object *
array_of(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;
	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_array))
		return NULL;
	return v;
}

static void
write_stored_response(
    struct buf *out, struct json_object *responses, const char *id)
{
	size_t n = responses ? json_object_array_length(responses) : 0;
	for (size_t i = 0; i < n; i++) {
		struct json_object *r = json_object_array_get_idx(responses, i);
		const char *whose = json_member_text(r, "id");
		size_t len;
		if (!whose || strcmp(whose, id) != 0)
			continue;
		const char *text = member(r, "result", &len);
		write_tool(out, id, text, len);
		return;
	}
	write_tool(out, id, NOT_KNOWN, strlen(NOT_KNOWN));
}

/* What came of a call, if anything is known of that. */
static void
read_response(struct json_object *responses, struct tool_use *use)
{
	size_t n = json_object_array_length(responses), len;
	for (size_t i = 0; i < n && !use->has_ended; i++) {
		struct json_object *r = json_object_array_get_idx(responses, i);
		const char *id = json_member_text(r, "id");
		if (!id || strcmp(id, use->id) != 0)
			continue;
		const char *text = member(r, "result", &len);
		buf_add(&use->result, text, len);
		use->has_ended = true;
	}
}

static bool
read_use(struct json_object *call, struct json_object *responses,
    struct tool_use *use)
{
	const char *id = json_member_text(call, "id");
	const char *name = json_member_text(call, "name");
	size_t n;
	if (!id || !name || strlen(id) > MODEL_CALL_ID_MAX ||
	    strlen(name) > MODEL_CALL_NAME_MAX)
		return false;
	memcpy(use->id, id, strlen(id) + 1);
	memcpy(use->name, name, strlen(name) + 1);
	use->round = (int)json_member_number(call, "round");
	const char *arguments = member(call, "arguments", &n);
	buf_add(&use->arguments, arguments, n);
	read_response(responses, use);
	return !use->arguments.failed && !use->result.failed;
}

struct tool_uses *
tool_uses_read(const char *calls, const char *responses)
{
	struct json_object *c AUTO_JSON = json_tokener_parse(calls);
	struct json_object *r AUTO_JSON = json_tokener_parse(responses);
	if (!json_object_is_type(c, json_type_array) ||
	    !json_object_is_type(r, json_type_array) ||
	    json_object_array_length(c) > TOOL_USES_MAX)
		return NULL;
	struct tool_uses *uses = tool_uses_new();
	size_t n = uses ? json_object_array_length(c) : 0;
	for (size_t i = 0; i < n; i++) {
		struct json_object *call = json_object_array_get_idx(c, i);
		if (read_use(call, r, &uses->list[uses->n++]))
			continue;
		tool_uses_free(uses);
		return NULL;
	}
	return uses;
}

/* The calls of one round, those from `i` on; the first of the next. */
static size_t
write_stored_round(struct buf *out, struct json_object *calls,
    struct json_object *responses, size_t i)
{
	size_t n = json_object_array_length(calls), end = i;
	int64_t round =
	    json_member_number(json_object_array_get_idx(calls, i), "round");
	open_assistant(out, NULL, 0);
	for (; end < n; end++) {
		struct json_object *c = json_object_array_get_idx(calls, end);
		const char *id = json_member_text(c, "id");
		const char *name = json_member_text(c, "name");
		struct spoken s = {id ? id : "", name ? name : "", NULL, 0};
		if (json_member_number(c, "round") != round)
			break;
		s.arguments = member(c, "arguments", &s.n);
		write_spoken(out, &s);
	}
	close_assistant(out);
	for (; i < end; i++) {
		struct json_object *c = json_object_array_get_idx(calls, i);
		const char *id = json_member_text(c, "id");
		write_stored_response(out, responses, id ? id : "");
	}
	return end;
}

bool
tool_history_messages(const char *json, struct buf *out)
{
	struct json_object *o AUTO_JSON = NULL;
	if (json_parse_object(json, strlen(json), &o) != OK)
		return false;
	struct json_object *calls = array_of(o, "calls");
	size_t n = calls ? json_object_array_length(calls) : 0;
	/* What was imported may look otherwise. */
	for (size_t i = 0; i < n; i++) {
		struct json_object *c = json_object_array_get_idx(calls, i);
		if (!json_object_is_type(c, json_type_object) ||
		    !json_member_text(c, "id") || !json_member_text(c, "name"))
			return false;
	}
	for (size_t i = 0; i < n;)
		i = write_stored_round(out, calls, array_of(o, "responses"), i);
	return n > 0;
}
