/*
 * Turns one chat request into the bytes of its answer: SSE events one by one,
 * a plain JSON body, or an error.  Decides what comes next and when, but
 * knows nothing of connections, HTTP framing or clocks.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "standin.h"
#include "base/buf.h"
#include "json_escape.h"

enum {
	ARGS_BYTES = 8, /* of tool call arguments per delta without chunk= */
	GARBAGE_BYTES = 4096,
};

/* The JSON of the event being made; kept to spare an allocation per event. */
static struct buf json;

static bool
is_continuation(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* The UTF-8 boundary next to want: before it, else (nothing left) after it. */
static size_t
boundary(const struct reply *r, size_t from, size_t want)
{
	size_t at = want;

	while (at > from && at < r->text_len && is_continuation(r->text[at]))
		at--;
	if (at > from || want == from)
		return at;
	for (at = want; at < r->text_len && is_continuation(r->text[at]); at++)
		continue;
	return at;
}

/* Where content delta number index, which starts at from, ends. */
static size_t
piece_end(const struct reply *r, size_t from, int32_t index)
{
	const struct script *s = &r->script;
	size_t left = r->text_len - from;
	const char *space;

	if (s->events > 0)
		return boundary(r, from,
		    r->text_len * ((size_t)index + 1) / (size_t)s->events);
	if (s->chunk > 0)
		return boundary(r, from,
		    left < (size_t)s->chunk ? r->text_len
					    : from + (size_t)s->chunk);
	space = memchr(r->text + from, ' ', left);
	return space == NULL ? r->text_len : (size_t)(space - r->text) + 1;
}

static size_t
args_step(const struct reply *r)
{
	return r->script.chunk > 0 ? (size_t)r->script.chunk : ARGS_BYTES;
}

/* How many deltas one call takes. */
static int32_t
deltas_of_call(const struct reply *r)
{
	size_t step = args_step(r);

	return r->script.bare ? 1
			      : 1 + (int32_t)((r->args_len + step - 1) / step);
}

void
reply_plan(struct reply *r)
{
	size_t at = 0;

	if (r->script.events > 0)
		r->text_deltas = r->script.events;
	else
		for (; at < r->text_len; r->text_deltas++)
			at = piece_end(r, at, r->text_deltas);
	r->deltas = r->text_deltas;
	if (r->is_tool_call)
		r->deltas += r->calls * deltas_of_call(r);
}

/* A JSON line break is harmless; put_event starts a new data: line there. */
static const char *
line_break(const struct reply *r)
{
	return r->script.multiline ? "\n" : "";
}

static void
open_chunk(const struct reply *r)
{
	const char *nl = line_break(r);

	json.n = 0;
	buf_printf(&json,
	    "{\"id\":\"chatcmpl-%u\",%s\"object\":\"chat.completion.chunk\","
	    "\"created\":%lld,%s\"model\":%s,\"choices\":",
	    r->number, nl, (long long)time(NULL), nl, r->model);
}

static void
open_delta(const struct reply *r)
{
	open_chunk(r);
	buf_puts(&json, "[{\"index\":0,\"delta\":{");
}

static void
put_event(const struct reply *r, struct buf *out)
{
	const char *eol = r->script.crlf ? "\r\n" : "\n";
	const char *p = json.p, *end = json.p + json.n, *nl;

	if (r->script.comments)
		buf_printf(out, ": a comment%s%sunknown: field%sbare%s:%s", eol,
		    eol, eol, eol, eol);
	for (; p <= end; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (nl == NULL)
			nl = end;
		buf_puts(out, "data: ");
		buf_add(out, p, (size_t)(nl - p));
		buf_puts(out, eol);
	}
	buf_puts(out, eol);
}

static void
put_line(const struct reply *r, struct buf *out, const char *line)
{
	json.n = 0;
	buf_puts(&json, line);
	put_event(r, out);
}

static void
put_tokens(uint32_t prompt, uint32_t completion, struct buf *to)
{
	buf_printf(to,
	    "{\"prompt_tokens\":%u,\"completion_tokens\":%u,"
	    "\"total_tokens\":%u,\"prompt_tokens_details\":{\"cached_tokens\""
	    ":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
	    prompt, completion, prompt + completion);
}

/* Ends the chunk that open_delta began; finish is JSON. */
static void
close_delta(const struct reply *r, struct buf *out, const char *finish)
{
	buf_printf(&json, "},%s\"logprobs\":null,\"finish_reason\":%s}]%s",
	    line_break(r), finish,
	    r->wants_usage ? r->script.meter ? ",\"usage\":" : ",\"usage\":null"
			   : "");
	if (r->wants_usage && r->script.meter)
		put_tokens(
		    r->prompt_tokens, (uint32_t)((r->text_at + 3) / 4), &json);
	buf_puts(&json, "}");
	put_event(r, out);
}

static void
put_role(const struct reply *r, struct buf *out)
{
	open_delta(r);
	buf_printf(&json,
	    "\"role\":\"assistant\",\"content\":%s,"
	    "\"refusal\":null",
	    r->is_tool_call && r->text_len == 0 ? "null" : "\"\"");
	close_delta(r, out, "null");
}

/* A chunk padded with the obfuscation field that clients have to ignore. */
static void
put_huge(const struct reply *r, struct buf *out)
{
	static const char head[] = "data: ", tail[] = "\",\"choices\":[]}";
	size_t want = (size_t)r->script.huge;
	char padding[1024];

	memset(padding, 'x', sizeof(padding));
	json.n = 0;
	buf_puts(&json, "{\"object\":\"chat.completion.chunk\","
			"\"obfuscation\":\"");
	while (json.n + strlen(head) + strlen(tail) < want) {
		size_t n = want - json.n - strlen(head) - strlen(tail);

		if (n > sizeof(padding))
			n = sizeof(padding);
		buf_add(&json, padding, n);
	}
	buf_puts(&json, tail);
	put_event(r, out);
	buf_free(&json);
}

/* What nul and badutf8 put before the text, as the inside of a JSON string. */
static void
put_oddities(const struct reply *r, struct buf *out)
{
	static const char *const content[] = {"a\\u0000b", "c\xff\xc3(d"};
	const bool wanted[] = {r->script.nul != 0, r->script.badutf8 != 0};

	for (size_t i = 0; i < 2; i++) {
		if (!wanted[i])
			continue;
		open_delta(r);
		buf_printf(&json, "\"content\":\"%s\"", content[i]);
		close_delta(r, out, "null");
	}
}

static void
put_content(struct reply *r, struct buf *out)
{
	size_t end = piece_end(r, r->text_at, r->delta);

	open_delta(r);
	buf_puts(&json, "\"content\":\"");
	if (end > r->text_at)
		json_escape(&json, r->text + r->text_at, end - r->text_at);
	buf_puts(&json, "\"");
	r->text_at = end;
	close_delta(r, out, "null");
}

static void
put_tool_head(const struct reply *r, int32_t call, struct buf *to)
{
	if (!r->script.bare && call == 0)
		buf_printf(to, "\"id\":\"call_%u\",", r->number);
	else if (!r->script.bare)
		buf_printf(to, "\"id\":\"call_%u_%d\",", r->number, call);
	buf_puts(to, "\"type\":\"function\",\"function\":{\"name\":\"");
	json_escape(to, r->tool, strlen(r->tool));
	buf_puts(to, "\",\"arguments\":\"");
}

static void
put_tool(const struct reply *r, struct buf *out)
{
	int32_t at = r->delta - r->text_deltas, per = deltas_of_call(r);
	size_t step = args_step(r), from = 0, n = 0;

	open_delta(r);
	buf_puts(&json, "\"tool_calls\":[{");
	if (!r->script.bare)
		buf_printf(&json, "\"index\":%d,", at / per);
	if (at % per == 0) {
		put_tool_head(r, at / per, &json);
		n = r->script.bare ? r->args_len : 0;
	} else {
		from = (size_t)(at % per - 1) * step;
		n = r->args_len - from < step ? r->args_len - from : step;
		buf_puts(&json, "\"function\":{\"arguments\":\"");
	}
	json_escape(&json, r->args + from, n);
	buf_puts(&json, "\"}}]");
	close_delta(r, out, "null");
}

static const char *
finish_reason(const struct reply *r)
{
	if (r->script.refusal)
		return "\"content_filter\"";
	if (r->script.length)
		return "\"length\"";
	return r->is_tool_call ? "\"tool_calls\"" : "\"stop\"";
}

static void
put_usage(const struct reply *r, struct buf *to)
{
	counters.prompt_tokens += r->prompt_tokens;
	counters.completion_tokens += r->completion_tokens;
	put_tokens(r->prompt_tokens, r->completion_tokens, to);
}

static enum reply_next
fill_finish(struct reply *r, struct buf *out)
{
	open_delta(r);
	close_delta(r, out, finish_reason(r));
	if (r->wants_usage) {
		open_chunk(r);
		buf_puts(&json, "[],\"usage\":");
		put_usage(r, &json);
		buf_puts(&json, "}");
		put_event(r, out);
	}
	r->is_complete = true;
	if (r->script.nodone)
		return REPLY_CLOSE;
	put_line(r, out, "[DONE]");
	return REPLY_END;
}

static enum reply_next
fill_open(struct reply *r, struct buf *out)
{
	if (r->script.garbage) {
		reply_garbage(r, out);
		return REPLY_END;
	}
	put_role(r, out);
	if (r->script.huge > 0)
		put_huge(r, out);
	put_oddities(r, out);
	r->stage = STAGE_DELTAS;
	return r->script.first > 0 ? REPLY_WAIT : REPLY_GO;
}

/* Has a directive's position, clamped to the end of the deltas, come? */
static bool
is_at(const struct reply *r, int32_t position)
{
	return position == r->delta ||
	       (position > r->deltas && r->delta == r->deltas);
}

/* Gate number n stands before delta n * gate, and needs n + 1 openings. */
static bool
is_at_gate(const struct reply *r)
{
	return r->script.gate > 0 && r->delta < r->deltas &&
	       r->delta % r->script.gate == 0 &&
	       (uint64_t)(r->delta / r->script.gate) >= counters.gates_open;
}

/* Comments, then thoughts: what comes before the first delta. */
static enum reply_next
fill_lead(struct reply *r, struct buf *out)
{
	if (r->leads < r->script.pings) {
		buf_puts(out, ": PROCESSING\n\n");
	} else {
		open_delta(r);
		buf_puts(&json, "\"reasoning_content\":\"hm \"");
		close_delta(r, out, "null");
	}
	r->leads++;
	return REPLY_WAIT;
}

static enum reply_next
fill_delta(struct reply *r, struct buf *out)
{
	const struct script *s = &r->script;

	if (r->leads < s->pings + s->thoughts)
		return fill_lead(r, out);
	if (is_at_gate(r))
		return REPLY_GATE;
	if (is_at(r, s->badjson) && !r->has_bad_line) {
		put_line(r, out, "{\"choices\": [oops");
		r->has_bad_line = true;
	}
	if (is_at(r, s->midstream_error)) {
		json.n = 0;
		reply_error(&json, 500, s->code, "scripted error");
		put_event(r, out);
		return REPLY_END;
	}
	if (is_at(r, s->cut))
		return REPLY_CUT;
	if (is_at(r, s->stall))
		return REPLY_STALL;
	if (r->delta == r->deltas) {
		r->stage = STAGE_FINISH;
		return REPLY_GO;
	}
	if (r->delta < r->text_deltas)
		put_content(r, out);
	else
		put_tool(r, out);
	r->delta++;
	return s->gap > 0 && r->delta < r->deltas ? REPLY_WAIT : REPLY_GO;
}

enum reply_next
reply_fill(struct reply *r, struct buf *out)
{
	switch (r->stage) {
	case STAGE_OPEN:
		return fill_open(r, out);
	case STAGE_DELTAS:
		return fill_delta(r, out);
	case STAGE_FINISH:
		return fill_finish(r, out);
	}
	abort();
}

uint64_t
reply_due_ms(const struct reply *r)
{
	return (uint64_t)r->script.first +
	       (uint64_t)r->script.gap * (uint64_t)(r->delta + r->leads);
}

uint64_t
reply_plain_due_ms(const struct reply *r)
{
	uint64_t gaps = r->deltas > 0 ? (uint64_t)r->deltas - 1 : 0;

	if (r->status != 200)
		gaps = 0;
	return (uint64_t)r->script.first + (uint64_t)r->script.gap * gaps;
}

static void
put_message(const struct reply *r, struct buf *out)
{
	buf_puts(out, "\"message\":{\"role\":\"assistant\",\"content\":");
	if (r->is_tool_call && r->text_len == 0) {
		buf_puts(out, "null");
	} else {
		buf_puts(out, "\"");
		buf_puts(out, r->script.nul ? "a\\u0000b" : "");
		buf_puts(out, r->script.badutf8 ? "c\xff\xc3(d" : "");
		json_escape(out, r->text ? r->text : "", r->text_len);
		buf_puts(out, "\"");
	}
	if (r->is_tool_call) {
		buf_puts(out, ",\"tool_calls\":[");
		for (int32_t i = 0; i < r->calls; i++) {
			buf_puts(out, i > 0 ? ",{" : "{");
			put_tool_head(r, i, out);
			json_escape(out, r->args, r->args_len);
			buf_puts(out, "\"}}");
		}
		buf_puts(out, "]");
	}
	buf_puts(out, ",\"refusal\":null},\"logprobs\":null");
}

void
reply_plain(const struct reply *r, struct buf *out)
{
	if (r->status != 200) {
		reply_error(out, r->status, r->script.code,
		    r->script.quote && r->key != NULL ? r->key
						      : "scripted error");
		return;
	}
	if (r->script.garbage) {
		reply_garbage(r, out);
		return;
	}
	buf_printf(out,
	    "{\"id\":\"chatcmpl-%u\",\"object\":\"chat.completion\","
	    "\"created\":%lld,\"model\":%s,\"choices\":[{\"index\":0,",
	    r->number, (long long)time(NULL), r->model);
	if (r->script.badjson >= 0)
		return;
	put_message(r, out);
	buf_printf(out, ",\"finish_reason\":%s}]", finish_reason(r));
	if (!r->script.nousage) {
		buf_puts(out, ",\"usage\":");
		put_usage(r, out);
	}
	buf_puts(out, "}");
}

void
reply_garbage(const struct reply *r, struct buf *out)
{
	uint32_t state = (uint32_t)r->script.seed | 1;

	for (int i = 0; i < GARBAGE_BYTES; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		buf_add(out, &(char){(char)(state >> 24)}, 1);
	}
}

void
reply_error(
    struct buf *out, int32_t status, const char *code, const char *message)
{
	const char *type = "invalid_request_error", *own = NULL;

	if (status == 401) {
		own = "invalid_api_key";
	} else if (status == 429) {
		type = "requests";
		own = "rate_limit_exceeded";
	} else if (status >= 500) {
		type = "server_error";
	}
	buf_printf(out, "{\"error\":{\"message\":\"");
	json_escape(out, message, strlen(message));
	buf_printf(out, "\",\"type\":\"%s\",\"param\":null,\"code\":", type);
	if (code == NULL)
		code = own;
	if (code != NULL)
		buf_printf(out, "\"%s\"}}", code);
	else
		buf_puts(out, "null}}");
}
