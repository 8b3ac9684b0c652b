/*
 * The event parser: the same events however the bytes are cut, and, while no
 * limit is met, those that a plain reading of WHATWG HTML 9.2 gives. The first
 * four bytes of an input choose limits and cuts.
 */
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "fuzz.h"
#include "model/sse_parse.h"

#define CONTROL 4

static void
record(void *arg, const char *event, const char *data, size_t n)
{
	struct buf *out = arg;

	buf_puts(out, event);
	buf_putc(out, '\0');
	buf_printf(out, "%zu ", n);
	buf_add(out, data, n);
}

/* Records the events of `in`; cut by `seed`, whole when it is 0. */
static unsigned long
parse(const struct buf *in, size_t limit, uint32_t seed, struct buf *out)
{
	struct sse_parser p;
	bool is_whole = seed == 0;
	size_t n;

	sse_parser_init(&p, record, out, limit, limit + 7);
	for (size_t at = 0; at < in->n; at += n) {
		n = is_whole ? in->n : fuzz_piece(&seed, in->n - at);
		sse_parser_feed(&p, in->p + at, n);
	}
	sse_parser_end(&p);
	sse_parser_free(&p);
	return p.skipped;
}

/* The plain reading: one line after the other, no limits, no pieces. */
struct plain {
	struct buf data;
	char event[64];
	bool has_data;
	struct buf *out;
};

static void
plain_dispatch(struct plain *s)
{
	if (s->has_data)
		record(s->out, s->event, s->data.n ? s->data.p : "", s->data.n);
	buf_clear(&s->data);
	s->has_data = false;
	s->event[0] = '\0';
}

static void
plain_line(struct plain *s, const char *line, size_t n)
{
	size_t name = 0, value;

	while (name < n && line[name] != ':')
		name++;
	value = name < n ? name + 1 : n;
	if (value < n && line[value] == ' ')
		value++;
	if (n == 0) {
		plain_dispatch(s);
	} else if (name == 4 && memcmp(line, "data", 4) == 0) {
		if (s->has_data)
			buf_putc(&s->data, '\n');
		buf_add(&s->data, line + value, n - value);
		s->has_data = true;
	} else if (name == 5 && memcmp(line, "event", 5) == 0) {
		n = n - value < 63 ? n - value : 63;
		memcpy(s->event, line + value, n);
		s->event[n] = '\0';
	}
}

static void
plain_parse(const struct buf *in, struct buf *out)
{
	struct plain s = {.out = out};
	size_t begin = 0, at;

	if (in->n >= 3 && memcmp(in->p, "\xef\xbb\xbf", 3) == 0)
		begin = 3;
	for (at = begin; at < in->n; at++) {
		if (in->p[at] != '\n' && in->p[at] != '\r')
			continue;
		plain_line(&s, in->p + begin, at - begin);
		if (in->p[at] == '\r' && at + 1 < in->n &&
		    in->p[at + 1] == '\n')
			at++;
		begin = at + 1;
	}
	if (begin < in->n)
		plain_line(&s, in->p + begin, in->n - begin);
	plain_dispatch(&s);
	buf_free(&s.data);
}

static bool
is_same(const struct buf *a, const struct buf *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in = {0}, whole = {0}, cut = {0}, plain = {0};
	unsigned long skipped;
	uint32_t seed;
	size_t limit;

	if (size < CONTROL)
		return 0;
	memcpy(&seed, data, sizeof(seed));
	limit = data[0] < 128 ? data[0] : 1 << 20;
	buf_add(&in, data + CONTROL, size - CONTROL);
	skipped = parse(&in, limit, 0, &whole);
	FUZZ_PROMISE(parse(&in, limit, seed | 1, &cut) == skipped);
	FUZZ_PROMISE(is_same(&whole, &cut));
	if (skipped == 0) {
		plain_parse(&in, &plain);
		FUZZ_PROMISE(is_same(&whole, &plain));
	}
	buf_free(&in);
	buf_free(&whole);
	buf_free(&cut);
	buf_free(&plain);
	return 0;
}
