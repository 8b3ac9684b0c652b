/*
 * Reading a request: queries and JSON members, and that what is refused is
 * named.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "http/request.h"

static struct arena *arena;
static struct request req;

static void
set_up(void)
{
	arena = arena_new(65536);
	req = (struct request){.arena = arena, .query = "", .body = ""};
}

static void
tear_down(void)
{
	arena_free(arena);
}

TestSuite(request, .init = set_up, .fini = tear_down);

static struct json_object *
parse(const char *json)
{
	struct json_object *o = NULL;
	cr_assert_eq(json_parse_object(json, strlen(json), &o), OK, "%s", json);
	return o;
}

/* Expects that `e` is a refusal of `field` with a sentence about it. */
static void
expect_refused(enum err e, const char *field, const char *about)
{
	cr_expect_eq(e, ERR_INVALID_FIELD, "%s", about);
	cr_expect_str_eq(req.bad_field ? req.bad_field : "(none)", field);
	cr_expect(req.detail && strlen(req.detail) > 8, "%s", about);
	cr_expect_eq(req.detail[strlen(req.detail) - 1], '.', "%s", req.detail);
	req.bad_field = req.detail = NULL;
}

Test(request, reads_a_query_parameter)
{
	static const struct {
		const char *query, *name, *want;
	} rows[] = {
	    {"", "a", NULL},
	    {"&", "a", NULL},
	    {"b=1", "a", NULL},
	    {"ab=1", "a", NULL},
	    {"a=1", "ab", NULL},
	    {"=1", "a", NULL},
	    {"a", "a", ""},
	    {"a=", "a", ""},
	    {"a=1", "a", "1"},
	    {"&&a=1&&", "a", "1"},
	    {"x=2&a=1&b=3", "a", "1"},
	    {"a=1=2", "a", "1=2"},
	    {"a==", "a", "="},
	    {"a=b%26c%3Dd", "a", "b&c=d"},
	    {"a=b+c%2Bd", "a", "b c+d"},
	    {"%61=1", "a", "1"},
	    {"a+b=1", "a b", "1"},
	    {"a=h%C3%a9", "a", "h\xc3\xa9"},
	    {"a=h\xc3\xa9", "a", "h\xc3\xa9"},
	    {"a=%2525", "a", "%25"},
	    {"a=?/#;", "a", "?/#;"},
	    {"b=%zz&a=1", "a", "1"}, /* nobody asked for b */
	    {"%zz=2&a=1", "a", "1"},
	    {"a%00=2&a=1", "a", "1"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *got = "unset";
		req.query = rows[i].query;
		cr_assert_eq(request_query(&req, rows[i].name, &got), OK, "%s",
		    rows[i].query);
		if (rows[i].want)
			cr_expect_str_eq(got ? got : "NULL", rows[i].want);
		else
			cr_expect_null(got, "%s", rows[i].query);
	}
}

Test(request, refuses_a_bad_query_parameter)
{
	static const char *const rows[] = {"a=1&a=2", "a&a", "a=1&b=2&%61=1",
	    "a=%", "a=%4", "a=%4&b=1", "a=%zz", "a=%00", "a=x%00y", "a=%ff",
	    "a=%c0%80", "a=%ed%a0%80", "a=%e2%82", "a=\xff"};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *got = "untouched";
		req.query = rows[i];
		expect_refused(request_query(&req, "a", &got), "a", rows[i]);
		cr_expect_str_eq(got, "untouched");
	}
}

Test(request, a_query_beyond_the_arena_is_too_large)
{
	const char *got = NULL;
	long number;
	arena_reset(arena, 4);
	req.query = "a=12345";
	cr_expect_eq(request_query(&req, "a", &got), ERR_TOO_LARGE);
	cr_expect_eq(
	    request_query_number(&req, "a", 1, 0, 9, &number), ERR_TOO_LARGE);
}

Test(request, reads_a_number_within_its_bounds)
{
	static const struct {
		const char *query;
		long want;
	} rows[] = {{"", 20}, {"b=3", 20}, {"n=1", 1}, {"n=100", 100},
	    {"n=007", 7}, {"n=%31%30", 10}, {"n=-5", -5}, {"n=-0", 0}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		long got = -77;
		req.query = rows[i].query;
		cr_expect_eq(request_query_number(&req, "n", 20, -5, 100, &got),
		    OK, "%s", rows[i].query);
		cr_expect_eq(got, rows[i].want, "%s", rows[i].query);
	}
}

