/*
 * A model's answer: however its bytes are cut, the same text and the same
 * verdict, and whatever they are, text that can be stored. And any text, told
 * in deltas that are cut anywhere, comes out as if it had been cleaned whole.
 * The first four bytes of an input choose the limit and the cuts.
 */
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "fuzz.h"
#include "model/json_scan.h"
#include "model/mask.h"
#include "model/model.h"
#include "model/openai_chunk.h"
#include "model/openai_collect.h"
#include "model/openai_mend.h"

#define CONTROL 4

/* Most bytes of an input that are told in deltas: it takes a while. */
#define TOLD_MAX 512

static void
on_text(void *arg, const char *text, size_t n)
{
	FUZZ_PROMISE(n > 0);
	FUZZ_PROMISE(text_is_clean(text, n));
	buf_add(arg, text, n);
}

/* Whatever an object is, a client of ours gets one line of clean text. */
static void
check_line(const struct buf *line)
{
	FUZZ_PROMISE(!line->failed);
	FUZZ_PROMISE(line->n == 0 || text_is_clean(line->p, line->n));
	for (size_t i = 0; i < line->n; i++)
		FUZZ_PROMISE((unsigned char)line->p[i] >= 0x20);
}

/* Twice, as two chunks: what is mended is an object yet, and so is the rest. */
static void
check_mending(const struct model_object *object)
{
	struct mask *mask = mask_new();
	struct openai_mend *m = openai_mend_new(mask);
	struct json_scan s;
	struct buf out = {0};

	mask_add(mask, "a@b.de", 6, &out);
	for (int i = 0; i < 2; i++) {
		buf_clear(&out);
		openai_mend(m, object, &out);
		json_scan_init(&s, out.p, out.n);
		FUZZ_PROMISE(json_scan_value(&s, &(struct json_span){0}) &&
			     json_scan_end(&s));
	}
	for (buf_clear(&out); openai_mend_rest(m, &out); buf_clear(&out)) {
		json_scan_init(&s, out.p, out.n);
		FUZZ_PROMISE(json_scan_value(&s, &(struct json_span){0}) &&
			     json_scan_end(&s));
	}
	buf_free(&out);
	openai_mend_free(m);
	mask_free(mask);
}

static void
on_object(void *arg, const struct model_object *object)
{
	static const struct openai_stamp stamp = {.id = "i", .model = "m"};
	static const struct openai_ending end = {
	    .text = "", .finish = "stop", .usage = "{}"};
	struct openai_collected *c = openai_collect_new();
	struct buf line = {0}, usage = {0};

	(void)arg;
	openai_chunk_rewrite(&line, &stamp, object->json, object->n, &usage);
	check_line(&line);
	check_line(&usage);
	check_mending(object);
	FUZZ_PROMISE(object->n_beside <= object->n);
	openai_collect(c, object);
	openai_collect(c, object);
	buf_clear(&line);
	openai_collected_write(&line, c, &stamp, &end);
	openai_collected_choice(&line, c, &end);
	openai_collected_calls(&line, c);
	check_line(&line);
	openai_collect_free(c);
	buf_free(&line);
	buf_free(&usage);
}

struct input {
	const char *p;
	size_t n;
	size_t limit;
};

/* What is left of a parser when it is done. */
struct outcome {
	struct buf text;
	struct buf calls; /* what was called, to compare */
	struct model_parser p;
	enum err end;
};

static bool
is_count(int64_t n)
{
	return n >= -1 && n <= 1000000000;
}

static void
check(const struct outcome *o)
{
	const struct model_parser *p = &o->p;

	FUZZ_PROMISE(p->has_text == (o->text.n > 0));
	FUZZ_PROMISE(text_is_clean(p->error, strlen(p->error)));
	FUZZ_PROMISE(text_is_clean(p->model, strlen(p->model)));
	FUZZ_PROMISE((o->end == ERR_MODEL_FAILED) || !p->has_failed);
	FUZZ_PROMISE((o->end != ERR_MODEL_FAILED) || p->has_failed ||
		     p->error[0] != '\0');
	FUZZ_PROMISE(o->end != OK || p->has_text || p->calls.n > 0 ||
		     p->finish != MODEL_FINISH_NONE);
	FUZZ_PROMISE(p->calls.n <= MODEL_CALLS_MAX);
	FUZZ_PROMISE(is_count(p->usage.prompt_tokens));
	FUZZ_PROMISE(is_count(p->usage.completion_tokens));
	FUZZ_PROMISE(is_count(p->usage.cached_tokens));
}

static void
note_calls(struct outcome *o)
{
	for (size_t i = 0; i < o->p.calls.n; i++) {
		const struct model_call *c = &o->p.calls.list[i];
		const struct buf *a = &c->arguments;

		FUZZ_PROMISE(text_is_clean(c->id, strlen(c->id)));
		FUZZ_PROMISE(text_is_clean(c->name, strlen(c->name)));
		FUZZ_PROMISE(a->n == 0 || text_is_clean(a->p, a->n));
		/* U+FFFD takes more than the byte it stands for. */
		FUZZ_PROMISE(a->n <= 3 * MODEL_ARGUMENTS_MAX);
		buf_printf(&o->calls, "%s %s %d ", c->id, c->name, c->is_cut);
		buf_add(&o->calls, a->p, a->n);
		buf_putc(&o->calls, '\n');
	}
	buf_printf(&o->calls, "%u", o->p.calls.dropped);
}

