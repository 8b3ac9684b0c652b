/*
 * The messages of a completion that is kept, as rows: what was said becomes
 * text, what was called and what came of it stays JSON. Pictures and sounds are
 * not kept; that there were some is noted.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "base/json_write.h"
#include "chat/completion.h"
#include "chat/conversation.h"
#include "http/request.h"

/* Roles of OpenAI's that have another name here. */
static const char *
role_of(const char *role)
{
	if (!strcmp(role, "developer"))
		return "system";
	return !strcmp(role, "function") ? "tool" : role;
}

/* The types of parts that are no text. */
static void
write_left_out(struct buf *out, struct json_object *content)
{
	struct buf types = {0};
	size_t n = json_object_is_type(content, json_type_array)
		       ? json_object_array_length(content)
		       : 0;
	json_write_open(&types, NULL, '[');
	for (size_t i = 0; i < n; i++) {
		struct json_object *part =
		    json_object_array_get_idx(content, i);
		const char *type = json_member_text(part, "type");
		if (strcmp(type, "text") != 0)
			json_write_text(&types, NULL, type);
	}
	json_write_close(&types, ']');
	if (types.n > 2) {
		json_write_open(out, "metadata", '{');
		json_write_raw(out, "left_out", buf_text(&types));
		json_write_close(out, '}');
	}
	buf_free(&types);
}

static void
write_calls(struct buf *out, struct json_object *message, const char *text)
{
	struct json_object *calls = NULL;
	const char *id = json_member_text(message, "tool_call_id");
	(void)json_object_object_get_ex(message, "tool_calls", &calls);
	if (calls)
		json_write_raw(out, "tool_calls", json_text(calls, NULL));
	if (!id)
		return;
	json_write_open(out, "tool_responses", '[');
	json_write_open(out, NULL, '{');
	json_write_text(out, "tool_call_id", id);
	json_write_text(out, "content", text);
	json_write_close(out, '}');
	json_write_close(out, ']');
}

/* Its text, which is shared with who looks for a title; NULL: no room. */
static const char *
write_message(struct buf *out, struct request *req, struct json_object *message,
    size_t i, const struct completion_ask *ask)
{
	struct json_object *content = NULL;
	(void)json_object_object_get_ex(message, "content", &content);
	const char *text = completion_text(req->arena, content);
	if (!text)
		return NULL;
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", ask->last_id);
	json_write_text(out, "parent_id", ask->branch_id);
	json_write_number(out, "position", (int64_t)i + 1);
	json_write_text(
	    out, "role", role_of(json_member_text(message, "role")));
	json_write_text(out, "content", text);
	write_calls(out, message, text);
	write_left_out(out, content);
	json_write_close(out, '}');
	return text;
}

enum err
completion_keep(
    struct request *req, struct json_object *body, struct completion_ask *ask)
{
	struct json_object *messages = NULL;
	const char *title = NULL, *text;
	struct buf out = {0};
	(void)json_object_object_get_ex(body, "messages", &messages);
	json_write_open(&out, NULL, '[');
	for (size_t i = 0; i < ask->n_messages; i++) {
		struct json_object *m = json_object_array_get_idx(messages, i);
		char *id = arena_alloc(req->arena, ID_TEXT);
		if (!id)
			break;
		id_make(id);
		ask->branch_id = ask->last_id;
		ask->last_id = id;
		text = write_message(&out, req, m, i, ask);
		if (!text)
			break;
		if (!title && !strcmp(json_member_text(m, "role"), "user"))
			title = text;
	}
	json_write_close(&out, ']');
	ask->title = conversation_title(req->arena, title ? title : "");
	ask->messages =
	    out.failed ? NULL : arena_strndup(req->arena, out.p, out.n);
	buf_free(&out);
	return ask->title && ask->messages ? OK : ERR_TOO_LARGE;
}
