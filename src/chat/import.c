/*
 * Decides whose export a file is, reads all of it once to check and once to
 * store. Knows neither form.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/text.h"
#include "chat/export.h"
#include "chat/import.h"
#include "chat/import_inside.h"
#include "chat/queries.h"
#include "http/request.h"

/* A short id is 50 random bits, unique per user: twice is already odd. */
#define SHORT_ID_TRIES 3

/* A file as it was recognised. */
struct file {
	const char *source;
	const char *place; /* of the conversations */
	struct json_object *conversations;
	import_read_fn read;
};

enum err
import_refuse(const struct carried *c, const char *at, const char *member,
    const char *sentence)
{
	const char *field = arena_printf(c->req->arena, "%s.%s", at, member);
	return request_refuse(c->req, field ? field : member, sentence);
}

enum err
import_text(const struct carried *c, const char *at, struct json_object *o,
    const char *member, size_t max, const char **out_text)
{
	struct json_object *value = NULL;
	if (!json_object_object_get_ex(o, member, &value) || !value) {
		*out_text = NULL;
		return OK;
	}
	if (!json_object_is_type(value, json_type_string))
		return import_refuse(c, at, member, "It must be a string.");
	const char *s = json_object_get_string(value);
	if (text_length(s, (size_t)json_object_get_string_len(value)) > max)
		return import_refuse(c, at, member, "It is too long.");
	*out_text = s;
	return OK;
}

const char *
import_place(
    const struct carried *c, const char *at, const char *array, size_t i)
{
	const char *place = arena_printf(
	    c->req->arena, "%s%s%s[%zu]", at, *at ? "." : "", array, i);
	return place ? place : array;
}

int
import_find(struct json_object *ids, const char *id)
{
	struct json_object *n = NULL;
	if (!id || !json_object_object_get_ex(ids, id, &n))
		return -1;
	return json_object_get_int(n);
}

static bool
is_ours(struct json_object *o)
{
	struct json_object *format = NULL;
	return json_object_object_get_ex(o, "format", &format) &&
	       json_object_is_type(format, json_type_string) &&
	       !strcmp(json_object_get_string(format), EXPORT_FORMAT);
}

static enum err
recognise(struct request *req, struct json_object *o, struct file *out)
{
	*out = (struct file){"chatgpt", "", o, import_read_chatgpt};
	if (json_object_is_type(o, json_type_object)) {
		if (!is_ours(o))
			return request_refuse(req, "format",
			    "The file is neither an export of Natter "
			    "(format: natter-export) nor ChatGPT's "
			    "conversations.json.");
		*out = (struct file){
		    "natter", "conversations", NULL, import_read_natter};
		(void)json_object_object_get_ex(
		    o, "conversations", &out->conversations);
	}
	if (!json_object_is_type(out->conversations, json_type_array))
		return request_refuse(
		    req, "conversations", "It must be an array.");
	if (json_object_array_length(out->conversations) >
	    IMPORT_CONVERSATIONS_MAX)
		return request_refuse(req, "conversations",
		    arena_printf(req->arena,
			"There may be at most %d; whoever runs the server can "
			"bring more.",
			IMPORT_CONVERSATIONS_MAX));
	return OK;
}

enum err
import_count(const struct carried *c, const char *member, size_t n_messages)
{
	if (n_messages <= IMPORT_MESSAGES_MAX && c->n_text <= IMPORT_TEXT_MAX)
		return OK;
	return import_refuse(c, c->at, member,
	    arena_printf(c->req->arena,
		"A conversation may have at most %d messages with %zu MiB of "
		"text; whoever runs the server can bring more.",
		IMPORT_MESSAGES_MAX, IMPORT_TEXT_MAX >> 20));
}

/* Stores one that was read; *out_is_new false: it was known. */
static enum err
store(struct carried *c, const char *source, bool *out_is_new)
{
	struct request *req = c->req;
	const char *old = !strcmp(source, "natter") && id_is_uuid(c->source_id)
			      ? c->source_id
			      : NULL;
	enum err e = ERR_CONFLICT;
	for (int i = 0; i < SHORT_ID_TRIES && e == ERR_CONFLICT; i++) {
		char short_id[ID_SHORT_TEXT];
		id_make_short(short_id);
		struct pg_call calls[] = {
		    {
			.query = chat_query(CHAT_IMPORT_CONVERSATION),
			.params = {req->who.user_id, c->id, short_id, source,
			    c->source_id, old, buf_text(&c->row)},
		    },
		    {
			.query = chat_query(CHAT_IMPORT_MESSAGES),
			.params = {req->who.user_id, c->id,
			    buf_text(&c->messages)},
		    },
		};
		e = chat_run(req, calls, 2);
		if (e == OK)
			*out_is_new = pg_rows(calls[0].result) > 0;
		pg_calls_clear(calls, 2);
	}
	return e;
}

static void
count(const struct carried *c, bool is_new, struct import_result *out)
{
	if (!is_new) {
		out->known++;
		return;
	}
	out->conversations++;
	out->messages += c->n_messages;
	out->left_out += c->left_out;
}

/* Reads, and where `out` is there stores, the conversation at `i`. */
static enum err
take(struct request *req, const struct file *f, size_t i,
    struct import_result *out)
{
	struct json_object *o = json_object_array_get_idx(f->conversations, i);
	struct carried c = {.req = req};
	bool is_new = false;
	enum err e = OK;
	c.at = import_place(&c, "", f->place, i);
	id_make(c.id);
	if (!json_object_is_type(o, json_type_object))
		e = request_refuse(req, c.at, "It must be an object.");
	if (e == OK)
		e = f->read(&c, o);
	if (e == OK && (c.row.failed || c.messages.failed))
		e = ERR_BUSY;
	if (e == OK && out)
		e = store(&c, f->source, &is_new);
	if (e == OK && out)
		count(&c, is_new, out);
	buf_free(&c.row);
	buf_free(&c.messages);
	return e;
}

enum err
import_conversations(
    struct request *req, struct json_object *file, struct import_result *out)
{
	struct import_result result = {0};
	struct file f;
	enum err e = recognise(req, file, &f);
	if (e != OK)
		return e;
	size_t n = json_object_array_length(f.conversations);
	for (size_t i = 0; e == OK && i < n; i++)
		e = take(req, &f, i, NULL);
	for (size_t i = 0; e == OK && i < n; i++)
		e = take(req, &f, i, &result);
	if (e == OK)
		*out = result;
	return e;
}
