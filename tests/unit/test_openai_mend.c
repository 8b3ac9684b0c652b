/*
 * A server's chunks with what was masked put back: under every cut of the
 * placeholders, in every text of an answer, and nothing else is touched.
 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "model/mask.h"
#include "model/model.h"
#include "model/openai_mend.h"

#define MAIL  "anna@example.com"
#define PHONE "+49 30 1234567"

static struct mask *mask;
static struct openai_mend *mend;

static void
set_up(void)
{
	struct buf out = {0};

	mask = mask_new();
	mask_add(mask, MAIL " " PHONE, strlen(MAIL " " PHONE), &out);
	cr_assert_str_eq(buf_text(&out), "[EMAIL_1] [PHONE_1]");
	buf_free(&out);
	mend = openai_mend_new(mask);
}

static void
tear_down(void)
{
	openai_mend_free(mend);
	mask_free(mask);
}

TestSuite(openai_mend, .init = set_up, .fini = tear_down);

static void
feed(const char *json, struct buf *out)
{
	const struct model_object o = {.json = json, .n = strlen(json)};

	buf_clear(out);
	openai_mend(mend, &o, out);
	cr_assert_not(out->failed);
}

static void
expect(const char *json, const char *want)
{
	struct buf out = {0};

	feed(json, &out);
	cr_expect_str_eq(buf_text(&out), want);
	buf_free(&out);
}

static void
expect_rest(const char *want)
{
	struct buf out = {0};

	cr_expect_eq(openai_mend_rest(mend, &out), want != NULL);
	cr_expect_str_eq(buf_text(&out), want != NULL ? want : "");
	buf_free(&out);
}

static struct json_object *
get(struct json_object *o, const char *name)
{
	struct json_object *value = NULL;

	(void)json_object_object_get_ex(o, name, &value);
	return value;
}

/* What an answer is made of, as a client puts it together. */
struct heard {
	struct buf content, reasoning, calls[2];
};

static void
hear_text(struct json_object *o, const char *name, struct buf *out)
{
	struct json_object *text = get(o, name);

	if (text != NULL)
		buf_add(out, json_object_get_string(text),
		    (size_t)json_object_get_string_len(text));
}

static void
hear(struct heard *h, struct buf *json)
{
	struct json_object *o = json_tokener_parse(buf_text(json));
	struct json_object *choices = get(o, "choices"), *delta, *calls;

	cr_assert_not_null(choices, "%s", buf_text(json));
	delta = get(json_object_array_get_idx(choices, 0), "delta");
	hear_text(delta, "content", &h->content);
	hear_text(delta, "reasoning_content", &h->reasoning);
	calls = get(delta, "tool_calls");
	for (size_t i = 0; calls != NULL && i < json_object_array_length(calls);
	     i++) {
		struct json_object *call = json_object_array_get_idx(calls, i);
		int index = json_object_get_int(get(call, "index"));

		hear_text(get(call, "function"), "arguments", &h->calls[index]);
	}
	json_object_put(o);
}

/* Feeds chunks made of pieces of a text; `before` and `after` stand around the
 * JSON string. */
struct told {
	const char *before, *after;
	const char *text;
};

static void
tell_piece(const struct told *t, size_t at, size_t size, struct heard *h)
{
	size_t n = strlen(t->text), end = at + size < n ? at + size : n;
	struct buf text = {0}, json = {0}, out = {0};

	if (at >= n)
		return;
	json_write_bytes(&text, NULL, t->text + at, end - at);
	buf_printf(&json, "{\"choices\":[{\"index\":0,\"delta\":{%s%s%s}}]}",
	    t->before, buf_text(&text), t->after);
	feed(buf_text(&json), &out);
	hear(h, &out);
	buf_free(&text);
	buf_free(&json);
	buf_free(&out);
}

static void
hear_rests(struct heard *h)
{
	struct buf out = {0};

	while (openai_mend_rest(mend, &out)) {
		hear(h, &out);
		buf_clear(&out);
	}
	buf_free(&out);
}

