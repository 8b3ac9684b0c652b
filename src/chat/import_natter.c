/*
 * A conversation of our own export: every field that we would take from its
 * owner, checked as there. Ids are made anew; parents and the leaf follow them.
 */
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/conversation.h"
#include "chat/import_inside.h"
#include "chat/message.h"
#include "http/request.h"

#define MESSAGE_TEXT_MAX ((size_t)1 << 24)

/* A text that goes in as it came out. */
struct text_field {
	const char *name;
	size_t max; /* characters */
};

static const struct text_field message_texts[] = {
    {"content", MESSAGE_TEXT_MAX},
    {"model", 200},
    {"finish_reason", 64},
    {"error_code", 64},
    {"intent", 100},
};

static const struct text_field conversation_texts[] = {
    {"model", 200},
    {"system_prompt", CONVERSATION_PROMPT_MAX},
};

#define N(array) (sizeof(array) / sizeof(*(array)))

static bool
is_one_of(const char *word, const char *const *words)
{
	for (; *words; words++) {
		if (!strcmp(word, *words))
			return true;
	}
	return false;
}

static enum err
copy_texts(struct carried *c, const char *at, struct json_object *o,
    const struct text_field *fields, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		const char *text;
		enum err e =
		    import_text(c, at, o, fields[i].name, fields[i].max, &text);
		if (e != OK)
			return e;
		json_write_text(out, fields[i].name, text);
	}
	return OK;
}

static enum err
copy_time(struct carried *c, const char *at, struct json_object *o,
    const char *member, struct buf *out)
{
	const char *text;
	int64_t ms;
	enum err e = import_text(c, at, o, member, 64, &text);
	if (e == OK && text && !clock_parse(text, &ms))
		return import_refuse(c, at, member, "It must be a time.");
	if (e == OK)
		json_write_text(out, member, text);
	return e;
}

/* A member of this JSON type, at most `max` bytes; `def` where it is absent. */
static enum err
copy_json(struct carried *c, const char *at, struct json_object *o,
    const char *member, enum json_type type, const char *def, struct buf *out)
{
	struct json_object *value = NULL;
	size_t n = 0;
	if (!json_object_object_get_ex(o, member, &value) || !value) {
		json_write_raw(out, member, def);
		return OK;
	}
	const char *text = json_text(value, &n);
	if (!json_object_is_type(value, type) || n > MESSAGE_METADATA_MAX * 4)
		return import_refuse(
		    c, at, member, "It is of another type, or too large.");
	json_write_raw(out, member, text);
	return OK;
}

static enum err
copy_tags(struct carried *c, struct json_object *o, struct buf *out)
{
	struct json_object *tags = NULL;
	enum err e = copy_json(c, c->at, o, "tags", json_type_array, "[]", out);
	if (e != OK || !json_object_object_get_ex(o, "tags", &tags))
		return e;
	size_t n = tags ? json_object_array_length(tags) : 0;
	bool is_fit = n <= CONVERSATION_TAGS_MAX;
	for (size_t i = 0; i < n && is_fit; i++) {
		struct json_object *tag = json_object_array_get_idx(tags, i);
		size_t chars = 0;
		if (json_object_is_type(tag, json_type_string))
			chars = text_length(json_object_get_string(tag),
			    (size_t)json_object_get_string_len(tag));
		is_fit = chars >= 1 && chars <= CONVERSATION_TAG_MAX;
	}
	return is_fit ? OK
		      : import_refuse(c, c->at, "tags",
			    "It must be at most 20 strings of 1 to 64 "
			    "characters.");
}

