/*
 * OpenAI's dialect: the request's body, the objects of the answer and the
 * shapes that errors come in. Only what the JSON says; which bytes make an
 * object is model_parser.c's business, and the transfer is the relay's.
 */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "model/openai.h"

/* Counts above this are taken for noise. */
#define TOKENS_MAX 1000000000

/* The highest index of a choice that is believed. */
#define CHOICES_MAX 1000

/* Most of an error's message that is looked at, in bytes. */
#define MESSAGE_MAX 2048

static const char no_message[] = "an error without a message";

/* Why a choice ended, in the words of several servers. */
static const struct {
	const char *word;
	enum model_finish finish;
} finishes[] = {
    {"", MODEL_FINISH_NONE},
    {"stop", MODEL_FINISH_STOP},
    {"length", MODEL_FINISH_LENGTH},
    {"max_tokens", MODEL_FINISH_LENGTH},
    {"model_length", MODEL_FINISH_LENGTH},
    {"content_filter", MODEL_FINISH_CONTENT_FILTER},
    {"tool_calls", MODEL_FINISH_TOOL_CALLS},
    {"function_call", MODEL_FINISH_TOOL_CALLS},
};

/* An unknown word still says that the model came to an end by itself. */
static enum model_finish
finish_of(struct json_span word)
{
	for (size_t i = 0; i < sizeof(finishes) / sizeof(finishes[0]); i++) {
		if (json_span_is(word, finishes[i].word))
			return finishes[i].finish;
	}
	return MODEL_FINISH_STOP;
}

static void
skip_value(struct json_scan *s)
{
	struct json_span ignored;

	(void)json_scan_value(s, &ignored);
}

/* Where models put what they think: no text of the reply, but the model is at
 * work. */
static bool
is_work(struct json_span name)
{
	static const char *const names[] = {
	    "reasoning_content", "reasoning", "reasoning_details"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (json_span_is(name, names[i]))
			return true;
	}
	return false;
}

/* Bytes of all strings in a value that was scanned, but for members' names. */
static size_t
count_strings(struct json_span value)
{
	struct json_strings s = {.p = value.p, .end = value.p + value.n};
	size_t sum = 0;

	while (json_strings_next(&s))
		sum += s.is_name ? 0 : s.inside.n;
	return sum;
}

/* "", [] and null are nothing. */
static void
read_work(struct json_scan *s, struct openai_chunk *c)
{
	struct json_span value;
	char kind = json_scan_peek(s);

	if (!json_scan_value(s, &value) || (kind != '"' && kind != '[') ||
	    value.n <= 2)
		return;
	c->has_work = true;
	c->n_work += count_strings(value);
}

/* What a delta or message holds for us. */
struct inside {
	struct json_span content;
	struct json_span calls;
};

/* delta or message: its content and calls matter, and whether there is other
 * work. */
static void
read_message(struct json_scan *s, struct inside *in, struct openai_chunk *c)
{
	struct json_span name, value;
	char kind;

	if (!json_scan_enter(s, '{')) {
		skip_value(s);
		return;
	}
	while (json_scan_member(s, &name)) {
		kind = json_scan_peek(s);
		if (json_span_is(name, "content") &&
		    (kind == '"' || kind == '['))
			(void)json_scan_value(s, &in->content);
		else if (json_span_is(name, "tool_calls")) {
			if (json_scan_value(s, &value) && kind == '[' &&
			    value.n > 2) {
				in->calls = value;
				c->has_work = true;
				c->n_work += count_strings(value);
			}
		} else if (is_work(name))
			read_work(s, c);
		else
			skip_value(s);
	}
}

/* A choice without an index is the one that its place says. */
static void
read_choice(struct json_scan *s, const char *holder, int64_t index,
    struct openai_chunk *c)
{
	struct json_span name, word = {NULL, 0};
	struct inside in = {{NULL, 0}, {NULL, 0}};
	int64_t given;

	if (!json_scan_enter(s, '{')) {
		skip_value(s);
		return;
	}
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "index")) {
			given = json_scan_count(s, CHOICES_MAX);
			index = given >= 0 ? given : index;
		} else if (json_span_is(name, "finish_reason"))
			word = json_scan_string(s);
		else if (json_span_is(name, holder))
			read_message(s, &in, c);
		else
			skip_value(s);
	}
	if (index != 0)
		return;
	if (in.content.p != NULL)
		c->content = in.content;
	if (in.calls.p != NULL)
		c->calls = in.calls;
	if (json_span_is(word, "error"))
		c->has_failed = true;
	else if (word.p != NULL)
		c->finish = finish_of(word);
}