#define SAID    "a\"\n[EMAIL_1] [PHONE_1], [EMAIL_2] [EMA"
#define MEANT   "a\"\n" MAIL " " PHONE ", [EMAIL_2] [EMA"
#define ARGS    "{\"to\":\"[EMAIL_1]\",\"n\":[1],\"x\":\"\\u00e9 [PHONE_1]\"}"
#define MENDED  "{\"to\":\"" MAIL "\",\"n\":[1],\"x\":\"\\u00e9 " PHONE "\"}"
#define CALL(i) "\"tool_calls\":[{\"index\":" i ",\"function\":{\"arguments\":"

/* Four texts in turn, each with what the others wait for in between. */
Test(openai_mend, every_text_is_whole_under_every_cut)
{
	static const struct told told[] = {
	    {"\"content\":", "", SAID},
	    {"\"role\":\"assistant\",\"reasoning_content\":", "",
		"[PHONE_1]" SAID},
	    {CALL("0"), "}}]", ARGS},
	    {"\"content\":null," CALL("1"), "}}]", ARGS "[EMAIL_1"},
	};

	for (size_t size = 1; size < 12; size++) {
		struct heard h = {0};

		for (size_t at = 0; at < 100; at += size)
			for (size_t i = 0; i < 4; i++)
				tell_piece(&told[i], at, size, &h);
		hear_rests(&h);
		cr_expect_str_eq(buf_text(&h.content), MEANT, "%zu", size);
		cr_expect_str_eq(buf_text(&h.reasoning), PHONE MEANT);
		cr_expect_str_eq(buf_text(&h.calls[0]), MENDED);
		cr_expect_str_eq(buf_text(&h.calls[1]), MENDED "[EMAIL_1");
		buf_free(&h.content);
		buf_free(&h.reasoning);
		buf_free(&h.calls[0]);
		buf_free(&h.calls[1]);
	}
}

Test(openai_mend, what_waits_is_told_as_it_came)
{
	expect("{\"choices\":[{\"delta\":{\"content\":\"x [EM\"}}]}",
	    "{\"choices\":[{\"delta\":{\"content\":\"x \"}}]}");
	expect_rest(
	    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"[EM\"},"
	    "\"finish_reason\":null}]}");
	expect_rest(NULL);
	expect("{\"choices\":[{\"delta\":{" CALL("3") "\"[\"}}]}}]}",
	    "{\"choices\":[{\"delta\":{" CALL("3") "\"\"}}]}}]}");
	expect_rest("{\"choices\":[{\"index\":0,\"delta\":{" CALL(
	    "3") "\"[\"}}]},\"finish_reason\":null}]}");
	expect("{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\","
	       "\"text\":\"[E\"}]}}]}",
	    "{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\","
	    "\"text\":\"\"}]}}]}");
	expect("{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\","
	       "\"text\":\"MAIL_1] [\"}]}}]}",
	    "{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\","
	    "\"text\":\"" MAIL " \"}]}}]}");
	expect_rest("{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{"
		    "\"type\":\"text\",\"text\":\"[\"}]},"
		    "\"finish_reason\":null}]}");
	expect_rest(NULL);
}

/* Names, ids and kinds come whole with each chunk. */
Test(openai_mend, what_is_said_again_does_not_wait)
{
	expect("{\"id\":\"[E\",\"choices\":[{\"delta\":{\"role\":\"[E\","
	       "\"tool_calls\":[{\"index\":0,\"id\":\"[E\",\"type\":\"[\","
	       "\"function\":{\"name\":\"[EMAIL_1]\"}}]}}]}",
	    "{\"id\":\"[E\",\"choices\":[{\"delta\":{\"role\":\"[E\","
	    "\"tool_calls\":[{\"index\":0,\"id\":\"[E\",\"type\":\"[\","
	    "\"function\":{\"name\":\"" MAIL "\"}}]}}]}");
	expect_rest(NULL);
}