static enum err
copy_role(struct carried *c, const char *at, struct json_object *o)
{
	static const char *const roles[] = {
	    "user", "assistant", "system", "tool", NULL};
	static const char *const ends[] = {
	    "complete", "interrupted", "cancelled", "failed", NULL};
	const char *role;
	const char *status;
	enum err e = import_text(c, at, o, "role", 16, &role);
	if (e == OK)
		e = import_text(c, at, o, "status", 16, &status);
	if (e != OK)
		return e;
	if (!role || !is_one_of(role, roles))
		return import_refuse(c, at, "role",
		    "It must be user, assistant, system or tool.");
	/* What was being written then is not any more. */
	if (status && !strcmp(status, "streaming"))
		status = "interrupted";
	if (status && !is_one_of(status, ends))
		return import_refuse(c, at, "status", "It is not known here.");
	json_write_text(&c->messages, "role", role);
	json_write_text(&c->messages, "status", status ? status : ends[0]);
	return OK;
}

static enum err
copy_tokens(struct carried *c, const char *at, struct json_object *o)
{
	struct json_object *n = NULL;
	(void)json_object_object_get_ex(o, "token_count", &n);
	if (n && (!json_object_is_type(n, json_type_int) ||
		     json_object_get_int64(n) < 0 ||
		     json_object_get_int64(n) > INT32_MAX))
		return import_refuse(
		    c, at, "token_count", "It must be a number, not negative.");
	if (n)
		json_write_number(
		    &c->messages, "token_count", json_object_get_int64(n));
	return OK;
}

/* The rest of a message, after its ids and place. */
static enum err
copy_message(struct carried *c, const char *at, struct json_object *o)
{
	struct buf *out = &c->messages;
	struct json_object *content = NULL;
	enum err e = copy_role(c, at, o);
	(void)json_object_object_get_ex(o, "content", &content);
	if (e == OK && !content)
		e = import_refuse(c, at, "content", "It is required.");
	if (e == OK)
		e = copy_texts(c, at, o, message_texts, N(message_texts), out);
	if (e == OK)
		c->n_text += (size_t)json_object_get_string_len(content);
	if (e == OK)
		e = copy_tokens(c, at, o);
	if (e == OK)
		e = copy_json(
		    c, at, o, "metadata", json_type_object, "{}", out);
	if (e == OK)
		e = copy_json(
		    c, at, o, "used_documents", json_type_array, "[]", out);
	if (e == OK)
		e = copy_json(
		    c, at, o, "entities", json_type_object, "{}", out);
	if (e == OK)
		e = copy_json(
		    c, at, o, "tool_calls", json_type_array, "[]", out);
	if (e == OK)
		e = copy_json(
		    c, at, o, "tool_responses", json_type_array, "[]", out);
	if (e == OK)
		e = copy_time(c, at, o, "created_at", out);
	if (e == OK)
		e = copy_time(c, at, o, "completed_at", out);
	return e;
}

/* The message at `i`: its id and its parent's, which must stand before it. */
static enum err
read_message(struct carried *c, struct json_object *o, size_t i,
    struct json_object *ids, char (*made)[ID_TEXT])
{
	const char *at = import_place(c, c->at, "messages", i);
	const char *id = NULL;
	const char *parent = NULL;
	enum err e = OK;
	if (!json_object_is_type(o, json_type_object))
		return request_refuse(c->req, at, "It must be an object.");
	e = import_text(c, at, o, "id", IMPORT_SOURCE_ID_MAX, &id);
	if (e == OK)
		e = import_text(
		    c, at, o, "parent_id", IMPORT_SOURCE_ID_MAX, &parent);
	if (e != OK)
		return e;
	if (!id || import_find(ids, id) >= 0)
		return import_refuse(
		    c, at, "id", "It is required, and unlike any other.");
	if (parent && import_find(ids, parent) < 0)
		return import_refuse(c, at, "parent_id",
		    "It must be the id of a message before it.");
	id_make(made[i]);
	json_write_open(&c->messages, NULL, '{');
	json_write_text(&c->messages, "id", made[i]);
	json_write_text(&c->messages, "parent_id",
	    parent ? made[import_find(ids, parent)] : NULL);
	json_write_number(&c->messages, "position", (int64_t)i + 1);
	json_object_object_add(ids, id, json_object_new_int((int)i));
	e = copy_message(c, at, o);
	json_write_close(&c->messages, '}');
	return e;
}

