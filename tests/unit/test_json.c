/*
 * Strict parsing: everything that Postgres would refuse as JSONB, or that
 * would come back changed, is refused here. Then how values are written.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

static const char *
parsed(const char *p, size_t n, char out[static 256])
{
	struct json_object *o = NULL;
	if (json_parse_any(p, n, 32, &o) != OK) {
		cr_expect_null(o, "written only on success");
		return NULL;
	}
	(void)snprintf(out, 256, "%s", json_text(o, NULL));
	json_object_put(o);
	return out;
}

Test(json, takes_and_writes_back)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"{}", "{}"},
	    {" \t\r\n{ } \n", "{}"},
	    {"[]", "[]"},
	    {"null", "null"},
	    {"true", "true"},
	    {" false ", "false"},
	    {"0", "0"},
	    {"12", "12"},
	    {"-12 ", "-12"},
	    {"1.5", "1.5"},
	    {"1.50", "1.50"},
	    {"[1e2,1E+2,1e-9,-0.5]", "[1e2,1E+2,1e-9,-0.5]"},
	    {"[9223372036854775807,-9223372036854775808]",
		"[9223372036854775807,-9223372036854775808]"},
	    {"[18446744073709551615]", "[18446744073709551615]"},
	    {"\"\"", "\"\""},
	    {"\"a/b\"", "\"a/b\""},
	    {"\"a\\/b\"", "\"a/b\""},
	    {"\"\\\\u0000\"", "\"\\\\u0000\""}, /* a backslash, then text */
	    {"\"\\u0001\\n\\\"\"", "\"\\u0001\\n\\\"\""},
	    {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
	    {"\"\\ud800\"", "\"\xef\xbf\xbd\""}, /* a lone surrogate */
	    {"\"\\ude00x\"", "\"\xef\xbf\xbdx\""},
	    {"{\"a\":[{\"b\":null}]}", "{\"a\":[{\"b\":null}]}"},
	    {"\"N I 01 1. '\"", "\"N I 01 1. '\""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char out[256];
		const char *got = parsed(rows[i].in, strlen(rows[i].in), out);
		cr_assert_not_null(got, "%s", rows[i].in);
		cr_expect_str_eq(got, rows[i].want);
	}
}

Test(json, refuses)
{
	static const struct {
		const char *in;
		size_t n;
	} rows[] = {
#define R(s) {s, sizeof(s) - 1}
	    R(""),
	    R(" "),
	    R("{"),
	    R("}"),
	    R("{}}"),
	    R("{}x"),
	    R("{}{}"),
	    R("{} {}"),
	    R("[1,]"),
	    R("[,1]"),
	    R("[1,,2]"),
	    R("{\"a\":1,}"),
	    R("{,}"),
	    R("{\"a\"}"),
	    R("{\"a\" 1}"),
	    R("{a:1}"),
	    R("{'a':1}"),
	    R("{1:1}"),
	    R("[1 2]"),
	    R("nul"),
	    R("NULL"),
	    R("True"),
	    R("nan"),
	    R("tru"),
	    R("truex"),
	    R("\"abc"),
	    R("\"abc\\"),
	    R("\"abc\\\""),
	    R("\"\\x\""),
	    R("\"\\u12\""),
	    R("\"\\u12g4\""),
	    /* numbers */
	    R("[NaN]"),
	    R("[Infinity]"),
	    R("[-Infinity]"),
	    R("[01]"),
	    R("[00]"),
	    R("[-01]"),
	    R("[1.]"),
	    R("[1.e1]"),
	    R("[.5]"),
	    R("[+1]"),
	    R("[-]"),
	    R("[1e]"),
	    R("[1e+]"),
	    R("[1e5.3]"),
	    R("[0x10]"),
	    R("[1-2]"),
	    R("[--1]"),
	    R("[1a]"),
	    R("[18446744073709551616]"),
	    R("[99999999999999999999]"),
	    R("[-9223372036854775809]"),
	    R("[1e1000]"),
	    R("-"),
	    R("1."),
	    R("[0.00000000000000000000000000000000000000000000000000000000000"
	      "000001]"),
	    /* comments */
	    R("[/**/1]"),
	    R("[1]//x"),
	    R("//x\n[1]"),
	    /* NUL and controls */
	    R("\0"),
	    R("{}\0"),
	    R("\0{}"),
	    R("{}\0x"),
	    R("\"a\0b\""),
	    R("\"a\\u0000b\""),
	    R("\"\\u0000\""),
	    R("{\"a\\u0000b\":1}"),
	    R("{\"a\":[\"\\\\\\u0000\"]}"),
	    R("\"a\nb\""),
	    R("\"a\tb\""),
	    R("\"\x1f\""),
	    R("{}\v"),
	    R("\f{}"),
	    /* UTF-8 */
	    R("\"\xff\""),
	    R("\"\xc0\x80\""),
	    R("\"\xed\xa0\x80\""),
	    R("\"\xf4\x90\x80\x80\""),
	    R("\"\xe2\x82\""),
	    R("\"\xc3"),
	    R("\xef\xbb\xbf{}"),
	    R("{\"\xff\":1}"),
	    R("\xc2\xa0{}"),
#undef R
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char out[256];
		cr_expect_null(parsed(rows[i].in, rows[i].n, out),
		    "row %zu: %s", i, rows[i].in);
	}
}

