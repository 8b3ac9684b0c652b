/*
 * A model's answer from its bytes: decides whether they are an event stream or
 * one plain JSON object, feeds the one or collects the other, and hands on
 * clean text. What the objects say is openai.c's knowledge, how events are
 * framed sse_parse.c's. This file owns the text's way from a JSON string to
 * the caller, over the seams between two deltas.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "model/json_scan.h"
#include "model/openai.h"

/* Decoded text on its way to on_text. */
struct piece {
	struct model_parser *p;
	size_t n;
	char bytes[1024];
};

static void
hand_on(struct model_parser *p, const char *text, size_t n)
{
	if (n == 0)
		return;
	p->has_text = p->has_begun = true;
	p->on_text(p->arg, text, n);
}

static void
hand_on_clean(struct model_parser *p, const char *bytes, size_t n)
{
	struct buf clean = {0};

	if (text_is_clean(bytes, n)) {
		hand_on(p, bytes, n);
		return;
	}
	text_append_clean(&clean, bytes, n);
	hand_on(p, clean.p, clean.n);
	p->has_failed |= clean.failed;
	buf_free(&clean);
}

/* Hands on all but an incomplete sequence at the end, which stays. */
static void
piece_flush(struct piece *t)
{
	size_t tail = text_incomplete_tail(t->bytes, t->n);

	hand_on_clean(t->p, t->bytes, t->n - tail);
	memmove(t->bytes, t->bytes + t->n - tail, tail);
	t->n = tail;
}

static void
piece_add(struct piece *t, const char *bytes, size_t n)
{
	size_t room;

	while (n > 0) {
		room = sizeof(t->bytes) - t->n;
		room = n < room ? n : room;
		memcpy(t->bytes + t->n, bytes, room);
		t->n += room;
		bytes += room;
		n -= room;
		if (t->n == sizeof(t->bytes))
			piece_flush(t);
	}
}

static void
piece_add_string(struct piece *t, struct json_span s)
{
	const char *p = s.p, *end = s.p + s.n, *stop;
	char decoded[JSON_UNESCAPE_MAX];
	uint16_t *high = &t->p->high;

	while (p < end) {
		if (*p == '\\') {
			piece_add(t, decoded, json_unescape(&p, high, decoded));
			continue;
		}
		piece_add(t, decoded, json_unescape_flush(high, decoded));
		stop = memchr(p, '\\', (size_t)(end - p));
		stop = stop != NULL ? stop : end;
		piece_add(t, p, (size_t)(stop - p));
		p = stop;
	}
}

/*
 * Hands on the inside of one JSON string. Nearly always it is clean as it
 * stands; otherwise it is decoded behind what the last one left unfinished.
 */
static void
take_string(struct model_parser *p, struct json_span s)
{
	struct piece t;

	if (p->n_carry == 0 && p->high == 0 && memchr(s.p, '\\', s.n) == NULL &&
	    text_is_clean(s.p, s.n)) {
		hand_on(p, s.p, s.n);
		return;
	}
	t.p = p;
	t.n = p->n_carry;
	memcpy(t.bytes, p->carry, p->n_carry);
	piece_add_string(&t, s);
	piece_flush(&t);
	memcpy(p->carry, t.bytes, t.n);
	p->n_carry = t.n;
}

/* One part of a content array; only those of text count. */
static void
take_part(struct model_parser *p, struct json_scan *s)
{
	struct json_span name, value, type = {NULL, 0}, text = {NULL, 0};

	if (!json_scan_enter_or_skip(s, '{'))
		return;
	while (json_scan_member(s, &name)) {
		value = json_scan_string(s);
		if (json_span_is(name, "type"))
			type = value;
		else if (json_span_is(name, "text"))
			text = value;
	}
	if (json_span_is(type, "text") && text.p != NULL)
		take_string(p, text);
}

/* The content was scanned as part of its object: it cannot be faulty. */
static void
take_content(struct model_parser *p, struct json_span content)
{
	struct json_scan s;

	json_scan_init(&s, content.p, content.n);
	if (json_scan_peek(&s) == '"') {
		take_string(p, json_scan_string(&s));
		return;
	}
	json_scan_enter(&s, '[');
	while (json_scan_element(&s))
		take_part(p, &s);
}

static void
take_usage(int64_t *known, int64_t said)
{
	if (said >= 0)
		*known = said;
}

static void
take_failure(struct model_parser *p, const char *json, size_t n)
{
	p->has_failed = true;
	p->refusal = openai_refusal_of(json, n);
	openai_error_message(json, n, p->error, sizeof(p->error));
}

static void
take_model(struct model_parser *p, struct json_span model)
{
	char bytes[sizeof(p->model)];
	struct buf clean = {0};
	size_t n;

	n = json_span_decode(model, bytes, sizeof(bytes));
	text_append_clean(&clean, bytes, n);
	if (clean.n > 0) {
		n = text_prefix(clean.p, clean.n, sizeof(p->model) - 1);
		memcpy(p->model, clean.p, n);
		p->model[n] = '\0';
	}
	buf_free(&clean);
}

static void
take_object(
    struct model_parser *p, const char *json, size_t n, enum openai_shape shape)
{
	struct model_object o;
	struct openai_chunk c;

