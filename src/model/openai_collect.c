/*
 * Puts chunks together. The tree is json-c's; a text that grows is a node with
 * a buffer of its own, since json-c would copy all of it with every piece.
 */
#include <assert.h>
#include <json-c/json.h>
#include <json-c/printbuf.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "model/json_scan.h"
#include "model/model.h"
#include "model/openai_chunk.h"
#include "model/openai_collect.h"

/* As json_parse_any is asked, and so many merges may wait. */
#define DEPTH_MAX   32
#define WAITING_MAX 256

struct openai_collected {
	struct json_object *outer;   /* system_fingerprint and such */
	struct json_object *choice;  /* logprobs, finish_reason */
	struct json_object *message; /* role, tool_calls, reasoning_content */
};

/* A node whose members are to go into another. */
struct merge {
	struct json_object *into, *from;
};

struct merges {
	struct merge waiting[WAITING_MAX];
	size_t n;
};

static void
free_text(struct json_object *o, void *text)
{
	(void)o;
	buf_free(text);
	free(text);
}

/* json-c's own form of the text, which it escapes. */
static int
print_text(struct json_object *o, struct printbuf *out, int level, int flags)
{
	const struct buf *text = json_object_get_userdata(o);
	struct json_object *plain = json_object_new_string_len(
	    text->n > 0 ? text->p : "", (int)text->n);
	const char *json;

	(void)level;
	json = json_object_to_json_string_ext(plain, flags);
	printbuf_memappend(out, json, (int)strlen(json));
	json_object_put(plain);
	return 0;
}

static struct json_object *
make_text(const char *p, size_t n)
{
	struct json_object *o = json_object_new_string("");
	struct buf *text = calloc(1, sizeof(*text));

	assert(o != NULL && text != NULL);
	buf_add(text, p, n);
	json_object_set_serializer(o, print_text, text, free_text);
	return o;
}

bool
openai_is_said_again(const char *name, size_t n)
{
	static const char *const names[] = {
	    "index", "type", "id", "role", "name", "object", "finish_reason"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strlen(names[i]) == n && memcmp(name, names[i], n) == 0)
			return true;
	return false;
}

static void
put(struct json_object *into, const char *name, struct json_object *value)
{
	json_object_object_add(into, name, json_object_get(value));
}

static void
grow_text(struct json_object *into, const char *name, struct json_object *old,
    struct json_object *more)
{
	const char *p = json_object_get_string(more);
	size_t n = (size_t)json_object_get_string_len(more);
	struct buf *text = json_object_get_userdata(old);

	if (openai_is_said_again(name, strlen(name))) {
		if (n > 0)
			put(into, name, more);
		return;
	}
	if (text == NULL) {
		old = make_text(json_object_get_string(old),
		    (size_t)json_object_get_string_len(old));
		text = json_object_get_userdata(old);
		json_object_object_add(into, name, old);
	}
	buf_add(text, p, n);
}

static void
later(struct merges *m, struct json_object *into, struct json_object *from)
{
	if (m->n < WAITING_MAX)
		m->waiting[m->n++] = (struct merge){into, from};
}

/* The element that an element with an index goes on with, or NULL. */
static struct json_object *
find_like(struct json_object *array, struct json_object *element)
{
	int64_t index = json_member_number(element, "index");

	for (size_t i = 0; index >= 0 && i < json_object_array_length(array);
	     i++) {
		struct json_object *other = json_object_array_get_idx(array, i);

		if (json_member_number(other, "index") == index)
			return other;
	}
	return NULL;
}

static void
grow_array(
    struct merges *m, struct json_object *array, struct json_object *more)
{
	for (size_t i = 0; i < json_object_array_length(more); i++) {
		struct json_object *e = json_object_array_get_idx(more, i);
		struct json_object *like = find_like(array, e);

		if (like != NULL)
			later(m, like, e);
		else
			json_object_array_add(array, json_object_get(e));
	}
}

static void
merge_member(struct merges *m, struct json_object *into, const char *name,
    struct json_object *value)
{
	struct json_object *old = NULL;
	enum json_type type = json_object_get_type(value);

