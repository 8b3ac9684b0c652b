/*
 * The walk over JSON: which texts it takes, what it finds in them, and that
 * its strings decode as json-c's do.
 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "model/json_scan.h"

static bool
is_value(const char *text)
{
	return json_scan_is_whole(text, strlen(text));
}

Test(json_scan, takes_every_kind_of_value)
{
	static const char *const good[] = {"{}", "[]", "\"\"", "0", "-1.5e+3",
	    "true", "false", "null", " [ 1 , 2 ] ", "{\"a\":{\"b\":[{}]}}",
	    "\t\r\n{\"a\" : [ ] , \"b\":\"c\"}", "\"\\u00e9\\n\\\"\\\\\\/\"",
	    "\"raw \xff \x01 bytes\"", "[[],[[]],{\"\":[]}]"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect(is_value(good[i]), "refused: %s", good[i]);
}

Test(json_scan, refuses_what_is_not_one_value)
{
	static const char *const bad[] = {"", " ", "{", "}", "[", "]", "{]",
	    "[}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{,}", "{\"a\"}",
	    "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{a:1}", "{1:1}",
	    "\"", "\"a", "\"\\", "\"\\\"", "\"\\x\"", "\"\\u12\"",
	    "\"\\u12g4\"", "'a'", "tru", "nul", "TRUE", "NaN", "+1", ".5",
	    "1 1", "{} {}", "[] ]", "// c\n1", "\xef\xbb\xbf{}", "{\"a\" 1}",
	    "[{]}", "{\"a\":[}]"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(is_value(bad[i]), "taken: %s", bad[i]);
}

Test(json_scan, refuses_a_nul_outside_strings)
{
	struct json_scan s;
	struct json_span span;

	json_scan_init(&s, "[1\0]", 4);
	cr_expect_not(json_scan_value(&s, &span));
	json_scan_init(&s, "1\0", 2);
	cr_expect(json_scan_value(&s, &span));
	cr_expect_not(json_scan_end(&s));
	json_scan_init(&s, "\"\\\0\"", 4);
	cr_expect_not(json_scan_value(&s, &span));
}

Test(json_scan, a_whole_text_ends_where_it_is_said_to)
{
	cr_expect(json_scan_is_whole("[1] 2", 3));
	cr_expect(json_scan_is_whole("[1] 2", 4));
	cr_expect_not(json_scan_is_whole("[1] 2", 5));
	cr_expect_not(json_scan_is_whole("[1]", 2));
	cr_expect_not(json_scan_is_whole("1\0", 2));
	cr_expect_not(json_scan_is_whole("", 0));
}

Test(json_scan, is_bounded_in_depth)
{
	char text[2 * JSON_SCAN_DEPTH + 3];
	int depths[] = {JSON_SCAN_DEPTH, JSON_SCAN_DEPTH + 1};

	for (int i = 0; i < 2; i++) {
		memset(text, '[', (size_t)depths[i]);
		memset(text + depths[i], ']', (size_t)depths[i]);
		text[2 * depths[i]] = '\0';
		cr_expect_eq(is_value(text), i == 0);
	}
}

Test(json_scan, remembers_the_kind_of_every_open_container)
{
	struct buf text = {0};

	for (int i = 0; i < JSON_SCAN_DEPTH / 2; i++)
		buf_puts(&text, "{\"a\":[");
	for (int i = 0; i < JSON_SCAN_DEPTH / 2; i++)
		buf_puts(&text, "]}");
	buf_putc(&text, '\0');
	cr_expect(is_value(text.p));
	buf_free(&text);
}

Test(json_scan, walks_members_and_elements)
{
	static const char text[] =
	    "{\"a\":1,\"b\":[\"x\",\"y\"],\"c\":{\"d\":2},\"e\":\"z\"}";
	struct json_scan s;
	struct json_span name, span;
	struct buf got = {0};

	json_scan_init(&s, text, strlen(text));
	cr_assert(json_scan_enter(&s, '{'));
	while (json_scan_member(&s, &name)) {
		buf_add(&got, name.p, name.n);
		if (!json_scan_enter(&s, '[')) {
			cr_assert(json_scan_value(&s, &span));
			buf_add(&got, span.p, span.n);
			continue;
		}
		while (json_scan_element(&s)) {
			span = json_scan_string(&s);
			buf_add(&got, span.p, span.n);
		}
	}
	cr_expect(json_scan_end(&s));
	buf_putc(&got, '\0');
	cr_expect_str_eq(got.p, "a1bxyc{\"d\":2}e\"z\"");
	buf_free(&got);
}

Test(json_scan, stops_at_a_fault_and_stays_there)
{
	static const char text[] = "{\"a\":1,\"b\":?,\"c\":3}";
	struct json_scan s;
	struct json_span name, span;
	int members = 0;

	json_scan_init(&s, text, strlen(text));
	cr_assert(json_scan_enter(&s, '{'));
	while (json_scan_member(&s, &name)) {
		members++;
		(void)json_scan_value(&s, &span);
	}
	cr_expect_eq(members, 2);
	cr_expect_not(json_scan_member(&s, &name));
	cr_expect_not(json_scan_enter(&s, '{'));
	cr_expect_null(json_scan_string(&s).p);
	cr_expect_eq(json_scan_count(&s, 9), -1);
	cr_expect_not(json_scan_end(&s));
}

Test(json_scan, reads_counts_and_refuses_absurd_ones)
{
	static const struct {
		const char *text;
		int64_t want;
	} rows[] = {{"0", 0}, {"12", 12}, {"1000", 1000}, {"1001", -1},
	    {"12.0", 12}, {"1e3", 1000}, {"12.5", -1}, {"-1", -1}, {"-0", 0},
	    {"null", -1}, {"\"12\"", -1}, {"{}", -1}, {"1e400", -1},
	    {"99999999999999999999999999999999999999", -1}, {"1-1", -1},
	    {"--1", -1}, {"1e", -1}};
	struct json_scan s;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_scan_init(&s, rows[i].text, strlen(rows[i].text));
		cr_expect_eq(json_scan_count(&s, 1000), rows[i].want, "%s",
		    rows[i].text);
		cr_expect(json_scan_end(&s));
	}
}

/* Decodes the inside of a string. */
static size_t
decode(const char *inside, char *out, size_t room)
{
	struct json_span span = {inside, strlen(inside)};

	return json_span_decode(span, out, room);
}