static void
read_choices(struct json_scan *s, const char *holder, struct openai_chunk *c)
{
	if (!json_scan_enter(s, '[')) {
		skip_value(s);
		return;
	}
	c->has_choices = true;
	for (int64_t i = 0; json_scan_element(s); i++)
		read_choice(s, holder, i, c);
}

static void
read_details(struct json_scan *s, struct model_usage *usage)
{
	struct json_span name;

	if (!json_scan_enter(s, '{')) {
		skip_value(s);
		return;
	}
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "cached_tokens"))
			usage->cached_tokens = json_scan_count(s, TOKENS_MAX);
		else
			skip_value(s);
	}
}

static void
read_usage(struct json_scan *s, struct model_usage *usage)
{
	struct json_span name;

	if (!json_scan_enter(s, '{')) {
		skip_value(s);
		return;
	}
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "prompt_tokens"))
			usage->prompt_tokens = json_scan_count(s, TOKENS_MAX);
		else if (json_span_is(name, "completion_tokens"))
			usage->completion_tokens =
			    json_scan_count(s, TOKENS_MAX);
		else if (json_span_is(name, "prompt_tokens_details"))
			read_details(s, usage);
		else
			skip_value(s);
	}
}

/* null and "" are no error. */
static bool
read_error(struct json_scan *s)
{
	struct json_span value;

	return json_scan_value(s, &value) &&
	       (*value.p == '{' || (*value.p == '"' && value.n > 2));
}

bool
openai_read(const char *p, size_t n, enum openai_shape shape,
    struct openai_chunk *out_chunk)
{
	const char *holder = shape == OPENAI_DELTA ? "delta" : "message";
	struct openai_chunk c = {.usage = {-1, -1, -1}};
	struct json_span name;
	struct json_scan s;
	bool has_usage = false;

	json_scan_init(&s, p, n);
	if (!json_scan_enter(&s, '{'))
		return false;
	while (json_scan_member(&s, &name)) {
		if (json_span_is(name, "choices")) {
			read_choices(&s, holder, &c);
		} else if (json_span_is(name, "model")) {
			c.model = json_scan_string(&s);
		} else if (json_span_is(name, "usage")) {
			has_usage = json_scan_peek(&s) == '{';
			read_usage(&s, &c.usage);
		} else if (json_span_is(name, "error")) {
			c.has_failed |= read_error(&s);
		} else if (json_span_is(name, "object")) {
			c.has_failed |=
			    json_span_is(json_scan_string(&s), "error");
		} else {
			skip_value(&s);
		}
	}
	if (!json_scan_end(&s) || !(c.has_choices || has_usage || c.has_failed))
		return false;
	*out_chunk = c;
	return true;
}

const char *
model_finish_name(enum model_finish f)
{
	static const char *const names[] = {
	    [MODEL_FINISH_NONE] = "",
	    [MODEL_FINISH_STOP] = "stop",
	    [MODEL_FINISH_LENGTH] = "length",
	    [MODEL_FINISH_CONTENT_FILTER] = "content_filter",
	    [MODEL_FINISH_TOOL_CALLS] = "tool_calls",
	};

	return names[f];
}

bool
model_status_is_transient(long status)
{
	return status == 408 || status == 409 || status == 429 ||
	       (status >= 500 && status <= 599);
}

/* Appends a JSON string; what needs no escape is copied in runs. */
static void
put_string(struct buf *out, const char *text)
{
	const char *run = text;

	buf_putc(out, '"');
	for (; *text != '\0'; text++) {
		if (*text != '"' && *text != '\\' &&
		    (unsigned char)*text >= 0x20)
			continue;
		buf_add(out, run, (size_t)(text - run));
		run = text + 1;
		if (*text == '\n')
			buf_puts(out, "\\n");
		else if (*text == '"' || *text == '\\')
			buf_printf(out, "\\%c", *text);
		else
			buf_printf(out, "\\u%04x", (unsigned)*text);
	}
	buf_add(out, run, (size_t)(text - run));
	buf_putc(out, '"');
}

