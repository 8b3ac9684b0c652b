/*
 * The event parser against WHATWG HTML 9.2. Every input is fed whole, byte by
 * byte and cut in two at every place; the events must always be the same.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "model/sse_parse.h"

/* Limits of every case; long enough for all but those that test them. */
#define LINE_MAX_TEST  40
#define EVENT_MAX_TEST 60

#define TEN "0123456789"
/* Bytes with NUL inside, and how many. */
#define IN(text) (text), sizeof(text) - 1

/* `want` is each event as "name=data;" with NUL written as '@'. */
static const struct sse_case {
	const char *what;
	const char *in;
	size_t n;
	const char *want;
	unsigned long skipped;
} cases[] = {
    {"nothing", IN(""), "", 0},
    {"one event", IN("data: a\n\n"), "=a;", 0},
    {"two events", IN("data: a\n\ndata: b\n\n"), "=a;=b;", 0},
    {"no space after the colon", IN("data:a\n\n"), "=a;", 0},
    {"only one space is dropped", IN("data:  a\n\n"), "= a;", 0},
    {"a tab is kept", IN("data:\ta\n\n"), "=\ta;", 0},
    {"spaces at the end are kept", IN("data: a \n\n"), "=a ;", 0},
    {"a colon in the value", IN("data: a: b\n\n"), "=a: b;", 0},
    {"CRLF", IN("data: a\r\n\r\ndata: b\r\n\r\n"), "=a;=b;", 0},
    {"CR", IN("data: a\r\rdata: b\r\r"), "=a;=b;", 0},
    {"CR, LF and CRLF mixed", IN("data: a\r\ndata: b\rdata: c\n\r\n"),
	"=a\nb\nc;", 0},
    {"LF CR is two ends of line", IN("data: a\n\rdata: b\n\n"), "=a;=b;", 0},
    {"several data lines", IN("data: a\ndata: b\ndata: c\n\n"), "=a\nb\nc;", 0},
    {"data lines with others between", IN("data: a\n: c\nid: 7\ndata: b\n\n"),
	"=a\nb;", 0},
    {"an empty data line is data", IN("data\n\n"), "=;", 0},
    {"an empty data line with a colon", IN("data:\n\n"), "=;", 0},
    {"two empty data lines", IN("data\ndata\n\n"), "=\n;", 0},
    {"an empty line in the middle", IN("data: a\ndata:\ndata: b\n\n"),
	"=a\n\nb;", 0},
    {"a name", IN("event: error\ndata: a\n\n"), "error=a;", 0},
    {"a name after the data", IN("data: a\nevent: x\n\n"), "x=a;", 0},
    {"the last name counts", IN("event: x\nevent: y\ndata: a\n\n"), "y=a;", 0},
    {"a name is forgotten after its event",
	IN("event: x\ndata: a\n\ndata: b\n\n"), "x=a;=b;", 0},
    {"a name without data is forgotten", IN("event: x\n\ndata: b\n\n"), "=b;",
	0},
    {"an empty name is none", IN("event: x\nevent\ndata: b\n\n"), "=b;", 0},
    {"comments", IN(": hello\n:\n\ndata: a\n:x\n\n: bye\n\n"), "=a;", 0},
    {"unknown fields", IN("id: 1\nretry: 5\nfoo: bar\nbaz\ndata: a\n\n"), "=a;",
	0},
    {"a field's name is not trimmed", IN(" data: a\ndata : b\n\n"), "", 0},
    {"a field's name is not folded", IN("Data: a\n\n"), "", 0},
    {"a field's name is not a prefix", IN("dat: a\ndatas: b\n\n"), "", 0},
    {"many blank lines", IN("\n\n\ndata: a\n\n\n\n"), "=a;", 0},
    {"a BOM",
	IN("\xef\xbb\xbf"
	   "data: a\n\n"),
	"=a;", 0},
    {"a BOM alone on its line", IN("\xef\xbb\xbf\ndata: a\n\n"), "=a;", 0},
    {"only the first BOM is dropped",
	IN("\xef\xbb\xbf\xef\xbb\xbf"
	   "data: a\n\ndata: b\n\n"),
	"=b;", 0},
    {"a BOM later is part of the line",
	IN("\n\xef\xbb\xbf"
	   "data: a\n\ndata: b\n\n"),
	"=b;", 0},
    {"half a BOM is no BOM",
	IN("\xef\xbb"
	   "data: a\n\ndata: b\n\n"),
	"=b;", 0},
    {"NUL is data", IN("data: a\0b\n\n"), "=a@b;", 0},
    {"bytes above ASCII", IN("data: \xc3\xa9\xff\n\n"), "=\xc3\xa9\xff;", 0},
    {"no blank line at the end", IN("data: a\n\ndata: b\n"), "=a;=b;", 0},
    {"no line end at the end", IN("data: a\n\ndata: b"), "=a;=b;", 0},
    {"CR at the very end", IN("data: a\r\n\r"), "=a;", 0},
    {"only a comment at the end", IN("data: a\n\n: bye"), "=a;", 0},
    {"a line of the greatest length", IN("data: " TEN TEN TEN "0123\n\n"),
	"=" TEN TEN TEN "0123;", 0},
    {"a line one too long takes its event along",
	IN("data: a\ndata: " TEN TEN TEN "01234\ndata: b\n\ndata: c\n\n"),
	"=c;", 1},
    {"a first line of the greatest length behind a BOM",
	IN("\xef\xbb\xbf"
	   "data: " TEN TEN TEN "0123\n\n"),
	"=" TEN TEN TEN "0123;", 0},
    {"a very long line",
	IN("data: " TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
	   "\r\n\r\ndata: c\r\n\r\n"),
	"=c;", 1},
    {"a long line that never ends", IN("data: a\n\n: " TEN TEN TEN TEN TEN),
	"=a;", 1},
    {"two long lines of one event count once",
	IN(TEN TEN TEN TEN "0\n" TEN TEN TEN TEN "0\n\ndata: c\n\n"), "=c;", 1},
    {"an event of the greatest length",
	IN("data: " TEN TEN TEN "\ndata: " TEN TEN "012345678\n\n"),
	"=" TEN TEN TEN "\n" TEN TEN "012345678;", 0},
    {"an event one too long is dropped whole",
	IN("data: " TEN TEN TEN "\ndata: " TEN TEN "0123456789\nevent: x\n"
	   "data: b\n\ndata: c\n\n"),
	"=c;", 1},
    {"two events too long count twice",
	IN("data: " TEN TEN TEN TEN "\n\ndata: " TEN TEN TEN TEN
	   "\n\ndata: c\n\n"),
	"=c;", 2},
};

