/*
 * The cutting of texts: what holds for every one of them, and where the cuts
 * fall in those that people write.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "chat/chunker.h"

#define CHUNKS_MAX 4096

struct piece {
	size_t start, end;
	char heading[CHUNK_HEADING_BYTES + 1];
};

static struct piece pieces[CHUNKS_MAX];
static size_t n_pieces;

/* Cuts, and fails the test where a promise of the header is broken. */
static void
cut(const char *p, size_t n, size_t max, size_t overlap, bool has_headings)
{
	const struct chunker_rules rules = {max, overlap, has_headings};
	struct chunker c;
	struct chunk k;
	size_t covered = 0;

	n_pieces = 0;
	chunker_init(&c, p, n, &rules);
	while (chunker_next(&c, &k)) {
		cr_assert_lt(n_pieces, (size_t)CHUNKS_MAX);
		cr_assert_lt(k.start, k.end);
		cr_assert_leq(k.end - k.start, max);
		cr_assert_leq(k.start, covered, "a hole before %zu", k.start);
		cr_assert_gt(k.end, covered);
		cr_assert_leq(covered - k.start, overlap);
		cr_assert(text_is_clean(p + k.start, k.end - k.start) ||
			  !text_is_clean(p, n));
		cr_assert_leq(strlen(k.heading), (size_t)CHUNK_HEADING_BYTES);
		if (n_pieces)
			cr_assert_gt(k.start, pieces[n_pieces - 1].start);
		covered = k.end;
		pieces[n_pieces].start = k.start;
		pieces[n_pieces].end = k.end;
		strcpy(pieces[n_pieces].heading, k.heading);
		n_pieces++;
	}
	cr_assert_eq(covered, n);
	cr_assert_not(chunker_next(&c, &k), "the end is the end");
}

static void
cut_text(const char *p, size_t max, size_t overlap, bool has_headings)
{
	cut(p, strlen(p), max, overlap, has_headings);
}

static void
expect_piece(const char *p, size_t i, const char *want)
{
	cr_assert_lt(i, n_pieces);
	size_t n = pieces[i].end - pieces[i].start;
	cr_expect(
	    n == strlen(want) && memcmp(p + pieces[i].start, want, n) == 0,
	    "piece %zu is \"%.*s\"", i, (int)n, p + pieces[i].start);
}

Test(chunker, nothing_gives_nothing)
{
	cut_text("", 16, 0, true);
	cr_expect_eq(n_pieces, 0u);
}

Test(chunker, what_fits_stays_whole)
{
	static const char *const texts[] = {"a", " ", "\n\n\n",
	    "One. Two.\n\nThree.", "0123456789abcdef", "# Only a heading"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		cut_text(texts[i], 64, 8, true);
		cr_expect_eq(n_pieces, 1u, "%s", texts[i]);
		expect_piece(texts[i], 0, texts[i]);
	}
}