	(void)json_object_object_get_ex(into, name, &old);
	if (old == NULL)
		put(into, name, value);
	else if (value == NULL)
		return;
	else if (json_object_get_type(old) != type)
		put(into, name, value);
	else if (type == json_type_string)
		grow_text(into, name, old, value);
	else if (type == json_type_object)
		later(m, old, value);
	else if (type == json_type_array)
		grow_array(m, old, value);
	else
		put(into, name, value);
}

static void
merge(struct json_object *into, struct json_object *from)
{
	struct merges m = {.n = 0};

	later(&m, into, from);
	while (m.n > 0) {
		struct merge next = m.waiting[--m.n];

		json_object_object_foreach(next.from, name, value)
		{
			merge_member(&m, next.into, name, value);
		}
	}
}

/* Of a message, all but the text; calls get the index that chunks have. */
static void
take_message(struct openai_collected *c, struct json_object *message)
{
	struct json_object *calls;

	if (!json_object_is_type(message, json_type_object))
		return;
	json_object_object_del(message, "content");
	if (json_object_object_get_ex(message, "tool_calls", &calls) &&
	    json_object_is_type(calls, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(calls); i++) {
			struct json_object *call =
			    json_object_array_get_idx(calls, i);

			if (json_object_is_type(call, json_type_object) &&
			    !json_object_object_get_ex(call, "index", NULL))
				json_put_number(call, "index", (int64_t)i);
		}
	}
	merge(c->message, message);
}

static void
take_choice(
    struct openai_collected *c, struct json_object *choice, const char *holder)
{
	struct json_object *message = NULL;

	if (!json_object_is_type(choice, json_type_object) ||
	    json_member_number(choice, "index") > 0)
		return;
	(void)json_object_object_get_ex(choice, holder, &message);
	take_message(c, message);
	json_object_object_del(choice, holder);
	merge(c->choice, choice);
}

void
openai_collect(struct openai_collected *c, const struct model_object *object)
{
	AUTO_JSON struct json_object *o = NULL;
	struct json_object *choices = NULL;

	if (json_parse_any(object->json, object->n, DEPTH_MAX, &o) != OK ||
	    !json_object_is_type(o, json_type_object))
		return;
	if (json_object_object_get_ex(o, "choices", &choices) &&
	    json_object_is_type(choices, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(choices); i++)
			take_choice(c, json_object_array_get_idx(choices, i),
			    object->is_whole ? "message" : "delta");
	}
	json_object_object_foreach(o, name, value)
	{
		if (value != NULL && strcmp(name, "choices") != 0 &&
		    strcmp(name, "usage") != 0 && strcmp(name, "id") != 0 &&
		    strcmp(name, "object") != 0 &&
		    strcmp(name, "obfuscation") != 0)
			put(c->outer, name, value);
	}
}

struct openai_collected *
openai_collect_new(void)
{
	struct openai_collected *c = calloc(1, sizeof(*c));

	assert(c != NULL);
	c->outer = json_object_new_object();
	c->choice = json_object_new_object();
	c->message = json_object_new_object();
	return c;
}

void
openai_collect_free(struct openai_collected *c)
{
	if (c == NULL)
		return;
	json_object_put(c->outer);
	json_object_put(c->choice);
	json_object_put(c->message);
	free(c);
}

/* Adds the members of an object that `to` does not have; those in `not`
 * (NULL-ended) are left out. */
static void
add_members(
    struct json_object *to, struct json_object *from, const char *const * not )
{
	if (!json_object_is_type(from, json_type_object))
		return;
	json_object_object_foreach(from, name, value)
	{
		size_t i = 0;

		while (not [i] != NULL && strcmp(not [i], name) != 0)
			i++;
		if (not [i] == NULL &&
		    !json_object_object_get_ex(to, name, NULL))
			put(to, name, value);
	}
}

