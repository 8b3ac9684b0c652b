/*
 * Marks by which a reply cites: which are some, and that a mark is found once
 * and whole however the text comes.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "chat/citation.h"
#include "chat/turn_events.h"

#define PASSAGES 3

/* What is found in the text when it comes in pieces of so many bytes: numbers
 * with their places, "1@5 ". */
static void
scan(const char *text, size_t piece, struct buf *out)
{
	struct citation_scan s = {0};
	struct citation_mark m;
	size_t n = strlen(text);

	for (size_t have = piece < n ? piece : n;;
	     have = have + piece < n ? have + piece : n) {
		/* A copy of its own: nothing behind it may be read. */
		char *copy = strndup(text, have);
		const struct citation_text t = {
		    copy, have, PASSAGES, have == n};
		while (citation_next(&s, &t, &m))
			for (size_t i = 0; i < m.n; i++)
				buf_printf(out, "%zu@%zu ", m.numbers[i], m.at);
		free(copy);
		if (have == n)
			return;
	}
}

static const struct {
	const char *text, *want;
} rows[] = {
    {"", ""},
    {"Tea is green [1].", "1@13 "},
    {"[1] Tea", "1@0 "},
    {"Tea [1][2] and [3]", "1@4 2@7 3@15 "},
    {"Tea [1, 3].", "1@4 3@4 "},
    {"Tea [1,2] x", "1@4 2@4 "},
    {"Tea.[2] More", "2@4 "},
    {"as stated[2].", "2@9 "},
    {"as stated[2]", "2@9 "},
    {"as stated[2]\nmore", "2@9 "},
    {"as stated[2] = 5", ""},
    {"a[1] = b[2];", ""},
    {"a[1].", ""},
    {"f(x)[1]", ""},
    {"x_[1]", ""},
    {"m2[1].", ""},
    {"none [4] [0] [12] [] [x] [1", ""},
    {"[01] [001]", "1@0 1@5 "},
    {"[1](http://x)", ""},
    {"[1]: http://x", ""},
    {"see [1]: there", "1@4 "},
    {"`a [1]` and [2]", "2@12 "},
    {"``a ` [1]`` [2]", "2@12 "},
    {"```\n[1]\n```\n[2]", "2@12 "},
    {"~~~c\n[1]\n~~~\n[2]", "2@13 "},
    {"```\n[1]\n~~~\n[2]", ""},
    {"a lone ` tick [1]\n\nnext [2]", "2@24 "},
    {"[^1] [1a] [1 2] [1;2] [-1]", ""},
    {"[1,] [,1]", ""},
    {"\xc3\xa9t\xc3\xa9 [1] caf\xc3\xa9s[2].", "1@6 2@16 "},
    {"(see [1])", "1@5 "},
    {"\"Tea\"[1]", "1@5 "},
    {"[1,1,1,1,1,1,1,1,1]", ""},
    {"[99999999999999999999999999999999999999999999999999]", ""},
};

Test(citation, is_found_where_prose_cites)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf got = {0};
		scan(rows[i].text, 1000, &got);
		cr_expect_str_eq(buf_text(&got), rows[i].want, "\"%s\": %s",
		    rows[i].text, buf_text(&got));
		buf_free(&got);
	}
}

Test(citation, is_found_once_however_the_text_is_cut)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		for (size_t piece = 1; piece < 8; piece++) {
			struct buf got = {0};
			scan(rows[i].text, piece, &got);
			cr_expect_str_eq(buf_text(&got), rows[i].want,
			    "\"%s\" in pieces of %zu: %s", rows[i].text, piece,
			    buf_text(&got));
			buf_free(&got);
		}
}

Test(turn_events, keep_their_order_and_an_end)
{
	struct turn_events e = {0};
	for (int i = 0; i < TURN_EVENTS_MAX + 3; i++) {
		struct buf data = {0};
		buf_printf(&data, "%d", i);
		cr_expect_eq(
		    turn_events_add(&e, "x", i == 5 ? 0 : (uint64_t)i, &data),
		    i < TURN_EVENTS_MAX);
		cr_expect_null(data.p);
	}
	cr_expect_eq(e.n, TURN_EVENTS_MAX);
	cr_expect_eq(e.p[5].at, 4, "an event before the one before it");
	cr_expect_str_eq(e.p[511].data, "511");
	turn_events_free(&e);
}
