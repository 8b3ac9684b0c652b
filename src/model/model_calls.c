/*
 * Pieces of tool calls to calls. Knows how servers number them; what a tool is
 * and whether there is one of that name is others' business.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/json_scan.h"
#include "model/model_calls.h"

/* The highest index that is believed. */
#define INDEX_MAX 1000

/* One element of a `tool_calls` array. */
struct piece {
	int64_t index; /* -1: none */
	struct json_span id;
	struct json_span name;
	struct json_span arguments; /* the value as written */
};

static void
read_function(struct json_scan *s, struct piece *p)
{
	struct json_span name;

	if (!json_scan_enter_or_skip(s, '{'))
		return;
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "name"))
			p->name = json_scan_string(s);
		else if (json_span_is(name, "arguments"))
			(void)json_scan_value(s, &p->arguments);
		else
			(void)json_scan_value(s, &name);
	}
}

static bool
read_piece(struct json_scan *s, struct piece *p)
{
	struct json_span name;

	*p = (struct piece){.index = -1};
	if (!json_scan_enter_or_skip(s, '{'))
		return false;
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "index"))
			p->index = json_scan_count(s, INDEX_MAX);
		else if (json_span_is(name, "id"))
			p->id = json_scan_string(s);
		else if (json_span_is(name, "function"))
			read_function(s, p);
		else
			(void)json_scan_value(s, &name);
	}
	return true;
}

/* A short string, decoded and clean; cut at whole characters. */
static void
decode(struct json_span span, char *out, size_t size)
{
	char bytes[4 * MODEL_CALL_ID_MAX];
	struct buf clean = {0};
	size_t n = json_span_decode(span, bytes, sizeof(bytes));

	text_append_clean(&clean, bytes, n);
	n = clean.n > 0 ? text_prefix(clean.p, clean.n, size - 1) : 0;
	if (n > 0)
		memcpy(out, clean.p, n);
	out[n] = '\0';
	buf_free(&clean);
}

static struct model_call *
last_of(struct model_calls *c)
{
	return c->n > 0 ? &c->list[c->n - 1] : NULL;
}

static struct model_call *
find_index(struct model_calls *c, int64_t index)
{
	for (size_t i = c->n; i > 0; i--) {
		if (c->list[i - 1].index == index)
			return &c->list[i - 1];
	}
	return NULL;
}

static struct model_call *
find_id(struct model_calls *c, const char *id)
{
	for (size_t i = c->n; i > 0; i--) {
		if (strcmp(c->list[i - 1].id, id) == 0)
			return &c->list[i - 1];
	}
	return NULL;
}

/*
 * The call that the piece goes on with; NULL: it begins one. An index decides,
 * unless another id and a name come under it: there are servers for which
 * every call has the index 0. Without an index an id decides; without both,
 * whether a name comes.
 */
static struct model_call *
find(struct model_calls *c, const struct piece *p, const char *id)
{
	struct model_call *call;

	if (p->index >= 0) {
		call = find_index(c, p->index);
		if (call != NULL && p->name.n > 0 && *id != '\0' &&
		    call->id[0] != '\0' && strcmp(call->id, id) != 0)
			return NULL;
		return call;
	}
	if (*id != '\0')
		return find_id(c, id);
	return p->name.n > 0 ? NULL : last_of(c);
}

/* NULL: there are enough, or there is no memory. */
static struct model_call *
begin(struct model_calls *c, int64_t index)
{
	struct model_call *call;

	if (c->list == NULL)
		c->list = calloc(MODEL_CALLS_MAX, sizeof(*c->list));
	if (c->list == NULL)
		c->has_failed = true;
	if (c->list == NULL || c->n == MODEL_CALLS_MAX)
		return NULL;
	call = &c->list[c->n++];
	call->index = index;
	call->arguments.cap = MODEL_ARGUMENTS_MAX;
	return call;
}