Test(request, refuses_what_is_no_number_or_out_of_bounds)
{
	static const char *const rows[] = {"n", "n=", "n=101", "n=-6", "n=+1",
	    "n=%2B1", "n=-", "n=--1", "n=1.5", "n=1e1", "n=0x1", "n=1 ", "n= 1",
	    "n=%201", "n=1+", "n=%0a1", "n=abc", "n=1&n=1",
	    "n=9223372036854775808", "n=99999999999999999999999",
	    "n=-9223372036854775809", "n=%d9%a1"};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		long got = -77;
		req.query = rows[i];
		expect_refused(
		    request_query_number(&req, "n", 20, -5, 100, &got), "n",
		    rows[i]);
		cr_expect_eq(got, -77);
	}
}

Test(request, a_number_that_no_long_holds_is_refused_not_clamped)
{
	long got = 7;
	req.query = "n=9223372036854775807";
	cr_expect_eq(
	    request_query_number(&req, "n", 0, LONG_MIN, LONG_MAX, &got), OK);
	cr_expect_eq(got, LONG_MAX);
	req.query = "n=9223372036854775808";
	expect_refused(
	    request_query_number(&req, "n", 0, LONG_MIN, LONG_MAX, &got), "n",
	    req.query);
	req.query = "n=-9223372036854775809";
	expect_refused(
	    request_query_number(&req, "n", 0, LONG_MIN, LONG_MAX, &got), "n",
	    req.query);
}

Test(request, reads_a_flag)
{
	static const struct {
		const char *query;
		int want;
	} rows[] = {{"", -1}, {"f=true", 1}, {"f=1", 1}, {"f=false", 0},
	    {"f=0", 0}, {"g=1", -1}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int got = 7;
		req.query = rows[i].query;
		cr_expect_eq(request_query_flag(&req, "f", &got), OK);
		cr_expect_eq(got, rows[i].want, "%s", rows[i].query);
	}
	static const char *const bad[] = {
	    "f", "f=", "f=2", "f=TRUE", "f=yes", "f=1+", "f=1&f=1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int got = 7;
		req.query = bad[i];
		expect_refused(
		    request_query_flag(&req, "f", &got), "f", bad[i]);
		cr_expect_eq(got, 7);
	}
}

Test(request, the_body_must_be_a_json_object)
{
	static const struct {
		const char *body;
		enum err want;
	} rows[] = {{"{}", OK}, {"", ERR_BAD_JSON}, {"[]", ERR_BAD_JSON},
	    {"{", ERR_BAD_JSON}, {"null", ERR_BAD_JSON}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		AUTO_JSON struct json_object *o = NULL;
		req.body = rows[i].body;
		req.body_len = strlen(rows[i].body);
		cr_expect_eq(request_json(&req, &o), rows[i].want);
	}
}