	if (!openai_read(json, n, shape, &c)) {
		p->bad_lines++;
		return;
	}
	p->has_chunk |= c.has_choices;
	p->has_begun |= c.has_work;
	if (p->model[0] == '\0' && c.model.p != NULL)
		take_model(p, c.model);
	if (c.content.p != NULL)
		take_content(p, c.content);
	if (c.calls.p != NULL && shape == OPENAI_DELTA)
		model_calls_take(&p->calls, c.calls);
	else if (c.calls.p != NULL)
		model_calls_take_whole(&p->calls, c.calls);
	if (c.finish != MODEL_FINISH_NONE)
		p->finish = c.finish;
	take_usage(&p->usage.prompt_tokens, c.usage.prompt_tokens);
	take_usage(&p->usage.completion_tokens, c.usage.completion_tokens);
	take_usage(&p->usage.cached_tokens, c.usage.cached_tokens);
	if (c.has_failed) {
		take_failure(p, json, n);
	} else if (p->on_object != NULL) {
		o = (struct model_object){
		    json, n, shape == OPENAI_MESSAGE, c.n_work};
		p->on_object(p->arg, &o);
	}
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* After [DONE] or an error nothing counts any more. */
static void
on_event(void *arg, const char *event, const char *data, size_t n)
{
	struct model_parser *p = arg;

	while (n > 0 && is_space(data[n - 1]))
		n--;
	while (n > 0 && is_space(*data)) {
		data++;
		n--;
	}
	if (n == 0 || p->has_done || p->has_failed)
		return;
	if (n == strlen("[DONE]") && memcmp(data, "[DONE]", n) == 0)
		p->has_done = true;
	else if (strcmp(event, "error") == 0)
		take_failure(p, data, n);
	else
		take_object(p, data, n, OPENAI_DELTA);
}

static void
end_plain(struct model_parser *p)
{
	if (p->plain.failed) {
		p->bad_lines++;
		return;
	}
	take_object(p, p->plain.p, p->plain.n, OPENAI_MESSAGE);
	p->has_done = p->bad_lines == 0;
	buf_free(&p->plain);
}

/*
 * Ends the events. A last one without its blank line counts, unless it was cut
 * short: that is the cut's fault, not the server's.
 */
static void
end_stream(struct model_parser *p)
{
	unsigned long bad_lines = p->bad_lines;

	sse_parser_end(&p->sse);
	p->bad_lines = bad_lines + p->sse.skipped;
}

/* Hands on what still waited for its second half. */
static void
end_text(struct model_parser *p)
{
	struct piece t = {.p = p, .n = p->n_carry};

	memcpy(t.bytes, p->carry, p->n_carry);
	t.n += json_unescape_flush(&p->high, t.bytes + t.n);
	hand_on_clean(p, t.bytes, t.n);
	p->n_carry = 0;
}

static void
end_calls(struct model_parser *p)
{
	model_calls_end(&p->calls);
	p->has_failed |= p->calls.has_failed;
}

/* Text with a piece missing is a text; a call with a piece missing may be
 * another one. */
static bool
is_believable(const struct model_parser *p)
{
	return p->bad_lines == 0 || (p->has_text && p->calls.n == 0);
}

static void
explain(struct model_parser *p)
{
	if (p->error[0] != '\0')
		return;
	if (p->bad_lines > 0)
		(void)snprintf(p->error, sizeof(p->error),
		    "the answer holds %lu things not understood or too long",
		    p->bad_lines);
	else
		(void)snprintf(p->error, sizeof(p->error),
		    "the answer holds no reply (Content-Type: %s)",
		    p->type[0] != '\0' ? p->type : "none");
}

void
model_parser_init(struct model_parser *p,
    void (*on_text)(void *, const char *, size_t), void *arg, size_t max_bytes)
{
	*p = (struct model_parser){
	    .on_text = on_text,
	    .arg = arg,
	    .usage = {-1, -1, -1},
	    .plain = {.cap = max_bytes},
	};
	sse_parser_init(&p->sse, on_event, p, max_bytes, max_bytes);
}

void
model_parser_content_type(struct model_parser *p, const char *type)
{
	size_t n = type != NULL ? strcspn(type, "\r\n") : 0;

	if (n >= sizeof(p->type))
		n = sizeof(p->type) - 1;
	for (size_t i = 0; i < n; i++)
		p->type[i] =
		    (char)(type[i] >= ' ' && type[i] <= '~' ? type[i] : '?');
	p->type[n] = '\0';
}

/*
 * White space before the answer goes to the event parser, for which it may be
 * the beginning of a line; to JSON it means nothing.
 */
void
model_parser_feed(struct model_parser *p, const char *bytes, size_t n)
{
	size_t space = 0;

	while (p->plain.n == 0 && space < n && is_space(bytes[space]))
		space++;
	if (p->body == MODEL_BODY_UNKNOWN && space < n)
		p->body =
		    bytes[space] == '{' ? MODEL_BODY_JSON : MODEL_BODY_SSE;
	if (p->body == MODEL_BODY_JSON) {
		p->has_begun = true;
		buf_add(&p->plain, bytes + space, n - space);
	} else {
		sse_parser_feed(&p->sse, bytes, n);
	}
}

enum err
model_parser_end(struct model_parser *p)
{
	if (p->body == MODEL_BODY_JSON)
		end_plain(p);
	else
		end_stream(p);
	end_text(p);
	end_calls(p);
	if (!p->has_failed && is_believable(p)) {
		if (p->finish != MODEL_FINISH_NONE)
			return OK;
		if ((p->has_text || p->calls.n > 0) && p->has_done)
			return OK;
		if (p->has_chunk && !p->has_done)
			return ERR_MODEL_CUT;
	}
	explain(p);
	return ERR_MODEL_FAILED;
}

void
model_parser_free(struct model_parser *p)
{
	sse_parser_free(&p->sse);
	buf_free(&p->plain);
	model_calls_free(&p->calls);
}
