/*
 * Text from outside: UTF-8 at its edges, usernames, base64url.
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/text.h"

#define FFFD "\xef\xbf\xbd"

/* Bytes, whether they are clean, and what append_clean makes of them. */
static const struct utf8 {
	const char *in;
	size_t n;
	const char *want; /* NULL: the same */
} rows[] = {
#define GOOD(s)                        \
	{                              \
		s, sizeof(s) - 1, NULL \
	}
#define BAD(s, want)                   \
	{                              \
		s, sizeof(s) - 1, want \
	}
    GOOD(""),
    GOOD("a"),
    GOOD("\x7f"),
    GOOD("\xc2\x80"),
    GOOD("\xdf\xbf"),
    GOOD("\xe0\xa0\x80"),
    GOOD("\xed\x9f\xbf"),
    GOOD("\xee\x80\x80"),
    GOOD("\xef\xbf\xbf"),
    GOOD("\xf0\x90\x80\x80"),
    GOOD("\xf4\x8f\xbf\xbf"),
    GOOD("\xef\xbb\xbfx"), /* a byte order mark is a character */
    GOOD("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
    BAD("\0", ""),
    BAD("a\0b\0", "ab"),
    BAD("\0\0\0", ""),
    BAD("\x80", FFFD),
    BAD("\xbf\x80", FFFD FFFD),
    BAD("\xc0\x80", FFFD FFFD), /* overlong */
    BAD("\xc1\xbf", FFFD FFFD),
    BAD("\xe0\x80\x80", FFFD FFFD FFFD),
    BAD("\xe0\x9f\xbf", FFFD FFFD FFFD),
    BAD("\xf0\x80\x80\x80", FFFD FFFD FFFD FFFD),
    BAD("\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD),
    BAD("\xed\xa0\x80", FFFD FFFD FFFD), /* surrogates */
    BAD("\xed\xbf\xbf", FFFD FFFD FFFD),
    BAD("\xed\xa0\xbd\xed\xb8\x80", FFFD FFFD FFFD FFFD FFFD FFFD),
    BAD("\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD), /* beyond U+10FFFF */
    BAD("\xf5\x80", FFFD FFFD),
    BAD("\xfe\xff", FFFD FFFD),
    BAD("\xc3", FFFD), /* cut */
    BAD("\xe2\x82", FFFD),
    BAD("\xf0\x9f\x98", FFFD),
    BAD("\xf0\x9f", FFFD),
    BAD("\xc3x", FFFD "x"), /* broken off */
    BAD("\xe2\x82x", FFFD "x"),
    BAD("\xf0\x9f\x98x", FFFD "x"),
    BAD("\xe2\x82\xe2\x82\xac", FFFD "\xe2\x82\xac"),
    BAD("\xc3\0\xa9", FFFD FFFD),
    BAD("a\0\xff"
	"b",
	"a" FFFD "b"),
    /* the example of the Unicode standard, table 3-8 and 3-11 */
    BAD("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41",
	FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A"),
    BAD("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", FFFD FFFD FFFD FFFD "A"),
};
#define N_ROWS (sizeof(rows) / sizeof(*rows))

static char *
cleaned(const char *p, size_t n)
{
	struct buf b = {0};
	text_append_clean(&b, p, n);
	return buf_take(&b);
}

Test(text, knows_clean_utf8)
{
	for (size_t i = 0; i < N_ROWS; i++)
		cr_expect_eq(text_is_clean(rows[i].in, rows[i].n),
		    rows[i].want == NULL, "row %zu", i);
	cr_expect(text_is_clean(NULL, 0));
}

Test(text, replaces_each_maximal_subpart_and_drops_nul)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		char *got = cleaned(rows[i].in, rows[i].n);
		cr_expect_str_eq(got, rows[i].want ? rows[i].want : rows[i].in,
		    "row %zu", i);
		free(got);
	}
}

Test(text, what_was_cleaned_is_clean_whatever_it_was)
{
	unsigned char s[12];
	for (int i = 0; i < 20000; i++) {
		/* Mostly bytes that mean something to UTF-8. */
		static const unsigned char some[] = {0, 'a', 0x80, 0x9f, 0xa0,
		    0xbf, 0xc2, 0xe0, 0xed, 0xf0, 0xf4, 0xff};
		size_t n = (size_t)i % (sizeof(s) + 1);
		randombytes_buf(s, sizeof(s));
		for (size_t k = 0; k < n; k++)
			s[k] = some[s[k] % sizeof(some)];
		char *got = cleaned((char *)s, n);
		cr_assert(text_is_clean(got, strlen(got)));
		char *again = cleaned(got, strlen(got));
		cr_assert_str_eq(got, again);
		free(got);
		free(again);
	}
}

Test(text, counts_characters)
{
	cr_expect_eq(text_length(NULL, 0), 0);
	cr_expect_eq(text_length("abc", 3), 3);
	cr_expect_eq(
	    text_length("h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10), 4);
}

Test(text, knows_a_sequence_that_is_not_complete_yet)
{
	static const struct {
		const char *in;
		size_t want;
	} tails[] = {
	    {"", 0},
	    {"a", 0},
	    {"\xc3\xa9", 0},
	    {"a\xc3", 1},
	    {"a\xe2", 1},
	    {"a\xe2\x82", 2},
	    {"a\xe2\x82\xac", 0},
	    {"\xf0", 1},
	    {"\xf0\x9f", 2},
	    {"\xf0\x9f\x98", 3},
	    {"\xf0\x9f\x98\x80", 0},
	    {"\xf0\x9f\x98\x80\xf0\x9f", 2},
	    /* never to be completed */
	    {"\x80", 0},
	    {"\x80\x80\x80\x80", 0},
	    {"\xc0", 0},
	    {"\xc1", 0},
	    {"\xf5", 0},
	    {"\xff", 0},
	    {"\xe0\x80", 0},
	    {"\xed\xa0", 0},
	    {"\xf0\x8f", 0},
	    {"\xf4\x90", 0},
	    {"\xc3\xa9\xa9", 0},
	    {"\xe0\xa0", 2},
	    {"\xed\x9f", 2},
	    {"\xf4\x8f", 2},
	    {"\xe2\x82\xac\x82", 0},
	};
	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++)
		cr_expect_eq(
		    text_incomplete_tail(tails[i].in, strlen(tails[i].in)),
		    tails[i].want, "row %zu", i);
}

Test(text, a_text_may_arrive_in_any_two_pieces)
{
	const char s[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
	size_t n = sizeof(s) - 1;
	for (size_t cut = 0; cut <= n; cut++) {
		size_t keep = cut - text_incomplete_tail(s, cut);
		cr_expect(text_is_clean(s, keep), "cut at %zu", cut);
		cr_expect(text_is_clean(s + keep, n - keep), "at %zu", cut);
		cr_expect_lt(cut - keep, 4);
	}
}

Test(text, a_prefix_does_not_cut_a_character)
{
	const char s[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
	static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
	for (size_t max = 0; max < 12; max++)
		cr_expect_eq(text_prefix(s, 10, max), want[max], "%zu", max);
	cr_expect_eq(text_prefix(s, 4, 100), 3, "it is cut already");
	cr_expect_eq(text_prefix("\x80\x80\x80\x80\x80", 5, 4), 4,
	    "what is not UTF-8 is cut anywhere");
}

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16
/* e and a combining acute: 3 bytes that compose to 2 */
#define E8          \
	"e\xcc\x81" \
	"e\xcc\x81" \
	"e\xcc\x81" \
	"e\xcc\x81" \
	"e\xcc\x81" \
	"e\xcc\x81" \
	"e\xcc\x81" \
	"e\xcc\x81"
#define E64 E8 E8 E8 E8 E8 E8 E8 E8

Test(text, normalises_usernames)
{
	static const struct {
		const char *in, *want;
	} names[] = {
	    {"alice", "alice"},
	    {"ALICE", "alice"},
	    {" \t\r\nAlice\n ", "alice"},
	    {"\xc2\xa0\xe2\x80\x83x\xe3\x80\x80", "x"}, /* wide spaces */
	    {"a-b_c.d@e", "a-b_c.d@e"},
	    {"\xc3\x85ngstr\xc3\xb6m", "\xc3\xa5ngstr\xc3\xb6m"},
	    {"A\xcc\x8angstro\xcc\x88m", "\xc3\xa5ngstr\xc3\xb6m"},
	    {"\xe2\x84\xabx", "\xc3\xa5x"}, /* the unit Angstrom */
	    {"Stra\xc3\x9f"
	     "e",
		"strasse"}, /* full folding */
	    {"\xce\xa3\xce\xaf\xcf\x82", "\xcf\x83\xce\xaf\xcf\x83"},
	    {"\xe1\xba\x96", "\xe1\xba\x96"}, /* folds to two, composed */
	    {"\xe1\xba\x9e", "ss"},
	    {"\xef\xac\x80", "ff"},                   /* a ligature folds */
	    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"}, /* a symbol is fine */
	    {A64, A64},
	    {" " A64 " ", A64},
	};
	struct arena *a = arena_new(65536);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *got = "untouched", *again = NULL;
		cr_expect_eq(
		    text_username(a, names[i].in, &got), OK, "%s", names[i].in);
		cr_expect_str_eq(got, names[i].want);
		cr_expect_eq(text_username(a, got, &again), OK);
		cr_expect_str_eq(again, got, "the second time changes nothing");
	}
	const char *got = NULL;
	cr_expect_eq(text_username(a, E64, &got), OK, "counted composed");
	cr_expect_eq(text_length(got, strlen(got)), 64);
	arena_free(a);
}

Test(text, refuses_usernames)
{
	static const char *const names[] = {
	    "",
	    " ",
	    "\t\n\xc2\xa0",
	    "a b",
	    "a\xc2\xa0"
	    "b", /* no-break space */
	    "a\xe2\x80\xa8"
	    "b", /* line separator */
	    "a\tb",
	    "a\x01",
	    "a\x7f",
	    "a\xc2\x85"
	    "b",             /* C1 */
	    "a\xe2\x80\x8b", /* zero width space: format */
	    "a\xe2\x80\xae"
	    "b", /* right-to-left override */
	    "\xef\xbb\xbf"
	    "a",             /* byte order mark */
	    "a\xee\x80\x80", /* private use */
	    "a\xf3\xb0\x80\x80",
	    "a\xcd\xb8",     /* U+0378, not assigned */
	    "a\xef\xbf\xbf", /* a noncharacter */
	    "a\xff",         /* not UTF-8 */
	    "a\xed\xa0\x80",
	    "a\xc0\x80",
	    A64 "a",
	    E64 "e",
	    A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64 A64,
	};
	struct arena *a = arena_new(65536);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *got = NULL;
		cr_expect_eq(text_username(a, names[i], &got),
		    ERR_INVALID_FIELD, "row %zu", i);
		cr_expect_null(got);
	}
	arena_free(a);
}

Test(text, names_of_one_character_are_stable)
{
	/* Every assigned character below U+20000: folding twice is folding
	 * once, or a name could be registered that nobody can sign in as. */
	struct arena *a = arena_new(65536);
	for (ucs4_t c = 1; c < 0x20000; c++) {
		char s[8];
		const char *once, *twice;
		int n = u8_uctomb((uint8_t *)s, c, 6);
		if (n < 0)
			continue;
		s[n] = '\0';
		if (text_username(a, s, &once) == OK) {
			cr_assert_eq(text_username(a, once, &twice), OK,
			    "U+%04X", (unsigned)c);
			cr_assert_str_eq(once, twice, "U+%04X", (unsigned)c);
		}
		arena_reset(a, 65536);
	}
	arena_free(a);
}

Test(text, a_username_beyond_the_arena_is_too_large)
{
	struct arena *a = arena_new(3);
	const char *got = NULL;
	cr_expect_eq(text_username(a, "abcd", &got), ERR_TOO_LARGE);
	cr_expect_null(got);
	arena_free(a);
}

Test(text, base64url_goes_there_and_back)
{
	struct arena *a = arena_new(65536);
	unsigned char in[70], out[70];
	for (size_t n = 0; n <= sizeof(in); n++) {
		randombytes_buf(in, sizeof(in));
		char *s = text_base64url(a, in, n);
		cr_assert_not_null(s);
		cr_assert_eq(strlen(s), (n * 4 + 2) / 3);
		cr_assert_null(strpbrk(s, "+/="));
		cr_assert(text_from_base64url(s, strlen(s), out, n));
		cr_assert_eq(memcmp(in, out, n), 0);
		cr_assert_not(text_from_base64url(s, strlen(s), out, n + 1));
		if (n)
			cr_assert_not(
			    text_from_base64url(s, strlen(s), out, n - 1));
	}
	arena_free(a);
	a = arena_new(4);
	cr_expect_null(text_base64url(a, in, 3));
	cr_expect_null(text_base64url(a, in, (size_t)-1));
	cr_expect_str_eq(
	    text_base64url(a, (const unsigned char *)"a", 1), "YQ");
	arena_free(a);
}

Test(text, only_canonical_base64url_is_decoded)
{
	static const struct {
		const char *in;
		size_t n;
		bool want;
	} codes[] = {
	    {"", 0, true},
	    {"AA", 1, true},
	    {"AB", 1, false}, /* spare bits */
	    {"AP", 1, false},
	    {"AQ", 1, true},
	    {"AAA", 2, true},
	    {"AAB", 2, false},
	    {"AAE", 2, true},
	    {"AAAA", 3, true},
	    {"-_-_", 3, true},
	    {"+/+/", 3, false},
	    {"AA==", 1, false},
	    {"AAA=", 2, false},
	    {"A", 0, false},
	    {"AAAAA", 3, false},
	    {"AA ", 1, false},
	    {" AA", 1, false},
	    {"A\nA", 1, false},
	    {"AA\n", 1, false},
	    {"A.", 1, false},
	    {"\xc3\xa9", 1, false},
	};
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		unsigned char out[8];
		cr_expect_eq(text_from_base64url(codes[i].in,
				 strlen(codes[i].in), out, codes[i].n),
		    codes[i].want, "%s", codes[i].in);
	}
	unsigned char out[8];
	cr_expect_not(text_from_base64url("AA\0A", 4, out, 3), "a NUL");
}

Test(text, exactly_one_text_decodes_to_each_value)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn"
				      "opqrstuvwxyz0123456789-_";
	int seen[256] = {0};
	for (int i = 0; i < 64; i++) {
		for (int k = 0; k < 64; k++) {
			char s[] = {letters[i], letters[k]};
			unsigned char c;
			if (text_from_base64url(s, 2, &c, 1))
				seen[c]++;
		}
	}
	for (int c = 0; c < 256; c++)
		cr_assert_eq(seen[c], 1);
}

Test(text, compares_secrets)
{
	static const struct {
		const char *a, *b;
		bool same;
	} pairs[] = {{"", "", true}, {"a", "a", true}, {"a", "b", false},
	    {"a", "", false}, {"", "a", false}, {"abc", "abcd", false},
	    {"abcd", "abce", false}, {"xbcd", "abcd", false}};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		cr_expect_eq(text_compare_secret(pairs[i].a, pairs[i].b) == 0,
		    pairs[i].same, "row %zu", i);
}

Test(text, days_are_those_of_the_calendar)
{
	static const struct {
		const char *s;
		bool is_day;
		int month_days;
	} days[] = {
	    {"2026-01-31", true, 31},
	    {"2026-02-28", true, 28},
	    {"2026-02-29", false, 28},
	    {"2024-02-29", true, 29},
	    {"1900-02-29", false, 28},
	    {"2000-02-29", true, 29},
	    {"2026-04-31", false, 30},
	    {"2026-11-30", true, 30},
	    {"2026-12-31", true, 31},
	    {"9999-12-31", true, 31},
	    {"0001-01-01", true, 31},
	    {"0000-01-01", false, 0},
	    {"2026-13-01", false, 0},
	    {"2026-00-01", false, 0},
	    {"2026-01-00", false, 31},
	    {"2026-1-31", false, 0},
	    {"2026-01-3", false, 31},
	    {"2026-01-31 ", false, 31},
	    {"2026-01-31T00:00:00Z", false, 31},
	    {"2026/01/31", false, 0},
	    {"2026-01/31", false, 31},
	    {"x026-01-31", false, 0},
	    {"", false, 0},
	};
	for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
		cr_expect_eq(
		    text_is_day(days[i].s), days[i].is_day, "%s", days[i].s);
		cr_expect_eq(text_month_days(days[i].s), days[i].month_days,
		    "%s", days[i].s);
	}
}

Test(text, mend_leaves_out_what_was_cut)
{
	static const struct {
		const char *in, *want;
	} cut[] = {
	    {"", ""},
	    {"plain \xc3\xa4", "plain \xc3\xa4"},
	    {"cut \xc3", "cut "},
	    {"cut \xe2\x82: more", "cut : more"},
	    {"\xf0\x9f\x98 \xf0\x9f\x98\x80\xf0\x9f", " \xf0\x9f\x98\x80"},
	    {"\xff\xfe\x80x", "x"},
	};
	for (size_t i = 0; i < sizeof(cut) / sizeof(*cut); i++) {
		char s[64];
		(void)snprintf(s, sizeof(s), "%s", cut[i].in);
		text_mend(s);
		cr_expect_str_eq(s, cut[i].want);
	}
}