Test(chunker, the_best_place_of_the_second_half_is_the_cut)
{
	static const struct {
		const char *text;
		const char *first, *second;
	} rows[] = {
	    {"aaa bbb ccc ddd\n\neee fff ggg hhh", "aaa bbb ccc ddd\n\n",
		"eee fff ggg hhh"},
	    {"aaa bbb ccc dd. eee fff ggg hhh", "aaa bbb ccc dd. ",
		"eee fff ggg hhh"},
	    {"aaa bbb ccc ddd\neee fff ggg hhh", "aaa bbb ccc ddd\n",
		"eee fff ggg hhh"},
	    {"aaa bbb ccc ddd eee fff ggg hhh", "aaa bbb ccc ddd eee ",
		"fff ggg hhh"},
	    {"aaaabbbbccccddddeeeeffffgggghhhh", "aaaabbbbccccddddeeee",
		"ffffgggghhhh"},
	    /* A stop inside of a number or a name ends nothing. */
	    {"aaa bbb 3.14159 c.d eee fff", "aaa bbb 3.14159 c.d ", "eee fff"},
	    /* A paragraph in the first half is too early. */
	    {"aaa\n\nbbb ccc ddd eee fff ggg", "aaa\n\nbbb ccc ddd ",
		"eee fff ggg"},
	    {"aaa bbb \"cc dd.\" eee fff ggg", "aaa bbb \"cc dd.\" ",
		"eee fff ggg"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		cut_text(rows[i].text, 20, 0, false);
		cr_expect_eq(n_pieces, 2u, "%s", rows[i].text);
		expect_piece(rows[i].text, 0, rows[i].first);
		expect_piece(rows[i].text, 1, rows[i].second);
	}
}

Test(chunker, sentences_without_spaces_end_too)
{
	static const char text[] =
	    "\xe4\xbb\x8a\xe5\xa4\xa9\xe5\xa4\xa9\xe6\xb0\x94\xe3\x80\x82"
	    "\xe6\x98\x8e\xe5\xa4\xa9\xe4\xb8\x8b\xe9\x9b\xa8\xe3\x80\x82";
	cut_text(text, 20, 0, false);
	cr_assert_eq(n_pieces, 2u);
	cr_expect_eq(pieces[0].end, 15u);
}

Test(chunker, few_marks_close_a_sentence)
{
	cut_text("One two. \"Three (four.)\" Five six seven.", 32, 0, false);
	expect_piece("One two. \"Three (four.)\" Five six seven.", 0,
	    "One two. \"Three (four.)\" ");
	/* A row of them, each judged by all before it, was quadratic. */
	cut_text("One. Two three.)))))))))))) Fourfive", 32, 0, false);
	expect_piece("One. Two three.)))))))))))) Fourfive", 0,
	    "One. Two three.)))))))))))) ");
}

Test(chunker, a_chunk_begins_with_the_end_of_the_one_before)
{
	static const char text[] =
	    "The first sentence. A second. The third one "
	    "is here. And a fourth one.";
	cut_text(text, 32, 12, false);
	expect_piece(text, 0, "The first sentence. A second. ");
	expect_piece(text, 1, "A second. The third one is ");
	cr_expect_gt(n_pieces, 2u);
}

Test(chunker, headings_part_and_name_the_sections)
{
	static const char text[] = "Before.\n"
				   "# Book\n"
				   "\n"
				   "## One ##\n"
				   "Text one.\n"
				   "### Deep\n"
				   "Text deep.\n"
				   "## Two\n"
				   "Text two.\n"
				   "```\n"
				   "# no heading\n"
				   "```\n"
				   "#also none\n"
				   "####### nor this\n"
				   "   # Other\n"
				   "End.";
	static const struct {
		const char *heading;
		const char *text;
	} rows[] = {
	    {"", "Before.\n"},
	    {"Book > One", "# Book\n\n## One ##\nText one.\n"},
	    {"Book > One > Deep", "### Deep\nText deep.\n"},
	    {"Book > Two", "## Two\nText two.\n```\n# no heading\n```\n"
			   "#also none\n####### nor this\n"},
	    {"Other", "   # Other\nEnd."},
	};
	cut_text(text, 200, 40, true);
	cr_assert_eq(n_pieces, sizeof(rows) / sizeof(*rows));
	for (size_t i = 0; i < n_pieces; i++) {
		cr_expect_str_eq(pieces[i].heading, rows[i].heading);
		expect_piece(text, i, rows[i].text);
	}
}

Test(chunker, a_heading_is_read_as_markdown_has_it)
{
	static const struct {
		const char *line, *want;
	} rows[] = {
	    {"# Plain", "Plain"},
	    {"###### Six", "Six"},
	    {"#\tTab", "Tab"},
	    {"# Closed #", "Closed"},
	    {"# Closed ###  \r", "Closed"},
	    {"## C#", "C#"},
	    {"# ", ""},
	    {"#", ""},
	    {"# ##", ""},
	    {"####### Seven", ""},
	    {"#NoSpace", ""},
	    {"    # Code", ""},
	    {"\\# Escaped", ""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[64];
		snprintf(text, sizeof(text), "%s\nText.\n", rows[i].line);
		cut_text(text, 64, 0, true);
		cr_assert_eq(n_pieces, 1u);
		cr_expect_str_eq(
		    pieces[0].heading, rows[i].want, "%s", rows[i].line);
	}
}

Test(chunker, plain_text_has_no_headings)
{
	cut_text("# One\ntext\n# Two\ntext\n", 64, 0, false);
	cr_assert_eq(n_pieces, 1u);
	cr_expect_str_eq(pieces[0].heading, "");
}

Test(chunker, an_overlap_stays_within_its_section)
{
	static const char text[] = "# A\nSome text here. More of it here.\n"
				   "# B\nSome other text. And more again.\n";
	cut_text(text, 32, 15, true);
	for (size_t i = 0; i < n_pieces; i++) {
		const char *b = strstr(text, "# B");
		bool is_b = pieces[i].end > (size_t)(b - text);
		cr_expect_str_eq(pieces[i].heading, is_b ? "B" : "A");
		if (is_b)
			cr_expect_geq(pieces[i].start, (size_t)(b - text));
	}
}

Test(chunker, a_long_path_is_cut_at_a_character)
{
	struct buf text = {0};
	for (int level = 1; level <= 6; level++) {
		for (int i = 0; i < level; i++)
			buf_putc(&text, '#');
		buf_putc(&text, ' ');
		for (int i = 0; i < 101; i++)
			buf_puts(&text, "\xc3\xa9");
		buf_putc(&text, '\n');
	}
	buf_puts(&text, "Text.");
	cut(text.p, text.n, 4000, 0, true);
	cr_assert_eq(n_pieces, 1u);
	size_t n = strlen(pieces[0].heading);
	cr_expect_geq(n, (size_t)CHUNK_HEADING_BYTES - 4);
	cr_expect(text_is_clean(pieces[0].heading, n));
	buf_free(&text);
}

/* Every text over a small alphabet, every limit: the promises hold. */
Test(chunker, the_promises_hold_for_all_short_texts)
{
	static const char *const parts[] = {
	    "a", " ", "\n", ". ", "# ", "\xc3\xa9", "```\n"};
	enum { PARTS = 7, LENGTH = 6 };
	long count = 1;
	for (int i = 0; i < LENGTH; i++)
		count *= PARTS;
	for (long which = 0; which < count; which++) {
		struct buf text = {0};
		/* Three times: longer than the limit. */
		for (int times = 0; times < 3; times++) {
			long rest = which;
			for (int i = 0; i < LENGTH; i++, rest /= PARTS)
				buf_puts(&text, parts[rest % PARTS]);
		}
		cut(text.p, text.n, 16, 7, true);
		cut(text.p, text.n, 17, 0, false);
		buf_free(&text);
	}
}

Test(chunker, the_promises_hold_for_long_texts)
{
	static const char *const parts[] = {"word ", "Sentence end. ", "\n\n",
	    "\n", "# Heading\n", "### Deeper\n", "\xe4\xbb\x8a\xe5\xa4\xa9",
	    "\xf0\x9f\x98\x80", "                              ",
	    "averylongwordwithoutanyspacesinitwhichgoesonandon", "~~~\n"};
	struct buf text = {0};
	unsigned seed = 1;
	while (text.n < 200000) {
		seed = seed * 1103515245u + 12345u;
		buf_puts(&text,
		    parts[(seed >> 16) % (sizeof(parts) / sizeof(*parts))]);
	}
	cut(text.p, text.n, CHUNK_BYTES, CHUNK_OVERLAP, true);
	cr_expect_gt(n_pieces, 100u);
	cut(text.p, text.n, CHUNK_BYTES, CHUNK_OVERLAP, false);
	cr_expect_lt(n_pieces, 300u, "%zu chunks", n_pieces);
	cut(text.p, text.n, 100, 49, true);
	buf_free(&text);
}

Test(chunker, the_same_text_gives_the_same_chunks)
{
	static const char text[] =
	    "# A\nOne two three four five six seven eight nine ten.\n"
	    "Eleven twelve thirteen fourteen.\n\nFifteen sixteen.";
	static struct piece before[CHUNKS_MAX];
	cut_text(text, 32, 10, true);
	size_t n = n_pieces;
	memcpy(before, pieces, n * sizeof(*pieces));
	memset(pieces, 0, sizeof(pieces));
	cut_text(text, 32, 10, true);
	cr_assert_eq(n, n_pieces);
	for (size_t i = 0; i < n; i++) {
		cr_expect_eq(before[i].start, pieces[i].start);
		cr_expect_eq(before[i].end, pieces[i].end);
		cr_expect_str_eq(before[i].heading, pieces[i].heading);
	}
}