Test(request, reads_a_text_member)
{
	static const struct {
		const char *body;
		struct field_rule rule;
		const char *want;
	} rows[] = {
	    {"{}", {"a", 1, 9, false, false}, NULL},
	    {"{\"b\":1}", {"a", 1, 9, false, false}, NULL},
	    {"{\"a\":null}", {"a", 1, 9, false, true}, NULL},
	    {"{\"a\":\"\"}", {"a", 0, 9, true, false}, ""},
	    {"{\"a\":\"x\"}", {"a", 1, 1, true, false}, "x"},
	    {"{\"a\":\"123456789\"}", {"a", 9, 9, true, true}, "123456789"},
	    {"{\"a\":\"h\\u00e9\"}", {"a", 2, 3, true, false}, "h\xc3\xa9"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *got = "unset";
		struct json_object *o = parse(rows[i].body);
		cr_assert_eq(request_field(&req, o, &rows[i].rule, &got), OK,
		    "%s", rows[i].body);
		json_object_put(o); /* the text must outlive it */
		if (rows[i].want)
			cr_expect_str_eq(got ? got : "NULL", rows[i].want);
		else
			cr_expect_null(got, "%s", rows[i].body);
	}
}

Test(request, refuses_a_bad_text_member)
{
	static const struct {
		const char *body;
		struct field_rule rule;
	} rows[] = {
	    {"{}", {"a", 0, 9, true, false}},
	    {"{}", {"a", 0, 9, true, true}},
	    {"{\"A\":\"x\"}", {"a", 0, 9, true, true}},
	    {"{\"a\":null}", {"a", 0, 9, true, true}},
	    {"{\"a\":null}", {"a", 0, 9, true, false}},
	    {"{\"a\":null}", {"a", 0, 9, false, false}},
	    {"{\"a\":1}", {"a", 0, 9, false, true}},
	    {"{\"a\":true}", {"a", 0, 9, false, true}},
	    {"{\"a\":[]}", {"a", 0, 9, false, true}},
	    {"{\"a\":{}}", {"a", 0, 9, false, true}},
	    {"{\"a\":\"\"}", {"a", 1, 9, false, true}},
	    {"{\"a\":\"ab\"}", {"a", 3, 9, false, true}},
	    /* three bytes, but two characters */
	    {"{\"a\":\"h\\u00e9\"}", {"a", 3, 9, false, true}},
	    {"{\"a\":\"1234567890\"}", {"a", 1, 9, false, true}},
	    /* two characters, but three bytes */
	    {"{\"a\":\"h\\u00e9\"}", {"a", 1, 2, false, true}},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *got = "untouched";
		AUTO_JSON struct json_object *o = parse(rows[i].body);
		expect_refused(request_field(&req, o, &rows[i].rule, &got), "a",
		    rows[i].body);
		cr_expect_str_eq(got, "untouched");
	}
}

Test(request, a_member_beyond_the_arena_is_too_large)
{
	const struct field_rule rule = {"a", 1, 100, true, false};
	const char *got = NULL;
	AUTO_JSON struct json_object *o = parse("{\"a\":\"12345\",\"b\":{}}");
	arena_reset(arena, 2);
	cr_expect_eq(request_field(&req, o, &rule, &got), ERR_TOO_LARGE);
	cr_expect_eq(
	    request_field_object(&req, o, "b", 9, &got), ERR_TOO_LARGE);
}

Test(request, reads_a_flag_member)
{
	AUTO_JSON struct json_object *o =
	    parse("{\"t\":true,\"f\":false,\"n\":null,\"s\":\"true\",\"i\":1}");
	bool flag = false;
	cr_expect_eq(request_field_flag(&req, o, "t", &flag), OK);
	cr_expect(flag);
	cr_expect_eq(request_field_flag(&req, o, "absent", &flag), OK);
	cr_expect(flag, "left alone");
	cr_expect_eq(request_field_flag(&req, o, "f", &flag), OK);
	cr_expect_not(flag);
	for (const char *p = "nsi"; *p; p++) {
		const char name[] = {*p, '\0'};
		expect_refused(
		    request_field_flag(&req, o, name, &flag), name, name);
	}
}

Test(request, reads_an_object_member_as_text)
{
	AUTO_JSON struct json_object *o =
	    parse("{\"a\": {\"x\": [1, \"/\"]}, \"e\": {}, \"n\": null,"
		  " \"l\": [], \"s\": \"{}\"}");
	const char *got = NULL;
	cr_expect_eq(request_field_object(&req, o, "a", 13, &got), OK);
	cr_expect_str_eq(got, "{\"x\":[1,\"/\"]}");
	cr_expect_eq(request_field_object(&req, o, "e", 2, &got), OK);
	cr_expect_str_eq(got, "{}");
	cr_expect_eq(request_field_object(&req, o, "absent", 2, &got), OK);
	cr_expect_null(got);
	expect_refused(request_field_object(&req, o, "a", 12, &got), "a", "12");
	for (const char *p = "nls"; *p; p++) {
		const char name[] = {*p, '\0'};
		expect_refused(
		    request_field_object(&req, o, name, 99, &got), name, name);
	}
}

Test(request, refuses_a_member_that_nobody_knows)
{
	static const char *const known[] = {"a", "b", NULL};
	static const char *const none[] = {NULL};
	AUTO_JSON struct json_object *good = parse("{\"b\":1,\"a\":2}");
	AUTO_JSON struct json_object *empty = parse("{}");
	AUTO_JSON struct json_object *bad = parse("{\"a\":1,\"c\":2,\"d\":3}");
	cr_expect_eq(request_known_fields(&req, good, known), OK);
	cr_expect_eq(request_known_fields(&req, empty, none), OK);
	expect_refused(request_known_fields(&req, bad, known), "c", "c");
	expect_refused(request_known_fields(&req, good, none), "b", "b");
}

Test(request, a_long_unknown_name_is_shown_cut_between_characters)
{
	/* 63 letters, then one of two bytes that would cross the limit. */
	static const char *const none[] = {NULL};
	char json[200] = "{\"", want[64];
	memset(json + 2, 'x', 63);
	strcpy(json + 65, "\xc3\xa9yyyyyyyyyyyyyyyyyyyyyyyyy\":1}");
	memset(want, 'x', 63);
	want[63] = '\0';
	AUTO_JSON struct json_object *o = parse(json);
	expect_refused(request_known_fields(&req, o, none), want, "long");
}

Test(request, records_why_it_failed_as_a_copy)
{
	char why[] = "the reason";
	cr_expect_eq(request_fail(&req, ERR_UNAVAILABLE, why), ERR_UNAVAILABLE);
	why[0] = 'X';
	cr_expect_str_eq(req.why, "the reason");
}
