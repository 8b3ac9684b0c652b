/*
 * Replies end to end: through nginx, from a stand-in model that behaves badly
 * in every way it knows. What the client saw, what the model sent and what
 * Postgres holds must be the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "stack.h"
#include "stack_shared.h"
#include "standin_text.h"

static struct stack stack;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_RESPONSE_TIMEOUT=4000", "CHAT_MODEL_RETRIES=2",
		"CHAT_HEARTBEAT_SECONDS=1"}};

	(void)tests;
	criterion_options.jobs = 1; /* they look at what the model got last */
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	stack_take(&stack);
}

TestSuite(replies, .init = setup, .timeout = 120);

/* What the stand-in sends for `text=N seed=S`. */
static char *
model_text(unsigned seed, size_t n)
{
	char *text = calloc(1, n + 1);

	cr_assert_not_null(text);
	standin_text(seed, n, text);
	return text;
}

static char *
stored_text(const char *message_id)
{
	return db_text(
	    "SELECT content FROM chat.messages WHERE id = $1", message_id);
}

static void
expect_stored(const char *message_id, const char *status, const char *text)
{
	char got[64], *content = stored_text(message_id);

	db_value("SELECT status FROM chat.messages WHERE id = $1", message_id,
	    got, sizeof(got));
	cr_expect_str_eq(got, status);
	if (text != NULL)
		cr_expect(strcmp(content, text) == 0,
		    "stored %zu bytes, wanted %zu", strlen(content),
		    strlen(text));
	free(content);
}

/* Nothing of a finished reply may be left running. */
static void
expect_nothing_running(const struct person *p)
{
	char n[16];

	db_value("SELECT count(*) FROM chat.running_replies WHERE user_id = $1",
	    p->user_id, n, sizeof(n));
	cr_expect_str_eq(n, "0");
}

Test(replies, the_stream_the_model_and_the_store_hold_the_same_bytes)
{
	static const struct {
		const char *directives;
		unsigned seed;
		size_t n;
	} rows[] = {
	    {"text=5000 chunk=7 seed=2", 2, 5000},
	    {"text=3000 chunk=1 seed=3 split=1", 3, 3000},
	    {"text=4000 chunk=33 seed=4 crlf=1 comments=1", 4, 4000},
	    {"text=900 chunk=11 seed=5 nodone=1", 5, 900},
	    {"text=900 chunk=11 seed=6 nousage=1", 6, 900},
	    {"text=2000 chunk=50 seed=7 plain=1", 7, 2000},
	    {"text=2000 chunk=50 seed=8 multiline=1", 8, 2000},
	    {"text=2000 chunk=50 seed=9 huge=300000", 9, 2000},
	    {"text=300000 chunk=900 seed=10", 10, 300000},
	    {"text=400 chunk=40 gap=40 seed=11", 11, 400},
	};
	struct person p;

	person_make(&stack, &p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *want = model_text(rows[i].seed, rows[i].n), say[256];
		struct answer a;

		snprintf(say, sizeof(say), "[[%s]] go", rows[i].directives);
		person_say(&stack, &p, say, &a);
		cr_expect_eq(a.status, 200);
		cr_expect(answer_ends_with(&a, "done"), "%s: ends with %s",
		    rows[i].directives,
		    a.n_events ? a.events[a.n_events - 1].name : "nothing");
		cr_expect(strcmp(a.text.p, want) == 0, "%s: saw %zu of %zu",
		    rows[i].directives, a.text.n, rows[i].n);
		expect_stored(answer_event_text(&a, "start", "message_id"),
		    "complete", want);
		cr_expect_str_eq(answer_event_text(&a, "done", "id"),
		    answer_event_text(&a, "start", "message_id"));
		cr_expect_str_eq(
		    answer_event_text(&a, "done", "finish_reason"), "stop");
		answer_clear(&a);
		free(want);
	}
	expect_nothing_running(&p);
}

Test(replies, events_are_numbered)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	person_say(&stack, &p, "[[text=60 chunk=10 gap=60]] go", &a);
	cr_expect_str_eq(
	    answer_header(&a, "Content-Type"), "text/event-stream");
	cr_expect_str_eq(answer_header(&a, "Cache-Control"), "no-store");
	cr_expect_null(answer_header(&a, "Content-Length"));
	cr_expect_not_null(answer_header(&a, "X-Request-Id"));
	cr_expect_geq(a.n_events, 3, "%zu events", a.n_events);
	for (size_t i = 0; i < a.n_events; i++) {
		char id[32];

		snprintf(id, sizeof(id), "%zu-", i + 1);
		cr_expect_eq(strncmp(a.events[i].id, id, strlen(id)), 0, "%s",
		    a.events[i].id);
	}
	cr_expect_str_eq(a.events[0].id, "1-0");
	answer_clear(&a);
}