static void
put_masked(struct buf *out, const char *text, struct mask *mask)
{
	struct buf masked = {0};

	mask_add(mask, text, strlen(text), &masked);
	out->failed |= masked.failed;
	if (!masked.failed)
		put_string(out, buf_text(&masked));
	buf_free(&masked);
}

void
openai_masked_message(
    struct buf *out, const struct model_message *m, struct mask *mask)
{
	if (m->raw != NULL) {
		buf_puts(out, m->raw);
		return;
	}
	buf_puts(out, "{\"role\":");
	put_string(out, m->role);
	buf_puts(out, ",\"content\":");
	if (mask != NULL)
		put_masked(out, m->content, mask);
	else
		put_string(out, m->content);
	buf_putc(out, '}');
}

void
openai_message(struct buf *out, const struct model_message *m)
{
	openai_masked_message(out, m, NULL);
}

/* The body begins with this; the model's name is next. */
static const char body_head[] = "{\"model\":";

void
openai_request_body(struct buf *out, const struct model_request *req)
{
	buf_puts(out, body_head);
	put_string(out, req->model);
	buf_puts(out, ",\"messages\":[");
	for (size_t i = 0; i < req->n_messages; i++) {
		if (i > 0)
			buf_putc(out, ',');
		if (req->out_at != NULL && i == req->marked)
			*req->out_at = out->n;
		openai_masked_message(out, &req->messages[i], req->mask);
	}
	buf_puts(out,
	    "],\"stream\":true,\"stream_options\":{\"include_usage\":true}");
	if (req->max_tokens > 0)
		buf_printf(out, ",\"%s\":%" PRId64,
		    req->tokens_field != NULL ? req->tokens_field
					      : "max_tokens",
		    req->max_tokens);
	if (req->user != NULL) {
		buf_puts(out, ",\"user\":");
		put_string(out, req->user);
	}
	openai_request_end(out, req->tools);
}

void
openai_request_end(struct buf *out, const char *tools)
{
	if (tools != NULL) {
		buf_puts(out, ",\"tools\":");
		buf_puts(out, tools);
	}
	buf_putc(out, '}');
}

/* A member of the body, as it was or as this round has it. */
static void
put_member(struct buf *out, struct json_span name, struct json_span value,
    const struct openai_round *round)
{
	bool is_bound = json_span_is(name, "max_tokens") ||
			json_span_is(name, "max_completion_tokens");

	buf_putc(out, '"');
	buf_add(out, name.p, name.n);
	buf_puts(out, "\":");
	if (json_span_is(name, "messages") && value.n > 1) {
		buf_add(out, value.p, value.n - 1);
		if (value.n > 2 && round->messages_len > 0)
			buf_putc(out, ',');
		buf_add(out, round->messages, round->messages_len);
		buf_putc(out, ']');
	} else if (is_bound && round->max_tokens > 0) {
		buf_printf(out, "%" PRId64, round->max_tokens);
	} else {
		buf_add(out, value.p, value.n);
	}
}

/* Whoever has called tools keeps their list: servers refuse messages about
 * tools that they were not told of. */
bool
openai_next_body(
    struct buf *out, const struct buf *body, const struct openai_round *round)
{
	struct json_span name, value;
	struct json_scan s;
	bool is_first = true;

	json_scan_init(&s, body->p, body->n);
	if (!json_scan_enter(&s, '{'))
		return false;
	buf_putc(out, '{');
	while (json_scan_member(&s, &name) && json_scan_value(&s, &value)) {
		if (json_span_is(name, "tool_choice"))
			continue;
		if (!is_first)
			buf_putc(out, ',');
		put_member(out, name, value, round);
		is_first = false;
	}
	if (round->is_last)
		buf_puts(out, ",\"tool_choice\":\"none\"");
	buf_putc(out, '}');
	return json_scan_end(&s) && !out->failed;
}