static enum err
read_messages(struct carried *c, struct json_object *o, struct json_object *ids,
    const char **out_leaf)
{
	struct json_object *all = NULL;
	const char *leaf = NULL;
	enum err e =
	    import_text(c, c->at, o, "leaf_id", IMPORT_SOURCE_ID_MAX, &leaf);
	if (e != OK)
		return e;
	if (!json_object_object_get_ex(o, "messages", &all) ||
	    !json_object_is_type(all, json_type_array))
		return import_refuse(
		    c, c->at, "messages", "It must be an array.");
	size_t n = json_object_array_length(all);
	e = import_count(c, "messages", n);
	if (e != OK)
		return e;
	char(*made)[ID_TEXT] = arena_array(c->req->arena, n + 1, ID_TEXT);
	if (!made)
		return ERR_TOO_LARGE;
	json_write_open(&c->messages, NULL, '[');
	for (size_t i = 0; e == OK && i < n; i++)
		e = read_message(
		    c, json_object_array_get_idx(all, i), i, ids, made);
	json_write_close(&c->messages, ']');
	if (e == OK)
		e = import_count(c, "messages", n);
	c->n_messages = (int)n;
	int at = import_find(ids, leaf);
	if (n > 0)
		*out_leaf = made[at >= 0 ? (size_t)at : n - 1];
	return e;
}

static enum err
copy_flag(
    struct carried *c, struct json_object *o, const char *member, bool def)
{
	struct json_object *value = NULL;
	if (json_object_object_get_ex(o, member, &value) &&
	    !json_object_is_type(value, json_type_boolean))
		return import_refuse(
		    c, c->at, member, "It must be true or false.");
	json_write_flag(
	    &c->row, member, value ? json_object_get_boolean(value) : def);
	return OK;
}

/* A flag that need not say anything. */
static enum err
copy_switch(struct carried *c, struct json_object *o, const char *member)
{
	struct json_object *value = NULL;
	(void)json_object_object_get_ex(o, member, &value);
	return value ? copy_flag(c, o, member, false) : OK;
}

static enum err
copy_conversation(struct carried *c, struct json_object *o)
{
	struct buf *out = &c->row;
	const char *title;
	enum err e =
	    import_text(c, c->at, o, "title", CONVERSATION_TITLE_MAX, &title);
	if (e == OK)
		json_write_text(out, "title", title ? title : "");
	if (e == OK)
		e = copy_json(
		    c, c->at, o, "metadata", json_type_object, "{}", out);
	if (e == OK)
		e = copy_tags(c, o, out);
	if (e == OK)
		e = copy_texts(c, c->at, o, conversation_texts,
		    N(conversation_texts), out);
	if (e == OK)
		e = copy_flag(c, o, "is_active", true);
	if (e == OK)
		e = copy_flag(c, o, "is_archived", false);
	if (e == OK)
		e = copy_switch(c, o, "documents");
	if (e == OK)
		e = copy_time(c, c->at, o, "created_at", out);
	if (e == OK)
		e = copy_time(c, c->at, o, "last_message_at", out);
	return e;
}

enum err
import_read_natter(struct carried *c, struct json_object *o)
{
	AUTO_JSON struct json_object *ids = json_object_new_object();
	const char *leaf = NULL;
	enum err e =
	    import_text(c, c->at, o, "id", IMPORT_SOURCE_ID_MAX, &c->source_id);
	if (e == OK && (!c->source_id || !*c->source_id))
		e = import_refuse(c, c->at, "id", "It is required.");
	if (e == OK)
		e = read_messages(c, o, ids, &leaf);
	json_write_open(&c->row, NULL, '{');
	if (e == OK)
		e = copy_conversation(c, o);
	json_write_number(&c->row, "message_count", c->n_messages);
	json_write_text(&c->row, "leaf_id", leaf);
	json_write_close(&c->row, '}');
	return e;
}
