/*
 * GET /conversations: the filters of a list, and the name that its cursors are
 * sealed with, which says all of them. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/text.h"
#include "chat/conversation.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"

#define LIMIT_DEFAULT 20
#define WORDS_MAX     200  /* characters of q */
#define FILTER_MAX    4096 /* bytes of metadata */

/* A list being read. `name` is everything but its page. */
struct asked {
	struct request *req;
	struct conversations_ask ask;
	struct buf name;
};

static void
name_filter(struct asked *a, const char *filter, const char *value)
{
	json_write_text(&a->name, filter, value);
}

/* One of false, true and all, as 0, 1 and 2. */
static enum err
read_kind(struct asked *a, const char *name, const char *def, int *out)
{
	static const char *const words[] = {"false", "true", "all"};
	const char *value;
	enum err e = request_query(a->req, name, &value);
	if (e != OK)
		return e;
	if (!value)
		value = def;
	for (int i = 0; i < 3; i++) {
		if (!strcmp(value, words[i])) {
			*out = i;
			name_filter(a, name, value);
			return OK;
		}
	}
	return request_refuse(a->req, name, "It takes false, true or all.");
}

static enum err
read_kinds(struct asked *a)
{
	static const enum conversation_active actives[] = {CONVERSATIONS_CLOSED,
	    CONVERSATIONS_OPEN, CONVERSATIONS_OPEN_OR_NOT};
	int archived = 0;
	int active = 1;
	enum err e = read_kind(a, "archived", "false", &archived);
	if (e == OK)
		e = read_kind(a, "active", "true", &active);
	a->ask.archived = (enum conversation_archived)archived;
	a->ask.active = actives[active];
	return e;
}

static enum err
read_store(struct asked *a)
{
	enum err e = request_query(a->req, "store_id", &a->ask.store_id);
	if (e == OK && a->ask.store_id && !id_is_uuid(a->ask.store_id))
		return request_refuse(a->req, "store_id", "It must be a UUID.");
	name_filter(a, "store_id", a->ask.store_id);
	return e;
}

/* Strings as a JSON array; NULL for none. */
static const char *
array_of(struct arena *arena, const char *const *strings)
{
	struct buf out = {0};
	const char *text = NULL;
	json_write_open(&out, NULL, '[');
	for (size_t i = 0; strings[i]; i++)
		json_write_text(&out, NULL, strings[i]);
	json_write_close(&out, ']');
	if (!out.failed)
		text = arena_strndup(arena, out.p, out.n);
	buf_free(&out);
	return text;
}

static enum err
read_tags(struct asked *a)
{
	const char *tags[CONVERSATION_TAGS_MAX + 1];
	enum err e =
	    request_query_each(a->req, "tag", CONVERSATION_TAGS_MAX, tags);
	if (e != OK || !tags[0])
		return e;
	for (size_t i = 0; tags[i]; i++) {
		size_t n = text_length(tags[i], strlen(tags[i]));
		if (n < 1 || n > CONVERSATION_TAG_MAX)
			return request_refuse(
			    a->req, "tag", "It must have 1 to 64 characters.");
	}
	a->ask.tags = array_of(a->req->arena, tags);
	name_filter(a, "tags", a->ask.tags);
	return a->ask.tags ? OK : ERR_TOO_LARGE;
}

/* The words of ?q=, at most CONVERSATION_WORDS_MAX. */
static enum err
read_words(struct asked *a)
{
	const char *words[CONVERSATION_WORDS_MAX + 1] = {NULL};
	const char *q;
	size_t n = 0;
	enum err e = request_query(a->req, "q", &q);
	if (e != OK || !q)
		return e;
	if (text_length(q, strlen(q)) > WORDS_MAX)
		return request_refuse(
		    a->req, "q", "It takes at most 200 characters.");
	for (q += strspn(q, " \t\r\n"); *q; q += strspn(q, " \t\r\n")) {
		size_t len = strcspn(q, " \t\r\n");
		if (n == CONVERSATION_WORDS_MAX)
			return request_refuse(
			    a->req, "q", "It takes at most 8 words.");
		words[n] = arena_strndup(a->req->arena, q, len);
		if (!words[n++])
			return ERR_TOO_LARGE;
		q += len;
	}
	if (n == 0)
		return request_refuse(a->req, "q", "It must hold a word.");
	a->ask.words = array_of(a->req->arena, words);
	name_filter(a, "words", a->ask.words);
	return a->ask.words ? OK : ERR_TOO_LARGE;
}

static enum err
read_metadata(struct asked *a)
{
	AUTO_JSON struct json_object *o = NULL;
	const char *text;
	enum err e = request_query(a->req, "metadata", &text);
	if (e != OK || !text)
		return e;
	if (strlen(text) > FILTER_MAX ||
	    json_parse_object(text, strlen(text), &o) != OK ||
	    json_object_object_length(o) == 0)
		return request_refuse(a->req, "metadata",
		    "It must be a JSON object with a member or more.");
	a->ask.metadata = text;
	name_filter(a, "metadata", text);
	return OK;
}

static enum err
read_times(struct asked *a)
{
	enum err e = request_query_time(a->req, "since", &a->ask.since);
	if (e == OK)
		e = request_query_time(a->req, "until", &a->ask.until);
	name_filter(a, "since", a->ask.since);
	name_filter(a, "until", a->ask.until);
	return e;
}

static enum err
read_order(struct asked *a)
{
	const char *order;
	enum err e = request_query(a->req, "order", &order);
	if (e != OK)
		return e;
	if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
		return request_refuse(a->req, "order", "It takes asc or desc.");
	a->ask.is_ascending = order && !strcmp(order, "asc");
	name_filter(a, "order", a->ask.is_ascending ? "asc" : "desc");
	return OK;
}

/* Reads everything; *out_list is what cursors are sealed with. */
static enum err
read_ask(struct asked *a, const char **out_list)
{
	static enum err (*const readers[])(struct asked *) = {read_kinds,
	    read_store, read_tags, read_words, read_metadata, read_times,
	    read_order};
	enum err e = OK;
	json_write_open(&a->name, NULL, '{');
	for (size_t i = 0; i < sizeof(readers) / sizeof(*readers); i++) {
		if (e == OK)
			e = readers[i](a);
	}
	if (e == OK)
		e = request_query_number(a->req, "limit", LIMIT_DEFAULT, 1,
		    CONVERSATION_LIMIT_MAX, &a->ask.limit);
	if (e == OK) {
		*out_list = arena_printf(
		    a->req->arena, "conversations %s", buf_text(&a->name));
		e = *out_list ? cursor_read(a->req, *out_list, a->ask.after)
			      : ERR_TOO_LARGE;
	}
	buf_free(&a->name);
	return e;
}

enum err
api_conversations_list(struct request *req, struct reply *rep)
{
	struct asked a = {.req = req};
	struct buf body = {0};
	const char *next[3] = {NULL}; /* ended with NULL */
	const char *list = NULL;
	enum err e = read_ask(&a, &list);
	page_open(&body);
	if (e == OK)
		e = conversations_list(req, &a.ask, &body, next);
	if (e == OK)
		e = page_close(req, &body, list, next);
	return page_reply(req, rep, e, 200, &body);
}
