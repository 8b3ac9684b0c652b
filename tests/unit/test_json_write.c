/*
 * JSON written straight into a buffer: what json-c reads back is what was
 * written, whatever the text.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/json_write.h"

static const char *
text_of(struct buf *b)
{
	buf_putc(b, '\0');
	return b->p;
}

Test(json_write, members_and_elements_are_separated)
{
	struct buf b = {0};
	json_write_open(&b, NULL, '[');
	json_write_open(&b, NULL, '{');
	json_write_text(&b, "a", "x");
	json_write_number(&b, "b", -7);
	json_write_open(&b, "c", '[');
	json_write_close(&b, ']');
	json_write_flag(&b, "d", true);
	json_write_close(&b, '}');
	json_write_open(&b, NULL, '{');
	json_write_raw(&b, "e", "{\"f\":[1]}");
	json_write_open(&b, "g", '{');
	json_write_text(&b, "h", NULL);
	json_write_close(&b, '}');
	json_write_raw(&b, "i", NULL);
	json_write_flag(&b, "j", false);
	json_write_close(&b, '}');
	json_write_text(&b, NULL, "{[:");
	json_write_number(&b, NULL, 1);
	json_write_close(&b, ']');
	cr_expect_str_eq(text_of(&b),
	    "[{\"a\":\"x\",\"b\":-7,\"c\":[],\"d\":true},"
	    "{\"e\":{\"f\":[1]},\"g\":{\"h\":null},\"i\":null,"
	    "\"j\":false},\"{[:\",1]");
	buf_free(&b);
}

Test(json_write, strings_of_a_length_may_hold_any_character)
{
	struct buf b = {0};
	json_write_open(&b, NULL, '{');
	json_write_bytes(&b, "a", "x\"\0\nyz", 5);
	json_write_bytes(&b, "b", "", 0);
	json_write_close(&b, '}');
	cr_expect_str_eq(
	    text_of(&b), "{\"a\":\"x\\\"\\u0000\\ny\",\"b\":\"\"}");
	buf_free(&b);
}

Test(json_write, a_buffer_that_ends_after_a_key_takes_a_value)
{
	struct buf b = {0};
	buf_puts(&b, "{\"data\":");
	json_write_open(&b, NULL, '[');
	json_write_close(&b, ']');
	json_write_text(&b, "next", NULL);
	json_write_close(&b, '}');
	cr_expect_str_eq(text_of(&b), "{\"data\":[],\"next\":null}");
	buf_free(&b);
}

Test(json_write, numbers_reach_both_ends)
{
	struct buf b = {0};
	json_write_open(&b, NULL, '[');
	json_write_number(&b, NULL, INT64_MIN);
	json_write_number(&b, NULL, INT64_MAX);
	json_write_close(&b, ']');
	cr_expect_str_eq(
	    text_of(&b), "[-9223372036854775808,9223372036854775807]");
	buf_free(&b);
}

/* Writes `s`, reads it with json-c, expects it back. */
static void
expect_back(const char *s)
{
	struct buf b = {0};
	struct json_object *o = NULL;
	json_write_open(&b, NULL, '{');
	json_write_text(&b, "k", s);
	json_write_close(&b, '}');
	cr_assert_eq(json_parse_object(b.p, b.n, &o), OK);
	cr_expect_str_eq(
	    json_object_get_string(json_object_object_get(o, "k")), s);
	json_object_put(o);
	buf_free(&b);
}

Test(json_write, every_byte_that_text_may_hold_comes_back)
{
	char all[0x80];
	for (int c = 1; c < 0x80; c++) {
		char one[] = {(char)c, '\0'};
		char within[] = {'a', (char)c, 'b', (char)c, '\0'};
		all[c - 1] = (char)c;
		expect_back(one);
		expect_back(within);
	}
	all[0x7f] = '\0';
	expect_back(all);
	expect_back("");
	expect_back("\u00e4\u4e2d\U0001f600\u2028</script>");
}

Test(json_write, text_is_escaped_as_short_as_can_be)
{
	struct buf b = {0};
	json_write_text(&b, NULL, "\"\\/\b\f\n\r\t\001\037\177");
	cr_expect_str_eq(
	    text_of(&b), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\177\"");
	buf_free(&b);
}

Test(json_write, a_full_buffer_is_failed)
{
	struct buf b = {.cap = 8};
	json_write_text(&b, NULL, "more than eight");
	cr_expect(b.failed);
	buf_free(&b);
}

Test(json_write, a_time_is_rfc_3339_in_utc_with_microseconds)
{
	static const struct {
		const char *time, *want;
	} rows[] = {
	    {"2026-01-31 23:59:59.123456+00",
		"\"2026-01-31T23:59:59.123456Z\""},
	    {"2026-01-31 23:59:59.5+00", "\"2026-01-31T23:59:59.500000Z\""},
	    {"2026-01-31 23:59:59+00", "\"2026-01-31T23:59:59.000000Z\""},
	    {"infinity", "\"infinity\""},
	    {"", "\"\""},
	    {"2026-01-31 23:59:59+01", "\"2026-01-31 23:59:59+01\""},
	    {"12026-01-31 23:59:59+00", "\"12026-01-31 23:59:59+00\""},
	    {NULL, "null"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b = {0};
		json_write_time(&b, NULL, rows[i].time);
		cr_expect_str_eq(text_of(&b), rows[i].want);
		buf_free(&b);
	}
}