/* As an answer shows them: in their order, without an index; or NULL. */
static struct json_object *
make_calls(const struct openai_collected *c)
{
	static const char *const not [] = {"index", NULL};
	struct json_object *calls = NULL, *out;

	if (!json_object_object_get_ex(c->message, "tool_calls", &calls) ||
	    !json_object_is_type(calls, json_type_array) ||
	    json_object_array_length(calls) == 0)
		return NULL;
	out = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(calls); i++) {
		struct json_object *call = json_object_new_object();

		add_members(call, json_object_array_get_idx(calls, i), not );
		json_object_array_add(out, call);
	}
	return out;
}

void
openai_collected_calls(struct buf *out, const struct openai_collected *c)
{
	AUTO_JSON struct json_object *calls = make_calls(c);

	if (calls != NULL)
		json_append(out, calls);
}

void
openai_collected_words(struct buf *out, const struct openai_collected *c)
{
	struct json_strings s = {.is_name = false};
	size_t n;

	s.p = json_text(c->message, &n);
	s.end = s.p + n;
	while (json_strings_next(&s)) {
		if (s.is_name || openai_is_said_again(s.name.p, s.name.n) ||
		    !buf_reserve(out, s.inside.n + JSON_UNESCAPE_MAX + 2))
			continue;
		buf_puts(out, out->n > 0 ? "\n\n" : "");
		out->n += json_span_decode(
		    s.inside, out->p + out->n, out->room - out->n);
	}
}

/* Role and text come first, as OpenAI writes them. */
static struct json_object *
make_message(const struct openai_collected *c, const struct openai_ending *end)
{
	struct json_object *o = json_object_new_object();

	json_put_text(o, "role", "assistant");
	if (end->n == 0 && json_object_object_length(c->message) > 1)
		json_put_text(o, "content", NULL);
	else
		json_object_object_add(
		    o, "content", make_text(end->text, end->n));
	return o;
}

void
openai_collected_choice(struct buf *out, const struct openai_collected *c,
    const struct openai_ending *end)
{
	static const char *const none[] = {NULL};
	static const char *const not [] = {"finish_reason", NULL};
	AUTO_JSON struct json_object *o = json_object_new_object();
	struct json_object *delta = make_message(c, end);

	json_put_number(o, "index", 0);
	add_members(delta, c->message, none);
	json_object_object_add(o, "delta", delta);
	add_members(o, c->choice, not );
	json_put_text(o, "finish_reason", NULL);
	json_append(out, o);
}

static struct json_object *
make_choice(const struct openai_collected *c, const struct openai_ending *end)
{
	static const char *const not_of_message[] = {"tool_calls", NULL};
	static const char *const not [] = {"finish_reason", NULL};
	const char *finish = json_member_text(c->choice, "finish_reason");
	struct json_object *o = json_object_new_object();
	struct json_object *message = make_message(c, end);
	struct json_object *calls = make_calls(c);

	json_put_number(o, "index", 0);
	if (calls != NULL)
		json_object_object_add(message, "tool_calls", calls);
	add_members(message, c->message, not_of_message);
	json_object_object_add(o, "message", message);
	add_members(o, c->choice, not );
	json_put_text(o, "finish_reason",
	    finish != NULL && *finish != '\0' ? finish : end->finish);
	return o;
}

void
openai_collected_write(struct buf *out, const struct openai_collected *c,
    const struct openai_stamp *stamp, const struct openai_ending *end)
{
	static const char *const not [] = {NULL};
	const char *model = json_member_text(c->outer, "model");
	AUTO_JSON struct json_object *o = json_object_new_object();
	struct json_object *choices = json_object_new_array();

	json_put_text(o, "id", stamp->id);
	json_put_text(o, "object", "chat.completion");
	json_put_number(o, "created", stamp->created_s);
	json_put_text(
	    o, "model", model != NULL && *model != '\0' ? model : stamp->model);
	json_object_array_add(choices, make_choice(c, end));
	json_object_object_add(o, "choices", choices);
	json_put_raw(o, "usage", end->usage);
	add_members(o, c->outer, not );
	json_append(out, o);
}