Test(replies, a_reply_without_stream_is_one_json_document)
{
	char *want = model_text(12, 700), path[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = "{\"content\":\"[[text=700 chunk=9 seed=12]] go\"}"};
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	ask.token = p.token;
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_header(&a, "Content-Type"), "application/json");
	cr_expect_not_null(answer_header(&a, "Content-Length"));
	cr_expect_str_eq(answer_text(&a, "content"), want);
	cr_expect_str_eq(answer_text(&a, "role"), "assistant");
	cr_expect_str_eq(answer_text(&a, "status"), "complete");
	cr_expect_str_neq(answer_text(&a, "usage.total_tokens"), "");
	expect_stored(answer_text(&a, "id"), "complete", want);
	answer_clear(&a);
	free(want);
}

Test(replies, usage_is_the_models_or_else_estimated)
{
	struct person p;
	struct answer a;
	char value[64];

	person_make(&stack, &p);
	person_say(&stack, &p, "[[text=400 seed=1]] go", &a);
	db_value("SELECT completion_tokens || ' ' || is_estimated FROM "
		 "chat.usage_tracking WHERE message_id = $1",
	    answer_event_text(&a, "start", "message_id"), value, sizeof(value));
	cr_expect_str_eq(value, "100 false");
	answer_clear(&a);
	person_say(&stack, &p, "[[text=400 seed=1 nousage=1]] go", &a);
	db_value("SELECT completion_tokens || ' ' || is_estimated FROM "
		 "chat.usage_tracking WHERE message_id = $1",
	    answer_event_text(&a, "start", "message_id"), value, sizeof(value));
	cr_expect_str_eq(value, "100 true");
	answer_clear(&a);
}

Test(replies, a_failing_model_is_tried_again_before_the_first_token)
{
	static const char *const rows[] = {
	    "fail=1,status=429 id=a text=50 seed=3",
	    "fail=2,status=503 id=b text=50 seed=3",
	    "fail=1,status=500 id=c text=50 seed=3",
	    "fail=1,status=429 retry_after=1 id=d text=50 seed=3",
	};
	char *want = model_text(3, 50);
	struct person p;

	person_make(&stack, &p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char say[128];
		struct answer a;

		snprintf(say, sizeof(say), "[[%s]] go", rows[i]);
		person_say(&stack, &p, say, &a);
		cr_expect(
		    answer_ends_with(&a, "done"), "%s: %s", rows[i], a.body.p);
		cr_expect_str_eq(a.text.p, want);
		answer_clear(&a);
	}
	free(want);
}

Test(replies, a_model_that_fails_for_good_ends_with_an_error_event)
{
	static const struct {
		const char *directives;
		const char *code;
		const char *text; /* what must be kept; NULL = look only */
	} rows[] = {
	    {"status=500", "model_failed", ""},
	    {"status=401", "model_failed", ""},
	    {"status=400", "model_failed", ""},
	    {"status=429", "model_failed", ""},
	    {"garbage=1", "model_failed", ""},
	    {"hang=1", "model_timeout", ""},
	    {"text=200 chunk=20 stall=3", "model_timeout", NULL},
	    {"text=200 chunk=20 cut=3 gap=20", "model_cut", NULL},
	    {"text=200 chunk=20 midstream_error=4", "model_failed", NULL},
	};
	struct person p;

	person_make(&stack, &p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char say[128], id[40], error[64];
		struct answer a;

		snprintf(say, sizeof(say), "[[%s]] go", rows[i].directives);
		person_say(&stack, &p, say, &a);
		cr_expect_eq(a.status, 200);
		cr_expect(answer_ends_with(&a, "error"), "%s: %s",
		    rows[i].directives, a.body.p);
		cr_expect_str_eq(answer_event_text(&a, "error", "code"),
		    rows[i].code, "%s", rows[i].directives);
		snprintf(id, sizeof(id), "%s",
		    answer_event_text(&a, "error", "message_id"));
		cr_expect_str_eq(
		    id, answer_event_text(&a, "start", "message_id"));
		if (rows[i].text == NULL)
			cr_expect_gt(a.text.n, 0, "%s", rows[i].directives);
		expect_stored(id, "failed", a.text.p);
		db_value("SELECT error_code FROM chat.messages WHERE id = $1",
		    id, error, sizeof(error));
		cr_expect_str_eq(error, rows[i].code);
		answer_clear(&a);
	}
	expect_nothing_running(&p);
}

Test(replies, a_failure_without_stream_is_a_problem_document)
{
	char path[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = "{\"content\":\"[[status=400]] go\"}"};
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	ask.token = p.token;
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 502);
	cr_expect_str_eq(
	    answer_header(&a, "Content-Type"), "application/problem+json");
	cr_expect_str_eq(answer_text(&a, "code"), "model_failed");
	cr_expect_str_neq(answer_text(&a, "message_id"), "");
	answer_clear(&a);
}