static void
run(const struct input *in, uint32_t seed, struct outcome *o)
{
	bool is_whole = seed == 0;
	size_t n;

	*o = (struct outcome){0};
	model_parser_init(&o->p, on_text, &o->text, in->limit);
	o->p.on_object = on_object;
	for (size_t at = 0; at < in->n; at += n) {
		n = is_whole ? in->n : fuzz_piece(&seed, in->n - at);
		model_parser_feed(&o->p, in->p + at, n);
	}
	o->end = model_parser_end(&o->p);
	check(o);
	note_calls(o);
	model_parser_free(&o->p);
}

static void
compare(const struct outcome *a, const struct outcome *b)
{
	FUZZ_PROMISE(a->end == b->end);
	FUZZ_PROMISE(a->text.n == b->text.n);
	FUZZ_PROMISE(
	    a->text.n == 0 || memcmp(a->text.p, b->text.p, a->text.n) == 0);
	FUZZ_PROMISE(a->p.finish == b->p.finish);
	FUZZ_PROMISE(a->p.bad_lines == b->p.bad_lines);
	FUZZ_PROMISE(a->p.has_done == b->p.has_done);
	FUZZ_PROMISE(a->p.has_failed == b->p.has_failed);
	FUZZ_PROMISE(memcmp(&a->p.usage, &b->p.usage, sizeof(a->p.usage)) == 0);
	FUZZ_PROMISE(a->calls.n == b->calls.n &&
		     memcmp(a->calls.p, b->calls.p, a->calls.n) == 0);
	FUZZ_PROMISE(strcmp(a->p.model, b->p.model) == 0);
	FUZZ_PROMISE(strcmp(a->p.error, b->p.error) == 0);
}

static void
check_error_message(const struct input *in, size_t room)
{
	char out[256];

	openai_error_message(in->p, in->n, out, room);
	FUZZ_PROMISE(strlen(out) < room);
	FUZZ_PROMISE(text_is_clean(out, strlen(out)));
	for (const char *c = out; *c != '\0'; c++)
		FUZZ_PROMISE((unsigned char)*c >= 0x20 && *c != 0x7f);
}

static void
begin_delta(struct buf *out)
{
	buf_puts(out, "data: {\"choices\":[{\"delta\":{\"content\":\"");
}

static void
end_delta(struct buf *out)
{
	buf_puts(out, "\"}}]}\n\n");
}

/* Writes a character beyond U+FFFF as two escapes, in two deltas if `seam`. */
static void
put_pair(struct buf *out, const unsigned char *p, bool seam)
{
	unsigned c = (p[0] & 7u) << 18 | (p[1] & 63u) << 12 |
		     (p[2] & 63u) << 6 | (p[3] & 63u);

	c -= 0x10000;
	buf_printf(out, "\\u%04x", 0xd800 + (c >> 10));
	if (seam) {
		end_delta(out);
		begin_delta(out);
	}
	buf_printf(out, "\\u%04X", 0xdc00 + (c & 0x3ff));
}

/* Writes what stands at `p` into a JSON string; returns its length. */
static size_t
put_char(struct buf *out, const char *p, size_t left, uint32_t seed)
{
	unsigned char c = (unsigned char)*p;

	if (left >= 4 && c >= 0xf0 && text_is_clean(p, 4) &&
	    (seed >> 16 & 1) != 0) {
		put_pair(out, (const unsigned char *)p, (seed >> 17 & 1) != 0);
		return 4;
	}
	if (c < 0x20 || (c < 0x7f && (seed >> 18 & 7) == 0))
		buf_printf(out, "\\u%04x", c);
	else if (c == '"' || c == '\\')
		buf_printf(out, "\\%c", c);
	else
		buf_putc(out, (char)c);
	return 1;
}

static void
tell(struct buf *out, const struct input *in, uint32_t seed)
{
	size_t end = 0;

	begin_delta(out);
	for (size_t at = 0; at < in->n;) {
		if (at >= end) {
			end = at + fuzz_piece(&seed, in->n - at);
			end_delta(out);
			begin_delta(out);
		}
		at += put_char(out, in->p + at, in->n - at,
		    seed + (uint32_t)at * 2654435761u);
	}
	end_delta(out);
	buf_puts(out, "data: [DONE]\n\n");
}

static void
check_told(const struct input *in, uint32_t seed)
{
	struct buf stream = {0}, want = {0};
	struct input told = {.limit = 1 << 20};
	struct outcome o;

	tell(&stream, in, seed);
	told.p = stream.p;
	told.n = stream.n;
	run(&told, seed, &o);
	text_append_clean(&want, in->p, in->n);
	FUZZ_PROMISE(o.text.n == want.n);
	FUZZ_PROMISE(want.n == 0 || memcmp(o.text.p, want.p, want.n) == 0);
	FUZZ_PROMISE(o.end == (want.n > 0 ? OK : ERR_MODEL_FAILED));
	buf_free(&stream);
	buf_free(&want);
	buf_free(&o.text);
	buf_free(&o.calls);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, cut;
	struct input in;
	uint32_t seed;

	if (size < CONTROL)
		return 0;
	memcpy(&seed, data, sizeof(seed));
	in.p = (const char *)data + CONTROL;
	in.n = size - CONTROL;
	in.limit = (data[0] & 0x80) != 0 ? 1 << 20 : 300;
	run(&in, 0, &whole);
	run(&in, seed | 1, &cut);
	compare(&whole, &cut);
	check_error_message(&in, 1 + data[1]);
	in.n = in.n < TOLD_MAX ? in.n : TOLD_MAX;
	check_told(&in, seed | 1);
	buf_free(&whole.text);
	buf_free(&whole.calls);
	buf_free(&cut.text);
	buf_free(&cut.calls);
	return 0;
}