Test(json_scan, decodes_every_escape)
{
	static const struct {
		const char *in, *want;
	} rows[] = {{"", ""}, {"abc", "abc"},
	    {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
	    {"\\u0041\\u00e9\\u20AC", "A\xc3\xa9\xe2\x82\xac"},
	    {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
	    {"\\uD800\\uDC00\\uDBFF\\uDFFF",
		"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
	    {"\\ud83d", "\xef\xbf\xbd"}, {"\\ude00", "\xef\xbf\xbd"},
	    {"\\ud83dx", "\xef\xbf\xbdx"}, {"\\ud83d\\n", "\xef\xbf\xbd\n"},
	    {"\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
	    {"\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd"},

	    {"\\uffff\\ufffe", "\xef\xbf\xbf\xef\xbf\xbe"},
	    {"raw \xff", "raw \xff"}};
	char out[64];
	size_t n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = decode(rows[i].in, out, sizeof(out));
		cr_expect(n == strlen(rows[i].want) &&
			      memcmp(out, rows[i].want, n) == 0,
		    "%s gave %.*s", rows[i].in, (int)n, out);
	}
}

Test(json_scan, decodes_nul_as_any_other)
{
	char out[16];

	cr_expect_eq(decode("a\\u0000b\\ud83d\\u0000", out, sizeof(out)), 7);
	cr_expect_arr_eq(out, "a\0b\xef\xbf\xbd\0", 7);
}

Test(json_scan, never_decodes_beyond_the_room)
{
	static const char in[] = "\\ud83d\\ud83d\\ud83dx\\u20ac\\ud83d\\ude00ab"
				 "cdefghijklmnopq\\ud83d";
	char out[64];

	for (size_t room = 0; room <= sizeof(out); room++) {
		memset(out, '#', sizeof(out));
		cr_expect_leq(decode(in, out, room), room);
		for (size_t i = room; i < sizeof(out); i++)
			cr_expect_eq(
			    out[i], '#', "room %zu, byte %zu", room, i);
	}
}

Test(json_scan, decodes_every_unit_as_json_c_does)
{
	char text[16], out[16];
	struct json_object *o;

	for (unsigned unit = 1; unit < 0x10000; unit++) {
		(void)snprintf(text, sizeof(text), "\"\\u%04x\"", unit);
		o = json_tokener_parse(text);
		cr_assert_not_null(o);
		text[7] = '\0';
		out[decode(text + 1, out, sizeof(out))] = '\0';
		cr_expect_str_eq(
		    out, json_object_get_string(o), "U+%04X", unit);
		json_object_put(o);
	}
}
