/*
 * Reads a chat completion request: its messages, the directives that lead the
 * last user message, and from both the text of the reply.  No json-c object
 * leaves this file, and it knows nothing of sockets.
 */
#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "standin.h"
#include "standin_text.h"
#include "base/buf.h"

enum {
	JSON_DEPTH = 64,
	EVENT_BYTES = 8, /* per delta when only events= is given */
	TEXT_MAX = 64 * 1024 * 1024,
};

struct directive {
	const char *name;
	size_t offset; /* in struct script */
	bool is_number;
	int32_t preset;
	const char *value, *sentence; /* for --help */
};

static const struct directive directives[] = {
#define NUMBER(name, value, preset, sentence) \
	{#name, offsetof(struct script, name), true, preset, value, sentence},
#define STRING(name, value, sentence) \
	{#name, offsetof(struct script, name), false, 0, value, sentence},
#include "standin.def"
};

enum { DIRECTIVES = sizeof(directives) / sizeof(directives[0]) };

/* What is picked out of the messages array. */
struct messages {
	struct buf user;   /* content of the last user message */
	struct buf system; /* and of the system message */
	struct buf tool;   /* content of the last tool message after it */
	bool has_tool;
	int32_t rounds; /* messages after it that called tools */
	size_t bytes;   /* of all contents */
};

static void *
field_of(struct script *s, const struct directive *d)
{
	return (char *)s + d->offset;
}

static void
script_preset(struct script *s)
{
	*s = (struct script){0};
	for (size_t i = 0; i < DIRECTIVES; i++)
		if (directives[i].is_number)
			*(int32_t *)field_of(s, &directives[i]) =
			    directives[i].preset;
}

static const struct directive *
find_directive(const char *name, size_t len)
{
	for (size_t i = 0; i < DIRECTIVES; i++)
		if (strncmp(directives[i].name, name, len) == 0 &&
		    directives[i].name[len] == '\0')
			return &directives[i];
	return NULL;
}

/* Returns where the word ends, or NULL when the number is none. */
static const char *
read_number(const char *p, int32_t *out_value)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(p, &end, 10);
	if (!isdigit((unsigned char)*p) || errno != 0 || value > INT32_MAX)
		return NULL;
	if (*end != '\0' && *end != ' ' && *end != ',')
		return NULL;
	*out_value = (int32_t)value;
	return end;
}

static const char *
read_word(struct script *s, const char *p)
{
	size_t name_len = strcspn(p, "= ");
	const struct directive *d = find_directive(p, name_len);
	char **string;

	if (d == NULL || p[name_len] != '=')
		return NULL;
	p += name_len + 1;
	if (d->is_number)
		return read_number(p, field_of(s, d));
	string = field_of(s, d);
	free(*string);
	*string = strndup(p, strcspn(p, " "));
	return p + strcspn(p, " ");
}

static enum standin_err
script_parse(struct script *s, const char *label)
{
	const char *p = label + strspn(label, " ,");

	while (*p != '\0') {
		p = read_word(s, p);
		if (p == NULL)
			return STANDIN_BAD_SCRIPT;
		p += strspn(p, " ,");
	}
	return STANDIN_OK;
}

/* Content is a string, or an array of parts of which the text ones count. */
static void
content_text(struct json_object *content, struct buf *out)
{
	struct json_object *text;

	out->n = 0;
	if (json_object_is_type(content, json_type_string))
		buf_add(out, json_object_get_string(content),
		    (size_t)json_object_get_string_len(content));
	if (!json_object_is_type(content, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(content); i++)
		if (json_object_object_get_ex(
			json_object_array_get_idx(content, i), "text", &text))
			buf_add(out, json_object_get_string(text),
			    (size_t)json_object_get_string_len(text));
}

static void
read_message(struct json_object *message, struct messages *m)
{
	const char *role =
	    json_object_get_string(json_object_object_get(message, "role"));
	struct json_object *content =
	    json_object_object_get(message, "content");
	struct buf other = {0}, *into = &other;

	if (role != NULL && strcmp(role, "user") == 0) {
		into = &m->user;
		m->has_tool = false;
		m->rounds = 0;
	} else if (role != NULL && strcmp(role, "tool") == 0) {
		into = &m->tool;
		m->has_tool = true;
	} else if (role != NULL && strcmp(role, "system") == 0 &&
		   m->system.n == 0) {
		into = &m->system;
	} else if (json_object_object_get_ex(message, "tool_calls", NULL)) {
		m->rounds++;
	}
	content_text(content, into);
	m->bytes += into->n;
	buf_free(&other);
}

/* Takes one "[[label]] " off the text; false: there is none. */
static bool
take_label(const struct buf *user, size_t *at, char **out_label)
{
	const char *p = user->p + *at, *end = NULL;
	size_t n = user->n - *at;

	if (n >= 4 && memcmp(p, "[[", 2) == 0)
		end = memmem(p + 2, n - 2, "]]", 2);
	if (end == NULL)
		return false;
	*out_label = strndup(p + 2, (size_t)(end - p) - 2);
	*at += (size_t)(end - p) + 2;
	*at += *at < user->n && user->p[*at] == ' ';
	return true;
}

static void
script_free(struct script *s)
{
	for (size_t i = 0; i < DIRECTIVES; i++)
		if (!directives[i].is_number)
			free(*(char **)field_of(s, &directives[i]));
	script_preset(s);
}

/* Reads the directives that are for this model; *out_rest is where the words
 * begin. Without any the label is empty. */
static enum standin_err
choose_script(struct reply *r, const struct buf *user, const char *model,
    size_t *out_rest)
{
	bool is_chosen = false;
	enum standin_err err;
	char *label;

	*out_rest = 0;
	while (take_label(user, out_rest, &label)) {
		if (is_chosen) {
			free(label);
			continue;
		}
		r->label = label;
		err = script_parse(&r->script, label);
		if (err != STANDIN_OK)
			return err;
		is_chosen = r->script.only == NULL ||
			    (model != NULL && !strcmp(r->script.only, model));
		if (!is_chosen) {
			free(r->label);
			r->label = NULL;
			script_free(&r->script);
		}
	}
	if (!is_chosen)
		r->label = strdup("");
	return STANDIN_OK;
}

static enum standin_err
make_random(struct reply *r, int64_t len)
{
	if (len > TEXT_MAX)
		return STANDIN_BAD_SCRIPT;
	r->text_len = (size_t)len;
	r->text = malloc(r->text_len + 1);
	if (r->text == NULL)
		abort();
	standin_text((uint64_t)r->script.seed, r->text_len, r->text);
	return STANDIN_OK;
}

static enum standin_err
make_text(struct reply *r, const struct messages *m, size_t rest)
{
	const struct script *s = &r->script;
	struct buf text = {0};

	if (s->text >= 0)
		return make_random(r, s->text);
	if (s->events >= 0)
		return make_random(r,
		    (int64_t)s->events * (s->chunk ? s->chunk : EVENT_BYTES));
	if (m->has_tool && !r->is_tool_call) {
		buf_puts(&text, "Tool said: ");
		buf_add(&text, m->tool.p, m->tool.n);
	} else if (s->tool == NULL) {
		rest = rest < m->user.n ? rest : 0;
		buf_puts(&text, "You said: ");
		buf_add(&text, m->user.p + rest, m->user.n - rest);
	}
	r->text = text.p;
	r->text_len = text.n;
	return STANDIN_OK;
}

/* Arguments are cut at any byte, so they must not hold longer characters. */
static bool
is_ascii(const char *string)
{
	for (; string != NULL && *string != '\0'; string++)
		if ((unsigned char)*string >= 0x80)
			return false;
	return true;
}

static void
read_options(struct json_object *root, struct reply *r)
{
	struct json_object *value;

	if (!json_object_object_get_ex(root, "model", &value))
		value = NULL;
	r->model = strdup(
	    json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
	r->is_stream =
	    json_object_get_boolean(json_object_object_get(root, "stream"));
	if (json_object_object_get_ex(root, "stream_options", &value))
		r->wants_usage = json_object_get_boolean(
		    json_object_object_get(value, "include_usage"));
	if (r->script.nousage)
		r->wants_usage = false;
	if (r->script.plain)
		r->is_stream = false;
}

/* A system prompt has one where the question must stay what it is. */
static bool
has_script(const struct buf *text)
{
	return text->n >= 2 && memcmp(text->p, "[[", 2) == 0;
}

/* What is to go wrong after a round of tools goes well before. */
static void
drop_faults(struct script *s)
{
	s->cut = s->stall = s->badjson = s->midstream_error = -1;
	s->hang = s->drop = s->status = s->fail = s->garbage = 0;
	s->first = s->gap = s->gate = s->huge = s->nodone = 0;
}

static char *
make_big(int32_t bytes)
{
	static const char head[] = "{\"title\":\"", tail[] = "\"}";
	size_t n = (size_t)bytes, ends = strlen(head) + strlen(tail);
	struct buf out = {0};

	buf_puts(&out, head);
	for (size_t i = ends; i < n; i++)
		buf_putc(&out, 'x');
	buf_puts(&out, tail);
	return buf_take(&out);
}

/* The first UUID in what a tool said; "" without one. */
static void
first_id(const struct buf *tool, char out[37])
{
	const char *at;

	out[0] = '\0';
	at = tool->n > 0 ? memmem(tool->p, tool->n, "\"id\"", 4) : NULL;
	at = at != NULL
		 ? memchr(at + 4, '"', tool->n - (size_t)(at + 4 - tool->p))
		 : NULL;
	if (at != NULL && tool->n - (size_t)(at - tool->p) > 37)
		memcpy(out, at + 1, 36);
	out[36] = '\0';
}

static char *
with_id(const char *args, const struct buf *tool)
{
	const char *at = strstr(args, "$id");
	struct buf out = {0};
	char id[37];

	if (at == NULL)
		return strdup(args);
	first_id(tool, id);
	buf_add(&out, args, (size_t)(at - args));
	buf_puts(&out, id);
	buf_puts(&out, at + 3);
	return buf_take(&out);
}

static bool
may_call(struct json_object *root, const struct script *s)
{
	const char *choice =
	    json_object_get_string(json_object_object_get(root, "tool_choice"));

	return s->stubborn || choice == NULL || strcmp(choice, "none") != 0;
}

/* Which tool this round calls, if it calls one. */
static void
choose_call(struct json_object *root, const struct messages *m, struct reply *r)
{
	const struct script *s = &r->script;
	bool is_first = m->rounds == 0;
	const char *args = is_first || s->then == NULL ? s->args : s->thenargs;

	r->is_tool_call =
	    s->tool != NULL && m->rounds < s->rounds && may_call(root, s);
	r->tool = is_first || s->then == NULL ? s->tool : s->then;
	r->calls = s->calls;
	if (s->big > 0)
		r->args = make_big(s->big);
	else
		r->args = with_id(args != NULL ? args : "{}", &m->tool);
	r->args_len = r->is_tool_call ? strlen(r->args) : 0;
}

static enum standin_err
read_request(struct json_object *root, struct messages *m, struct reply *r)
{
	struct json_object *list;
	enum standin_err err;
	size_t rest;

	if (!json_object_object_get_ex(root, "messages", &list) ||
	    !json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) == 0)
		return STANDIN_BAD_JSON;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		read_message(json_object_array_get_idx(list, i), m);
	err = choose_script(r,
	    has_script(&m->user) || !has_script(&m->system) ? &m->user
							    : &m->system,
	    json_object_get_string(json_object_object_get(root, "model")),
	    &rest);
	if (err == STANDIN_OK && !is_ascii(r->script.args))
		err = STANDIN_BAD_SCRIPT;
	if (m->rounds < r->script.later)
		drop_faults(&r->script);
	choose_call(root, m, r);
	if (err == STANDIN_OK)
		err = make_text(r, m, rest);
	r->prompt_tokens = (uint32_t)((m->bytes + 3) / 4);
	r->completion_tokens =
	    (uint32_t)((r->text_len + r->args_len * (size_t)r->calls + 3) / 4);
	read_options(root, r);
	return err;
}

enum standin_err
reply_read(const char *body, size_t len, struct reply **out_reply)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *root = NULL;
	struct messages m = {0};
	struct reply *r = calloc(1, sizeof(*r));
	enum standin_err err = STANDIN_BAD_JSON;

	if (r == NULL || tokener == NULL)
		abort();
	buf_puts(&m.user, "");
	script_preset(&r->script);
	if (len <= INT_MAX)
		root = json_tokener_parse_ex(tokener, body, (int)len);
	if (json_object_is_type(root, json_type_object))
		err = read_request(root, &m, r);
	if (err == STANDIN_OK) {
		reply_plan(r);
		*out_reply = r;
	} else {
		reply_free(r);
	}
	json_object_put(root);
	json_tokener_free(tokener);
	buf_free(&m.user);
	buf_free(&m.tool);
	buf_free(&m.system);
	return err;
}

void
reply_free(struct reply *r)
{
	if (r == NULL)
		return;
	script_free(&r->script);
	free(r->label);
	free(r->key);
	free(r->model);
	free(r->text);
	free(r->args);
	free(r);
}

void
script_help(void)
{
	for (size_t i = 0; i < DIRECTIVES; i++) {
		int pad = 20 - (int)strlen(directives[i].name);

		printf("  %s=%-*s %s\n", directives[i].name, pad,
		    directives[i].value, directives[i].sentence);
	}
}