Test(replies, what_cannot_be_stored_is_cleaned_not_lost)
{
	static const struct {
		const char *directives;
		const char *part;
	} rows[] = {
	    {"text=40 seed=1 nul=1", "ab"},
	    {"text=40 seed=1 badutf8=1", "\xef\xbf\xbd"},
	    {"text=90 chunk=30 seed=1 badjson=2", ""},
	};
	struct person p;

	person_make(&stack, &p);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char say[128];
		struct answer a;

		snprintf(say, sizeof(say), "[[%s]] go", rows[i].directives);
		person_say(&stack, &p, say, &a);
		cr_expect(answer_ends_with(&a, "done"), "%s: %s",
		    rows[i].directives, a.body.p);
		cr_expect_not_null(
		    strstr(a.text.p, rows[i].part), "%s", rows[i].directives);
		expect_stored(answer_event_text(&a, "start", "message_id"),
		    "complete", a.text.p);
		answer_clear(&a);
	}
}

Test(replies, finish_reasons_are_told)
{
	static const char *const rows[][2] = {
	    {"text=40 length=1", "length"},
	    {"text=40 refusal=1", "content_filter"},
	    {"text=40", "stop"},
	};
	struct person p;

	person_make(&stack, &p);
	for (size_t i = 0; i < 3; i++) {
		char say[128];
		struct answer a;

		snprintf(say, sizeof(say), "[[%s]] go", rows[i][0]);
		person_say(&stack, &p, say, &a);
		cr_expect_str_eq(
		    answer_event_text(&a, "done", "finish_reason"), rows[i][1]);
		answer_clear(&a);
	}
}

static bool
reply_is_complete(void *arg)
{
	char status[32];

	db_value("SELECT status FROM chat.messages WHERE id = $1", arg, status,
	    sizeof(status));
	return strcmp(status, "complete") == 0;
}

Test(replies, a_client_that_hangs_up_at_any_event_finds_the_whole_reply)
{
	char *want = model_text(4, 120);

	for (int k = 1; k <= 12; k++) {
		char path[128], id[40];
		struct ask ask = {.method = "POST",
		    .base = stack.base,
		    .path = path,
		    .hang_up_after = k,
		    .json = "{\"content\":\"[[text=120 chunk=12 gap=30 "
			    "seed=4]] go\",\"stream\":true}"};
		struct person p;
		struct answer a;

		person_make(&stack, &p);
		snprintf(path, sizeof(path),
		    "/api/v1/conversations/%s/messages", p.conversation);
		ask.token = p.token;
		http_ask(&ask, &a);
		/* Pieces that come late come together: there may be fewer. */
		cr_expect(a.n_events == (size_t)k ||
			      (a.n_events < (size_t)k &&
				  answer_ends_with(&a, "done")),
		    "%zu of %d", a.n_events, k);
		snprintf(id, sizeof(id), "%s",
		    answer_event_text(&a, "start", "message_id"));
		cr_expect(wait_until(reply_is_complete, id, 60000),
		    "hung up after event %d", k);
		expect_stored(id, "complete", want);
		expect_nothing_running(&p);
		answer_clear(&a);
	}
	free(want);
}

Test(replies, a_silent_model_is_bridged_by_heartbeats)
{
	struct person p;
	struct answer a;

	person_make(&stack, &p);
	/* 1 s is below CHAT_RESPONSE_TIMEOUT; in all it takes over 4 s. */
	person_say(
	    &stack, &p, "[[text=60 chunk=12 first=1000 gap=1000]] go", &a);
	cr_expect(answer_ends_with(&a, "done"));
	answer_clear(&a);
	person_say(&stack, &p, "[[status=503 retry_after=2]] go", &a);
	cr_expect_not_null(
	    strstr(a.body.p, "\n: "), "a comment line: %s", a.body.p);
	answer_clear(&a);
}

Test(replies, the_context_holds_the_conversation_so_far)
{
	struct ask ask = {.base = stack.model, .path = "/_last"};
	struct person p;
	struct answer a, last;

	person_make(&stack, &p);
	person_say(&stack, &p, "first words", &a);
	answer_clear(&a);
	person_say(&stack, &p, "second words", &a);
	answer_clear(&a);
	http_ask(&ask, &last);
	cr_expect_str_eq(answer_text(&last, "body.model"), "test-model");
	cr_expect_str_eq(answer_text(&last, "body.stream"), "true");
	cr_expect_str_eq(
	    answer_text(&last, "body.stream_options.include_usage"), "true");
	cr_expect_str_eq(answer_text(&last, "body.messages.0.role"), "system");
	cr_expect_str_eq(
	    answer_text(&last, "body.messages.1.content"), "first words");
	cr_expect_str_eq(answer_text(&last, "body.messages.2.content"),
	    "You said: first words");
	cr_expect_str_eq(
	    answer_text(&last, "body.messages.3.content"), "second words");
	cr_expect_str_eq(answer_text(&last, "body.messages.4.content"), "");
	answer_clear(&last);
}