static void
record(void *arg, const char *event, const char *data, size_t n)
{
	struct buf *got = arg;

	buf_puts(got, event);
	buf_putc(got, '=');
	for (size_t i = 0; i < n; i++)
		buf_putc(got, (char)(data[i] != '\0' ? data[i] : '@'));
	buf_putc(got, ';');
}

/* Feeds `in` in pieces that end at `cut` and then every `step` bytes. */
static void
expect_events(const struct sse_case *c, size_t cut, size_t step)
{
	struct buf got = {0};
	struct sse_parser p;
	size_t n, want_n = strlen(c->want);

	sse_parser_init(&p, record, &got, LINE_MAX_TEST, EVENT_MAX_TEST);
	for (size_t at = 0; at < c->n; at += n) {
		n = at < cut ? cut - at : step;
		n = n < c->n - at ? n : c->n - at;
		sse_parser_feed(&p, c->in + at, n);
	}
	sse_parser_feed(&p, c->in, 0);
	sse_parser_end(&p);
	cr_expect(
	    got.n == want_n && memcmp(got.p ? got.p : "", c->want, want_n) == 0,
	    "%s, cut at %zu then every %zu: got \"%.*s\"", c->what, cut, step,
	    (int)got.n, got.p ? got.p : "");
	cr_expect(p.skipped == c->skipped, "%s: skipped %lu, not %lu", c->what,
	    p.skipped, c->skipped);
	sse_parser_free(&p);
	buf_free(&got);
}

#define EACH_CASE                                     \
	const struct sse_case *c = cases;             \
	c < cases + sizeof(cases) / sizeof(cases[0]); \
	c++

Test(sse_parse, reads_events_fed_whole)
{
	for (EACH_CASE)
		expect_events(c, 0, c->n + 1);
}

Test(sse_parse, reads_events_fed_byte_by_byte)
{
	for (EACH_CASE)
		expect_events(c, 0, 1);
}

Test(sse_parse, reads_events_cut_in_two_anywhere)
{
	for (EACH_CASE) {
		for (size_t cut = 0; cut <= c->n; cut++)
			expect_events(c, cut, c->n + 1);
	}
}

Test(sse_parse, reads_events_cut_in_three_anywhere)
{
	for (EACH_CASE) {
		for (size_t cut = 0; cut <= c->n; cut++) {
			for (size_t step = 1; step < 8; step++)
				expect_events(c, cut, step);
		}
	}
}

Test(sse_parse, cuts_a_name_that_is_too_long)
{
	static const char in[] =
	    "event: " TEN TEN TEN TEN TEN TEN TEN "\ndata: a\n\n";
	struct buf got = {0};
	struct sse_parser p;

	sse_parser_init(&p, record, &got, 1024, 1024);
	sse_parser_feed(&p, in, sizeof(in) - 1);
	cr_expect_eq(got.n, 63 + strlen("=a;"));
	sse_parser_free(&p);
	buf_free(&got);
}

Test(sse_parse, keeps_little_room_after_a_big_event)
{
	struct buf got = {0};
	struct sse_parser p;

	sse_parser_init(&p, record, &got, 1 << 20, 1 << 20);
	sse_parser_feed(&p, "data: ", 6);
	for (int i = 0; i < 10000; i++)
		sse_parser_feed(&p, TEN, 10);
	sse_parser_feed(&p, "\n\n", 2);
	cr_expect_eq(got.n, 100002);
	cr_expect_leq(p.line.room + p.data.room, 8192);
	sse_parser_free(&p);
	buf_free(&got);
}
