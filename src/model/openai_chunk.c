/*
 * Copies chunks, and writes those that no server sent. What a chunk means is
 * openai.c's knowledge; here are only its outer members.
 */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "base/text.h"
#include "model/json_scan.h"
#include "model/model.h"
#include "model/openai_chunk.h"

/* The outer members that matter. */
struct outer {
	bool has_object, has_created, has_model;
	bool has_choice;
	bool has_usage;
};

/*
 * Appends JSON that was scanned, as one line of clean text: a control character
 * is white space, or stands in a string where none may.
 */
static void
add_line(struct buf *out, struct json_span s)
{
	size_t at = out->n;

	if (text_is_clean(s.p, s.n))
		buf_add(out, s.p, s.n);
	else
		text_append_clean(out, s.p, s.n);
	for (; at < out->n; at++)
		if ((unsigned char)out->p[at] < 0x20)
			out->p[at] = ' ';
}

static void
add_member(struct buf *out, struct json_span name, struct json_span value)
{
	buf_puts(out, ",\"");
	add_line(out, name);
	buf_puts(out, "\":");
	add_line(out, value);
}

/* What may be another name once it is cleaned or unescaped could be one of
 * ours, said twice. */
static bool
is_plain(struct json_span name)
{
	return memchr(name.p, '\\', name.n) == NULL &&
	       text_is_clean(name.p, name.n);
}

static bool
is_empty_array(struct json_span value)
{
	struct json_scan s;

	json_scan_init(&s, value.p, value.n);
	return !json_scan_enter(&s, '[') || json_scan_peek(&s) == ']';
}

static void
take_usage(struct outer *o, struct json_span value, struct buf *usage)
{
	if (*value.p != '{')
		return;
	o->has_usage = true;
	buf_clear(usage);
	add_line(usage, value);
}

/* Copies all members but those that are ours, or might be. */
static void
copy_members(
    struct buf *out, struct json_scan *s, struct outer *o, struct buf *usage)
{
	struct json_span name, value;

	while (json_scan_member(s, &name) && json_scan_value(s, &value)) {
		if (json_span_is(name, "id") || !is_plain(name))
			continue;
		if (json_span_is(name, "usage")) {
			take_usage(o, value, usage);
			continue;
		}
		if (json_span_is(name, "choices"))
			o->has_choice = !is_empty_array(value);
		o->has_object |= json_span_is(name, "object");
		o->has_created |= json_span_is(name, "created");
		if (json_span_is(name, "model")) {
			if (*value.p != '"' || value.n <= 2)
				continue;
			o->has_model = true;
		}
		add_member(out, name, value);
	}
}

void
openai_usage_find(const char *json, size_t n, struct buf *usage)
{
	struct json_span name, value;
	struct outer ignored;
	struct json_scan s;

	json_scan_init(&s, json, n);
	if (!json_scan_enter(&s, '{'))
		return;
	while (json_scan_member(&s, &name) && json_scan_value(&s, &value))
		if (json_span_is(name, "usage"))
			take_usage(&ignored, value, usage);
}

static const char *
object_of(const struct openai_stamp *stamp)
{
	return stamp->is_whole ? "chat.completion" : "chat.completion.chunk";
}

void
openai_chunk_rewrite(struct buf *out, const struct openai_stamp *stamp,
    const char *json, size_t n, struct buf *usage)
{
	size_t at = out->n;
	struct outer o = {0};
	struct json_scan s;

	json_scan_init(&s, json, n);
	if (!json_scan_enter(&s, '{'))
		return;
	buf_putc(out, '{');
	json_write_text(out, "id", stamp->id);
	copy_members(out, &s, &o, usage);
	if (!o.has_object)
		json_write_text(out, "object", object_of(stamp));
	if (!o.has_created)
		json_write_number(out, "created", stamp->created_s);
	if (!o.has_model)
		json_write_text(out, "model", stamp->model);
	buf_putc(out, '}');
	if (o.has_usage && !o.has_choice && !out->failed)
		out->n = at;
}

void
openai_chunk_open(struct buf *out, const struct openai_stamp *stamp)
{
	buf_putc(out, '{');
	json_write_text(out, "id", stamp->id);
	json_write_text(out, "object", object_of(stamp));
	json_write_number(out, "created", stamp->created_s);
	json_write_text(out, "model", stamp->model);
}

void
openai_chunk_write(struct buf *out, const struct openai_stamp *stamp,
    const char *delta, const char *finish)
{
	openai_chunk_open(out, stamp);
	buf_printf(out, ",\"choices\":[{\"index\":0,\"delta\":%s", delta);
	json_write_text(out, "finish_reason", finish);
	buf_puts(out, "}]}");
}

void
openai_usage_write(struct buf *out, const struct model_usage *usage)
{
	buf_printf(out,
	    "{\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64
	    ",\"total_tokens\":%" PRId64 "}",
	    usage->prompt_tokens, usage->completion_tokens,
	    usage->prompt_tokens + usage->completion_tokens);
}
