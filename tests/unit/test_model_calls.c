/*
 * Tool calls as servers stream them and as they should not: each answer is fed
 * whole, byte by byte and cut in two at every place, always with the same
 * calls.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "model/model.h"

#define MAX_BYTES 400000

#define CALLS(list)                                                         \
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[" list \
	"]}}]}\n\n"
#define HEAD(i, id, name)                                            \
	"{\"index\":" #i ",\"id\":\"" id "\",\"type\":\"function\"," \
	"\"function\":{\"name\":\"" name "\",\"arguments\":\"\"}}"
#define PART(i, text) \
	"{\"index\":" #i ",\"function\":{\"arguments\":\"" text "\"}}"
#define END                                              \
	"data: {\"choices\":[{\"index\":0,\"delta\":{}," \
	"\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n"
#define FFFD "\xef\xbf\xbd"

/* The calls as "id name arguments" each on a line. */
static const struct {
	const char *what;
	const char *in;
	const char *calls;
	unsigned dropped;
	enum err end;
} rows[] = {
    {"one call in pieces",
	CALLS(HEAD(0, "a", "f")) CALLS(PART(0, "{\\\"x"))
	    CALLS(PART(0, "\\\":1}")) END,
	"a f {\"x\":1}\n", 0, OK},
    {"two calls, one after the other",
	CALLS(HEAD(0, "a", "f")) CALLS(PART(0, "{}")) CALLS(HEAD(1, "b", "g"))
	    CALLS(PART(1, "{}")) END,
	"a f {}\nb g {}\n", 0, OK},
    {"two calls in turns",
	CALLS(HEAD(0, "a", "f") "," HEAD(1, "b", "f")) CALLS(PART(1,
	    "[1") "," PART(0, "{")) CALLS(PART(0, "}")) CALLS(PART(1, "]")) END,
	"a f {}\nb f [1]\n", 0, OK},
    {"no index: ids tell",
	CALLS(
	    "{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}")
	    CALLS("{\"id\":\"b\",\"function\":{\"name\":\"f\","
		  "\"arguments\":\"[\"}}")
		CALLS("{\"id\":\"a\",\"function\":{\"arguments\":\"}\"}}")
		    CALLS("{\"id\":\"b\",\"function\":{\"arguments\":\"]\"}}")
			END,
	"a f {}\nb f []\n", 0, OK},
    {"neither index nor id: names tell",
	CALLS("{\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}")
	    CALLS("{\"function\":{\"arguments\":\"}\"}}") CALLS(
		"{\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}") END,
	" f {}\n g {}\n", 0, OK},
    {"every index is 0",
	CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
	      "\"arguments\":\"{}\"}}")
	    CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\","
		  "\"arguments\":\"{}\"}}") END,
	"a f {}\nb g {}\n", 0, OK},
    {"another id in each piece of one call",
	CALLS(HEAD(0, "a", "f"))
	    CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"name\":null,"
		  "\"arguments\":\"{}\"}}") END,
	"a f {}\n", 0, OK},
    {"the name is repeated",
	CALLS(HEAD(0, "a", "f"))
	    CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
		  "\"arguments\":\"{}\"}}") END,
	"a f {}\n", 0, OK},
    {"null everywhere",
	CALLS("{\"index\":null,\"id\":null,\"type\":null,\"function\":"
	      "{\"name\":\"f\",\"arguments\":null}}") END,
	" f \n", 0, OK},
    {"an index that is none",
	CALLS("{\"index\":-1,\"id\":\"a\",\"function\":"
	      "{\"name\":\"f\",\"arguments\":\"{}\"}}") END,
	"a f {}\n", 0, OK},
    {"arguments as an object",
	CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
	      "\"arguments\":{\"x\":[1,\"\\u00e4\"]}}}") END,
	"a f {\"x\":[1,\"\\u00e4\"]}\n", 0, OK},
    {"half a surrogate pair in each of two pieces",
	CALLS(HEAD(0, "a", "f")) CALLS(PART(0, "\\ud83d"))
	    CALLS(PART(0, "\\ude00")) END,
	"a f \xf0\x9f\x98\x80\n", 0, OK},
    {"half a pair alone, and NUL",
	CALLS(HEAD(0, "a", "f")) CALLS(PART(0, "\\ud83dx\\u0000y")) END,
	"a f " FFFD "xy\n", 0, OK},
    {"invalid UTF-8 in names, ids and arguments",
	CALLS(HEAD(0, "\xff", "\xfe")) CALLS(PART(0, "\xc3(")) END,
	FFFD " " FFFD " " FFFD "(\n", 0, OK},
    {"no name", CALLS("{\"index\":0,\"id\":\"a\"}") END, "a  \n", 0, OK},
    {"things that are no calls", CALLS("7,null,[],\"x\"") END, "", 0, OK},
    {"a whole answer",
	"{\"choices\":[{\"message\":{\"content\":null,"
	"\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":"
	"{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"a\",\"function\":"
	"{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"finish_reason\":"
	"\"tool_calls\"}]}",
	"a f {}\na g {}\n", 0, OK},
    {"a whole answer whose calls all have the index 0",
	"{\"choices\":[{\"message\":{\"tool_calls\":[{\"index\":0,"
	"\"function\":{\"name\":\"f\",\"arguments\":{}}},{\"index\":0,"
	"\"function\":{\"name\":\"f\",\"arguments\":{}}}]},\"finish_reason\":"
	"\"stop\"}]}",
	" f {}\n f {}\n", 0, OK},
    {"nine calls",
	CALLS(HEAD(0, "0", "f") "," HEAD(1, "1", "f") "," HEAD(
	    2, "2", "f") "," HEAD(3, "3", "f") "," HEAD(4, "4", "f") "," HEAD(5,
	    "5", "f") "," HEAD(6, "6", "f") "," HEAD(7, "7", "f") "," HEAD(8,
	    "8", "f")) CALLS(PART(8, "no")) CALLS(PART(7, "{}")) END,
	"0 f \n1 f \n2 f \n3 f \n4 f \n5 f \n6 f \n7 f {}\n", 1, OK},
    {"no finish_reason, but [DONE]",
	CALLS(HEAD(0, "a", "f")) "data: [DONE]\n\n", "a f \n", 0, OK},
    {"cut in the middle", CALLS(HEAD(0, "a", "f")) CALLS(PART(0, "{")),
	"a f {\n", 0, ERR_MODEL_CUT},
    {"a piece that was not understood",
	CALLS(HEAD(0, "a", "f")) "data: {oops\n\n" CALLS(PART(0, "{}")) END,
	"a f {}\n", 0, ERR_MODEL_FAILED},
    {"calls of another choice",
	"data: {\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[" HEAD(
	    0, "a", "f") "]}}]}\n\n" END,
	"", 0, OK},
};

