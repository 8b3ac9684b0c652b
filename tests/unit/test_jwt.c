/*
 * The text of JWTs: what is cut, what is refused before it is parsed, and how
 * members are read.
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "auth/jwt.h"
#include "base/arena.h"
#include "base/json.h"

#define MAX 64

Test(jwt, cuts_three_canonical_segments_and_nothing_else)
{
	static const struct {
		const char *token;
		bool want;
	} rows[] = {
	    {"AA.AAA.AAAA", true},
	    {"_-.AQI.-_-_", false}, /* spare bits of the first */
	    {"_w.AQI.-_-_", true},
	    {"", false},
	    {".", false},
	    {"..", false},
	    {"AA", false},
	    {"AA.AA", false},
	    {"AA.AA.", false},
	    {".AA.AA", false},
	    {"AA..AA", false},
	    {"AA.AA.AA.AA", false},
	    {"AA.AA.AA.", false},
	    {"A.AA.AA", false},
	    {"AAAAA.AA.AA", false},
	    {"AB.AA.AA", false},
	    {"AA.AB.AA", false},
	    {"AA.AA.AB", false},
	    {"AA.AAB.AA", false},
	    {"AA==.AA.AA", false},
	    {"A+.AA.AA", false},
	    {"A/A.AA.AA", false},
	    {"AA.AA.A A", false},
	    {"AA.AA.AA\n", false},
	    {" AA.AA.AA", false},
	    {"AA.AA.\xc3\xa9", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct jwt_segments s;
		cr_expect_eq(jwt_split(rows[i].token, MAX, &s), rows[i].want,
		    "%zu: %s", i, rows[i].token);
	}
}

Test(jwt, says_where_the_segments_are)
{
	struct jwt_segments s;
	cr_assert(jwt_split("AA.AAA.AAAA", MAX, &s));
	cr_expect_eq(s.header.n, 2);
	cr_expect_eq(s.claims.n, 3);
	cr_expect_eq(s.signature.n, 4);
	cr_expect_eq(s.signed_text.n, 6);
	cr_expect_eq(memcmp(s.signed_text.p, "AA.AAA", 6), 0);
}

Test(jwt, reads_no_further_than_the_limit)
{
	char token[MAX + 2];
	struct jwt_segments s;
	memset(token, 'A', sizeof token);
	memcpy(token, "AA.AA.", 6);
	token[MAX] = '\0'; /* the last segment: 58 characters */
	cr_expect(jwt_split(token, MAX, &s));
	token[MAX] = 'A'; /* not even ended */
	token[MAX + 1] = 'A';
	cr_expect_not(jwt_split(token, MAX, &s));
}

/* Every last character of every length, against libsodium's decoder. */
Test(jwt, calls_canonical_what_libsodium_can_decode)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl"
				       "mnopqrstuvwxyz0123456789-_";
	cr_assert_geq(sodium_init(), 0);
	for (int n = 1; n <= 5; n++) {
		for (const char *c = alphabet; *c; c++) {
			char part[8] = "AAAAA", token[32];
			unsigned char bytes[8];
			struct jwt_segments s;
			part[n - 1] = *c;
			part[n] = '\0';
			snprintf(token, sizeof token, "AA.AA.%s", part);
			bool want =
			    sodium_base642bin(bytes, sizeof bytes, part,
				strlen(part), NULL, NULL, NULL,
				sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
			cr_expect_eq(
			    jwt_split(token, MAX, &s), want, "%s", part);
		}
	}
}

static enum err
object_of(struct arena *a, const char *json, struct json_object **out)
{
	char text[512];
	sodium_bin2base64(text, sizeof text, (const unsigned char *)json,
	    strlen(json), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	const struct jwt_segment s = {text, strlen(text)};
	return jwt_object(a, &s, out);
}

Test(jwt, a_member_may_be_there_once)
{
	static const struct {
		const char *json;
		enum err want;
	} rows[] = {
	    {"{}", OK},
	    {"{\"a\":1}", OK},
	    {"{\"a\":1,\"b\":{\"a\":1}}", OK},
	    {"{\"a\":1,\"a\":1}", ERR_BAD_JSON},
	    {"{\"a\":1,\"b\":2,\"a\":[]}", ERR_BAD_JSON},
	    {"{\"a\":1,\"\\u0061\":2}", ERR_BAD_JSON},
	    {"{\"\":1,\"\":2}", ERR_BAD_JSON},
	    {"[]", ERR_BAD_JSON},
	    {"null", ERR_BAD_JSON},
	    {"{\"a\":1}x", ERR_BAD_JSON},
	    {"{\"a\":1", ERR_BAD_JSON},
	    {"{\"a\\u0000\":1}", ERR_BAD_JSON},
	};
	struct arena *a = arena_new(65536);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		AUTO_JSON struct json_object *o = NULL;
		cr_expect_eq(object_of(a, rows[i].json, &o), rows[i].want, "%s",
		    rows[i].json);
	}
	arena_free(a);
}

Test(jwt, reads_members_by_their_type_alone)
{
	struct arena *a = arena_new(65536);
	AUTO_JSON struct json_object *o = NULL;
	int64_t n = -1;
	cr_assert_eq(object_of(a,
			 "{\"s\":\"x\",\"n\":7,\"r\":7.0,\"neg\":-1,"
			 "\"big\":9007199254740993,\"t\":\"7\",\"null\":null}",
			 &o),
	    OK);
	cr_expect_str_eq(jwt_text(o, "s"), "x");
	cr_expect_null(jwt_text(o, "n"));
	cr_expect_null(jwt_text(o, "null"));
	cr_expect_null(jwt_text(o, "missing"));
	cr_expect(jwt_text_is(o, "s", "x"));
	cr_expect_not(jwt_text_is(o, "s", "xy"));
	cr_expect(jwt_number(o, "n", &n));
	cr_expect_eq(n, 7);
	static const char *const bad[] = {
	    "s", "r", "neg", "big", "t", "null", "missing"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_not(jwt_number(o, bad[i], &n), "%s", bad[i]);
	cr_expect_eq(n, 7);
	arena_free(a);
}