Test(openai_mend, why_it_ended_is_left_to_the_caller)
{
	cr_expect_str_eq(openai_mend_finish(mend), "");
	expect("{\"choices\":[{\"delta\":{\"finish_reason\":\"x\"},"
	       "\"finish_reason\" : null, \"a\" : 1.50}]}",
	    "{\"choices\":[{\"delta\":{\"finish_reason\":\"x\"},"
	    "\"finish_reason\" : null, \"a\" : 1.50}]}");
	cr_expect_str_eq(openai_mend_finish(mend), "");
	expect("{\"choices\":[{\"finish_reason\" : \"tool_calls\" ,\"delta\":"
	       "{\"content\":\"[EMAIL_1]\"}}]}",
	    "{\"choices\":[{\"finish_reason\" : null ,\"delta\":"
	    "{\"content\":\"" MAIL "\"}}]}");
	cr_expect_str_eq(openai_mend_finish(mend), "tool_calls");
	expect("{\"finish_reason\":\"stop\",\"choices\":[]}",
	    "{\"finish_reason\":\"stop\",\"choices\":[]}");
	expect("{\"choices\":[{\"finish_reason\":\"a\\nb\"}]}",
	    "{\"choices\":[{\"finish_reason\":null}]}");
	cr_expect_str_eq(openai_mend_finish(mend), "", "no word of ours");
}

Test(openai_mend, a_plain_answer_has_everything_at_once)
{
	static const char json[] =
	    "{\"choices\":[{\"message\":{\"content\":\"[EMAIL_1] [\","
	    "\"tool_calls\":[{\"function\":{\"arguments\":"
	    "\"{\\\"to\\\":\\\"[PHONE_1]\\\"}\"}}]},"
	    "\"finish_reason\":\"stop\"}]}";
	const struct model_object o = {
	    .json = json, .n = strlen(json), .is_whole = true};
	struct buf out = {0};

	openai_mend(mend, &o, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"choices\":[{\"message\":{\"content\":\"" MAIL " [\","
	    "\"tool_calls\":[{\"function\":{\"arguments\":"
	    "\"{\\\"to\\\":\\\"" PHONE "\\\"}\"}}]},"
	    "\"finish_reason\":null}]}");
	expect_rest(NULL);
	buf_free(&out);
}

Test(openai_mend, without_a_table_nothing_is_put_back)
{
	openai_mend_free(mend);
	mend = openai_mend_new(NULL);
	expect("{\"choices\":[{\"delta\":{\"content\":\"[EMAIL_1] [\"},"
	       "\"finish_reason\":\"stop\"}]}",
	    "{\"choices\":[{\"delta\":{\"content\":\"[EMAIL_1] [\"},"
	    "\"finish_reason\":null}]}");
	expect_rest(NULL);
	cr_expect_str_eq(openai_mend_finish(mend), "stop");
}

/* Deeper than anybody looks, and more texts than may wait. */
Test(openai_mend, what_goes_beyond_is_an_object_yet)
{
	struct buf json = {0}, out = {0};

	buf_puts(&json, "{\"choices\":[{\"delta\":{\"a\":");
	for (int i = 0; i < 30; i++)
		buf_puts(&json, "[");
	buf_puts(&json, "\"[EMAIL_1]\"");
	for (int i = 0; i < 30; i++)
		buf_puts(&json, "]");
	for (int i = 0; i < 300; i++)
		buf_printf(&json, ",\"m%d\":\"[EMAIL_1][\"", i);
	buf_puts(&json, "}}]}");
	feed(buf_text(&json), &out);
	cr_expect_not_null(strstr(buf_text(&out), "[[\"[EMAIL_1]\"]]"));
	cr_expect_not_null(
	    strstr(buf_text(&out), "\"m0\":\"" MAIL "\",\"m1\""));
	cr_expect_not_null(
	    strstr(buf_text(&out), "\"m299\":\"" MAIL "[\"}}]}"));
	buf_free(&json);
	buf_free(&out);
}