static void
on_text(void *arg, const char *text, size_t n)
{
	buf_add(arg, text, n);
}

static void
list_calls(const struct model_calls *calls, struct buf *out)
{
	for (size_t i = 0; i < calls->n; i++) {
		const struct model_call *c = &calls->list[i];

		buf_printf(out, "%s %s ", c->id, c->name);
		buf_add(out, c->arguments.p, c->arguments.n);
		buf_putc(out, '\n');
	}
}

/* Feeds `first` bytes, and the rest at once or byte by byte. */
static void
check(size_t row, size_t first, bool is_slow)
{
	const char *in = rows[row].in;
	size_t n = strlen(in);
	struct buf text = {0}, got = {0};
	struct model_parser p;

	model_parser_init(&p, on_text, &text, MAX_BYTES);
	model_parser_feed(&p, in, first);
	for (size_t at = first, k; at < n; at += k) {
		k = is_slow ? 1 : n - at;
		model_parser_feed(&p, in + at, k);
	}
	cr_expect_eq(model_parser_end(&p), rows[row].end, "%s at %zu",
	    rows[row].what, first);
	list_calls(&p.calls, &got);
	cr_expect_str_eq(buf_text(&got), rows[row].calls, "%s", rows[row].what);
	cr_expect_eq(p.calls.dropped, rows[row].dropped, "%s", rows[row].what);
	cr_expect_eq(text.n, 0, "%s", rows[row].what);
	model_parser_free(&p);
	buf_free(&text);
	buf_free(&got);
}

Test(model_calls, are_the_same_however_the_bytes_are_cut)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check(i, 0, false);
		check(i, 0, true);
		for (size_t at = 1; at < strlen(rows[i].in); at++)
			check(i, at, false);
	}
}

static void
feed(struct model_parser *p, const char *text)
{
	model_parser_feed(p, text, strlen(text));
}

Test(model_calls, a_call_is_work_and_no_text)
{
	struct buf text = {0};
	struct model_parser p;

	model_parser_init(&p, on_text, &text, MAX_BYTES);
	feed(&p, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\","
		 "\"tool_calls\":null}}]}\n\n");
	cr_expect(!p.has_begun);
	feed(&p, CALLS(HEAD(0, "a", "f")));
	cr_expect(p.has_begun);
	cr_expect(!p.has_text);
	model_parser_free(&p);
}

Test(model_calls, arguments_that_are_too_long_are_marked)
{
	struct buf text = {0};
	struct model_parser p;
	char part[1100], event[1400];

	memset(part, 'x', 1024);
	part[1024] = '\0';
	snprintf(event, sizeof(event),
	    CALLS("{\"index\":0,\"function\":"
		  "{\"arguments\":\"%s\"}}"),
	    part);
	model_parser_init(&p, on_text, &text, MAX_BYTES);
	feed(&p, CALLS(HEAD(0, "a", "f")));
	for (size_t i = 0; i < MODEL_ARGUMENTS_MAX / 1024; i++)
		feed(&p, event);
	cr_expect(!p.calls.list[0].is_cut);
	cr_expect_eq(p.calls.list[0].arguments.n, MODEL_ARGUMENTS_MAX);
	feed(&p, CALLS(PART(0, "y")));
	cr_expect(p.calls.list[0].is_cut);
	feed(&p, END);
	cr_expect_eq(model_parser_end(&p), OK);
	cr_expect_eq(p.calls.list[0].arguments.n, MODEL_ARGUMENTS_MAX);
	model_parser_free(&p);
}

Test(model_calls, long_names_and_ids_are_cut_at_a_character)
{
	struct buf text = {0}, event = {0};
	struct model_parser p;

	buf_puts(&event, "data: {\"choices\":[{\"delta\":{\"tool_calls\":["
			 "{\"index\":0,\"id\":\"x");
	for (int i = 0; i < 100; i++)
		buf_puts(&event, "\xc3\xa4");
	buf_puts(&event, "\",\"function\":{\"name\":\"x");
	for (int i = 0; i < 100; i++)
		buf_puts(&event, "\xc3\xa4");
	buf_puts(&event, "\"}}]}}]}\n\n");
	model_parser_init(&p, on_text, &text, MAX_BYTES);
	model_parser_feed(&p, event.p, event.n);
	cr_expect_eq(strlen(p.calls.list[0].id), 127);
	cr_expect_eq(strlen(p.calls.list[0].name), 63);
	cr_expect(text_is_clean(p.calls.list[0].name, 63));
	model_parser_free(&p);
	buf_free(&event);
}