Test(json, what_is_cut_anywhere_is_refused)
{
	const char s[] = "{\"a\":[1.5e3,\"x\\u00e9\\\\\",true,null],\"b\":{}}";
	size_t n = sizeof(s) - 1;
	char out[256];
	for (size_t cut = 0; cut < n; cut++) {
		/* An exact copy, so that reading beyond it is seen. */
		char *p = malloc(cut + 1);
		memcpy(p, s, cut);
		p = realloc(p, cut ? cut : 1);
		cr_expect_null(parsed(p, cut, out), "cut at %zu", cut);
		free(p);
	}
	cr_expect_not_null(parsed(s, n, out));
}

Test(json, nesting_ends_at_the_limit)
{
	for (int depth = 1; depth <= 32; depth += 31) {
		for (size_t n = 1; n < 40; n++) {
			char s[128];
			struct json_object *o = NULL;
			memset(s, '[', n);
			memset(s + n, ']', n);
			enum err e = json_parse_any(s, 2 * n, depth, &o);
			cr_expect_eq(e == OK, n <= (size_t)depth, "%zu", n);
			json_object_put(o);
		}
	}
}

Test(json, deep_nesting_costs_nothing)
{
	enum { N = 1000000 };
	char *s = malloc(N);
	struct json_object *o = NULL;
	memset(s, '[', N);
	cr_expect_eq(json_parse_any(s, N / 4, 32, &o), ERR_BAD_JSON);
	cr_expect_eq(json_parse_object(s, N / 4, &o), ERR_BAD_JSON);
	cr_expect_eq(json_parse_any(s, N, 32, &o), ERR_TOO_LARGE);
	free(s);
}

Test(json, an_object_is_demanded)
{
	static const struct {
		const char *in;
		enum err want;
	} rows[] = {{"{}", OK}, {"{\"a\":{}}", OK}, {"[]", ERR_BAD_JSON},
	    {"null", ERR_BAD_JSON}, {"1", ERR_BAD_JSON}, {"", ERR_BAD_JSON},
	    {"\"{}\"", ERR_BAD_JSON}, {"{", ERR_BAD_JSON}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct json_object *o = NULL;
		cr_expect_eq(
		    json_parse_object(rows[i].in, strlen(rows[i].in), &o),
		    rows[i].want, "%s", rows[i].in);
		cr_expect_eq(o != NULL, rows[i].want == OK);
		json_object_put(o);
	}
}

Test(json, writes_members_of_every_kind)
{
	AUTO_JSON struct json_object *o = json_object_new_object();
	json_put_text(o, "text", "a\"/\n");
	json_put_text(o, "none", NULL);
	json_put_number(o, "most", INT64_MAX);
	json_put_number(o, "least", INT64_MIN);
	json_put_flag(o, "yes", true);
	json_put_flag(o, "no", false);
	const char want[] =
	    "{\"text\":\"a\\\"/\\n\",\"none\":null,"
	    "\"most\":9223372036854775807,\"least\":-9223372036854775808,"
	    "\"yes\":true,\"no\":false}";
	size_t n = 0;
	cr_expect_str_eq(json_text(o, &n), want);
	cr_expect_eq(n, sizeof(want) - 1);
}

Test(json, raw_text_is_written_as_it_stands)
{
	AUTO_JSON struct json_object *o = json_object_new_object();
	char raw[] = "{\"a\": [1.00, null]}";
	json_put_raw(o, "raw", raw);
	json_put_raw(o, "none", NULL);
	memset(raw, 'x', sizeof(raw) - 1); /* it was copied */
	cr_expect_str_eq(json_text(o, NULL),
	    "{\"raw\":{\"a\": [1.00, null]},\"none\":null}");
	json_put_raw(o, "raw", "[]"); /* and may be replaced */
	cr_expect_str_eq(json_text(o, NULL), "{\"raw\":[],\"none\":null}");
}

Test(json, appends_to_a_buffer)
{
	AUTO_JSON struct json_object *o = json_object_new_object();
	struct buf b = {0};
	json_put_number(o, "n", 1);
	buf_puts(&b, "data: ");
	json_append(&b, o);
	cr_expect_eq(b.n, 13);
	cr_expect_eq(memcmp(b.p, "data: {\"n\":1}", 13), 0);
	buf_free(&b);
}

/* A value takes json-c hundreds of times the memory of its text. */
static enum err
parse_repeated(const char *unit, size_t n)
{
	struct buf b = {0};
	struct json_object *o = NULL;
	buf_putc(&b, '[');
	for (size_t i = 0; i < n; i++) {
		buf_puts(&b, i ? "," : "");
		buf_puts(&b, unit);
	}
	buf_putc(&b, ']');
	enum err e = json_parse_any(b.p, b.n, 32, &o);
	if (e == OK)
		json_object_put(o);
	buf_free(&b);
	return e;
}

Test(json, memory_is_bounded_before_it_is_taken)
{
	cr_expect_eq(parse_repeated("{}", 100000), OK);
	cr_expect_eq(parse_repeated("{}", 1000000), ERR_TOO_LARGE);
	cr_expect_eq(parse_repeated("[]", 1000000), ERR_TOO_LARGE);
	cr_expect_eq(parse_repeated("{\"a\":1}", 200000), ERR_TOO_LARGE);
	cr_expect_eq(parse_repeated("1", 1000000), OK);
	cr_expect_eq(parse_repeated("1", 4000000), ERR_TOO_LARGE);
	cr_expect_eq(parse_repeated("\"{[,:{[,:{[,:\"", 400000), OK);
}
