/*
 * What moderation servers answer, and what does not count as an answer.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "model/moderation.h"

#define RESULT(flagged, categories)                          \
	"{\"id\":\"modr-1\",\"model\":\"m\",\"results\":[{"  \
	"\"flagged\":" flagged ",\"categories\":" categories \
	",\"category_scores\":{\"a\":0.5}}]}"

static const struct row {
	const char *body;
	bool is_answer, is_flagged;
	const char *categories; /* as moderation_write writes them */
} rows[] = {
    {RESULT("false", "{\"violence\":false}"), true, false, "[]"},
    {RESULT("true", "{\"violence\":true,\"sexual\":false}"), true, true,
	"[\"violence\"]"},
    {RESULT("true", "{\"self-harm/intent\":true,\"hate\":true}"), true, true,
	"[\"self-harm/intent\",\"hate\"]"},
    {RESULT("true", "{\"self-harm\\/intent\":true}"), true, true,
	"[\"self-harm/intent\"]"},
    {RESULT("true", "{}"), true, true, "[]"},
    {RESULT("true", "null"), true, true, "[]"},
    {RESULT("true", "[\"violence\"]"), true, true, "[]"},
    {RESULT("true", "{\"a\\\"b\":true,\"\":true,\"c\":1,\"d\":\"true\"}"), true,
	true, "[]"},
    {RESULT("true", "{\"illicit/violent_2 x\":true}"), true, true,
	"[\"illicit/violent_2 x\"]"},
    {"{\"results\":[{\"flagged\":false},{\"flagged\":true}]}", true, true,
	"[]"},
    {" {\"results\" : [ {\"flagged\" : true } ] } ", true, true, "[]"},
    {RESULT("null", "{}"), false, false, NULL},
    {RESULT("\"true\"", "{}"), false, false, NULL},
    {RESULT("1", "{}"), false, false, NULL},
    {"{\"results\":[{\"flagged\":true},{}]}", false, false, NULL},
    {"{\"results\":[]}", false, false, NULL},
    {"{\"results\":{}}", false, false, NULL},
    {"{\"results\":[true]}", false, false, NULL},
    {"{\"flagged\":true}", false, false, NULL},
    {"{\"error\":{\"message\":\"no\"}}", false, false, NULL},
    {"[]", false, false, NULL},
    {"{}", false, false, NULL},
    {"", false, false, NULL},
    {"<html>", false, false, NULL},
    {"{\"results\":[{\"flagged\":true}]", false, false, NULL},
    {"{\"results\":[{\"flagged\":true}]}x", false, false, NULL},
};

Test(moderation, reads_what_servers_say)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct moderation m = {.n = 99};
		struct buf names = {0};
		bool is_answer = moderation_read(r->body, strlen(r->body), &m);

		cr_expect_eq(is_answer, r->is_answer, "%s", r->body);
		if (!is_answer) {
			cr_expect_eq(m.n, 99u, "nothing is written");
			continue;
		}
		cr_expect_eq(m.is_flagged, r->is_flagged, "%s", r->body);
		moderation_write(&m, &names);
		cr_expect_str_eq(buf_text(&names), r->categories);
		buf_free(&names);
	}
}

/* Every beginning of an answer is none. */
Test(moderation, believes_no_half_answer)
{
	const char *body = rows[2].body;
	struct moderation m;

	for (size_t n = 0; n < strlen(body); n++)
		cr_expect_not(moderation_read(body, n, &m), "%zu", n);
}

Test(moderation, names_no_more_than_there_is_room_for)
{
	struct buf body = {0};
	struct moderation m;

	buf_puts(&body, "{\"results\":[{\"flagged\":true,\"categories\":{");
	for (int i = 0; i < 40; i++)
		buf_printf(&body, "%s\"c%d\":true", i > 0 ? "," : "", i);
	buf_printf(&body, ",\"%0200d\":true}}]}", 7);
	cr_assert(moderation_read(body.p, body.n, &m));
	cr_expect_eq(m.n, (size_t)MODERATION_CATEGORIES);
	cr_expect_str_eq(m.categories[15], "c15");
	buf_free(&body);
}

Test(moderation, asks_with_and_without_a_model)
{
	struct buf out = {0};

	moderation_body(&out, "omni", "a \"b\"", 5);
	cr_expect_str_eq(
	    buf_text(&out), "{\"model\":\"omni\",\"input\":\"a \\\"b\\\"\"}");
	buf_clear(&out);
	moderation_body(&out, "", "x", 1);
	cr_expect_str_eq(buf_text(&out), "{\"input\":\"x\"}");
	buf_free(&out);
}