/* Appends the inside of a JSON string, decoded. */
static void
add_decoded(struct model_call *call, struct json_span s)
{
	const char *p = s.p, *end = s.p + s.n, *stop;
	char decoded[JSON_UNESCAPE_MAX];
	size_t n;

	while (p < end) {
		if (*p == '\\') {
			n = json_unescape(&p, &call->high, decoded);
			buf_add(&call->arguments, decoded, n);
			continue;
		}
		n = json_unescape_flush(&call->high, decoded);
		buf_add(&call->arguments, decoded, n);
		stop = memchr(p, '\\', (size_t)(end - p));
		stop = stop != NULL ? stop : end;
		buf_add(&call->arguments, p, (size_t)(stop - p));
		p = stop;
	}
}

/* A string is a piece of JSON; an object is all of it. null is nothing. */
static void
add_arguments(struct model_call *call, struct json_span value)
{
	struct json_scan s;

	if (value.p == NULL)
		return;
	json_scan_init(&s, value.p, value.n);
	if (json_scan_peek(&s) == '"')
		add_decoded(call, json_scan_string(&s));
	else if (json_scan_peek(&s) == '{')
		buf_add(&call->arguments, value.p, value.n);
	call->is_cut |= call->arguments.failed;
}

/* Names and ids come once; whoever repeats them says the same. */
static void
add_piece(struct model_call *call, const struct piece *p, const char *id)
{
	if (call->id[0] == '\0')
		memcpy(call->id, id, strlen(id) + 1);
	if (call->name[0] == '\0' && p->name.n > 0)
		decode(p->name, call->name, sizeof(call->name));
	add_arguments(call, p->arguments);
}

/* What goes on with a call that was dropped is dropped too. */
static bool
goes_on_dropping(const struct model_calls *c, const struct piece *p)
{
	return c->is_dropping && p->index < 0 && p->id.n == 0 && p->name.n == 0;
}

/* `to` NULL: it begins a call. */
static void
take_piece(struct model_calls *c, const struct piece *p, struct model_call *to,
    const char *id)
{
	if (to == NULL && c->n == MODEL_CALLS_MAX && p->name.n == 0)
		return; /* of one that was dropped */
	if (to == NULL)
		to = begin(c, p->index);
	c->is_dropping = to == NULL;
	c->dropped += to == NULL;
	if (to != NULL)
		add_piece(to, p, id);
}

static void
take(struct model_calls *c, struct json_span array, bool are_whole)
{
	char id[MODEL_CALL_ID_MAX + 1];
	struct json_scan s;
	struct piece p;

	json_scan_init(&s, array.p, array.n);
	if (!json_scan_enter(&s, '['))
		return;
	while (json_scan_element(&s)) {
		if (!read_piece(&s, &p))
			continue;
		decode(p.id, id, sizeof(id));
		if (are_whole)
			take_piece(c, &p, NULL, id);
		else if (!goes_on_dropping(c, &p))
			take_piece(c, &p, find(c, &p, id), id);
	}
}

void
model_calls_take(struct model_calls *c, struct json_span array)
{
	take(c, array, false);
}

void
model_calls_take_whole(struct model_calls *c, struct json_span array)
{
	take(c, array, true);
}

static void
clean(struct model_call *call)
{
	struct buf *b = &call->arguments;
	struct buf text = {0};
	char decoded[JSON_UNESCAPE_MAX];

	buf_add(b, decoded, json_unescape_flush(&call->high, decoded));
	b->failed = false;
	if (text_is_clean(b->p != NULL ? b->p : "", b->n))
		return;
	text_append_clean(&text, b->p, b->n);
	call->is_cut |= text.failed;
	buf_free(b);
	*b = text;
}

void
model_calls_end(struct model_calls *c)
{
	for (size_t i = 0; i < c->n; i++)
		clean(&c->list[i]);
}

void
model_calls_free(struct model_calls *c)
{
	for (size_t i = 0; i < c->n; i++)
		buf_free(&c->list[i].arguments);
	free(c->list);
	*c = (struct model_calls){0};
}