bool
openai_rename(struct buf *body, const char *model)
{
	size_t at = strlen(body_head), old;
	struct buf name = {0};
	struct json_span span;
	struct json_scan s;

	json_scan_init(&s, body->p + at, body->n - at);
	if (!json_scan_value(&s, &span))
		return false;
	old = span.n;
	put_string(&name, model);
	if (name.failed || (name.n > old && !buf_reserve(body, name.n - old))) {
		body->failed = false;
		buf_free(&name);
		return false;
	}
	memmove(body->p + at + name.n, body->p + at + old, body->n - at - old);
	memcpy(body->p + at, name.p, name.n);
	body->n = body->n - old + name.n;
	buf_free(&name);
	return true;
}

/* Steps into an object, through any arrays around it. */
static bool
step_into(struct json_scan *s)
{
	while (json_scan_enter(s, '['))
		(void)json_scan_element(s);
	return json_scan_enter(s, '{');
}

/*
 * The message of an error in one of the shapes seen: {"error":{"message":…}},
 * {"error":"…"}, {"message":…}, {"detail":"…"}, {"detail":[{"msg":…}]}, any of
 * them in an array. The first is taken, also from a body that is cut off; a
 * NULL span when there is none.
 */
static struct json_span
find_message(const char *body, size_t n)
{
	struct json_span name, found = {NULL, 0};
	struct json_scan s;

	json_scan_init(&s, body, n);
	if (!step_into(&s))
		return found;
	while (found.p == NULL && json_scan_member(&s, &name)) {
		if (json_span_is(name, "message") || json_span_is(name, "msg"))
			found = json_scan_string(&s);
		else if (!json_span_is(name, "error") &&
			 !json_span_is(name, "detail"))
			skip_value(&s);
		else if (!step_into(&s))
			found = json_scan_string(&s);
	}
	return found;
}

/* In the words of OpenAI and its like, Azure, Anthropic, vLLM, OpenRouter. */
enum openai_refusal
openai_refusal_of(const char *body, size_t n)
{
	static const struct {
		const char *word;
		enum openai_refusal says;
	} rows[] = {
	    {"content_policy", OPENAI_POLICY},
	    {"content_filter", OPENAI_POLICY},
	    {"content management policy", OPENAI_POLICY},
	    {"moderation", OPENAI_POLICY},
	    {"context_length_exceeded", OPENAI_TOO_LONG},
	    {"context length", OPENAI_TOO_LONG},
	    {"context window", OPENAI_TOO_LONG},
	    {"prompt is too long", OPENAI_TOO_LONG},
	};

	for (size_t i = 0; n > 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (memmem(body, n, rows[i].word, strlen(rows[i].word)) != NULL)
			return rows[i].says;
	}
	return OPENAI_PLAIN;
}

static bool
is_key_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
}

/*
 * Some servers repeat the key that they refuse, and the message goes to the
 * log: whatever follows "sk-" or "Bearer " is masked.
 */
static void
mask_keys(char *text)
{
	static const char *const marks[] = {"sk-", "Bearer ", "bearer "};
	bool begins;
	char *at;

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		for (at = text; (at = strstr(at, marks[i])) != NULL;) {
			begins = at == text || !is_key_char(at[-1]);
			at += strlen(marks[i]);
			while (begins && is_key_char(*at))
				*at++ = '*';
		}
	}
}

/* One line of clean text, cut to the room that there is. */
static void
put_line(const char *p, size_t n, char *out, size_t size)
{
	struct buf clean = {0};

	text_append_clean(&clean, p, n);
	n = clean.n > 0 ? text_prefix(clean.p, clean.n, size - 1) : 0;
	if (n > 0)
		memcpy(out, clean.p, n);
	out[n] = '\0';
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = ' ';
	}
	buf_free(&clean);
}

/*
 * JSON without a message is not repeated: it may quote what the user wrote,
 * and no message body goes to the log.
 */
void
openai_error_message(const char *body, size_t n, char *out, size_t size)
{
	char bytes[MESSAGE_MAX];
	struct json_span found = find_message(body, n);
	struct json_scan s;

	if (size == 0)
		return;
	json_scan_init(&s, body, n);
	if (found.p != NULL) {
		n = json_span_decode(found, bytes, sizeof(bytes));
		body = bytes;
	} else if (json_scan_peek(&s) == '{' || json_scan_peek(&s) == '[') {
		body = no_message;
		n = strlen(no_message);
	} else if (n > sizeof(bytes)) {
		n = sizeof(bytes);
	}
	put_line(body, n, out, size);
	mask_keys(out);
}
