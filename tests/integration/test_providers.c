/*
 * Trouble with models, end to end: which trouble leads to which model, what is
 * never asked twice, which time-out ends what, what it costs, and that a reply
 * that waits for its next model can be ended. Two stand-in servers are two
 * providers; `only=` in a message is trouble for one model.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "follow_call.h"
#include "log_lines.h"
#include "metrics_text.h"
#include "prices.h"
#include "stack.h"
#include "standin_text.h"

#define KEYS "OPENAI_API_KEY=first-secret", "CHAT_SECOND_API_KEY=second-secret"

static struct stack stack;
static struct person someone;

static void
start(const struct stack_options *o)
{
	stack_start(&stack, o);
	person_make(&stack, &someone);
}

/* A model, one that stands in at its server, one at another server. */
static void
setup(void)
{
	struct stack_options o = {.has_model = true,
	    .has_second = true,
	    .settings = {KEYS, "CHAT_FALLBACK_MODELS=spare-model",
		"CHAT_MODEL_RETRIES=1", "CHAT_RESPONSE_TIMEOUT=4000",
		"CHAT_HEARTBEAT_SECONDS=1"}};

	start(&o);
}

static void
teardown(void)
{
	if (stack.base[0] != '\0')
		stack_stop(&stack);
}

TestSuite(providers, .init = setup, .fini = teardown, .timeout = 180);
TestSuite(provider_settings, .fini = teardown, .timeout = 180);

static void
get(const char *base, const char *path, struct answer *a)
{
	struct ask ask = {.base = base, .path = path};

	http_ask(&ask, a);
	cr_assert_eq(a->status, 200, "%s: %ld", path, a->status);
}

static bool
is_said(void *arg)
{
	return log_says(stack.log, arg);
}

/* A reply's line is written after its last word. */
static void
expect_said(const char *text)
{
	cr_expect(
	    wait_until(is_said, (void *)(uintptr_t)text, 60000), "%s", text);
}

/* How often this server was asked since count_anew. */
static long
times_asked(const char *server)
{
	return standin_count(server, "chat_requests");
}

static void
count_anew(const struct stack *s)
{
	stack_model_reset(s);
	if (s->second[0] != '\0')
		standin_reset(s->second);
}

/* What a query about one message gives must be this. */
static void
expect_value(const char *sql, const char *message_id, const char *want)
{
	char got[256];

	db_value(sql, message_id, got, sizeof(got));
	cr_expect_str_eq(got, want, "%s: %s, not %s", sql, got, want);
}

#define METADATA   "SELECT metadata::text FROM chat.messages WHERE id = $1"
#define USED_MODEL "SELECT model FROM chat.usage_tracking WHERE message_id = $1"
#define USED_TOKENS                                                        \
	"SELECT completion_tokens > 0 AND prompt_tokens > 0 AND is_billed" \
	" FROM chat.usage_tracking WHERE message_id = $1"

/* The reply was completed by this model, in place of test-model. */
static void
expect_answer_of(const struct answer *a, const char *model)
{
	const char *id;

	cr_assert(answer_ends_with(a, "done"), "%s", a->body.p);
	cr_expect_str_eq(answer_event_text(a, "done", "model"), model);
	cr_expect_str_eq(answer_event_text(a, "done", "metadata.fallback_from"),
	    "test-model");
	id = answer_event_text(a, "done", "id");
	expect_value(METADATA, id, "{\"fallback_from\": \"test-model\"}");
	expect_value(USED_MODEL, id, model);
}

Test(providers, each_trouble_before_the_first_token_leads_to_the_next_model)
{
	static const struct {
		const char *directives;
		int tries;
		const char *outcome;
	} rows[] = {
	    {"status=500", 2, "server_error"},
	    {"status=529", 2, "server_error"},
	    {"status=429", 2, "busy"},
	    {"status=408", 2, "busy"},
	    {"status=409", 2, "busy"},
	    {"status=503 retry_after=60", 1, "server_error"},
	    {"status=401", 1, "key_refused"},
	    {"status=402", 1, "key_refused"},
	    {"status=403", 1, "forbidden"},
	    {"status=404", 1, "unknown_model"},
	    {"status=400 code=context_length_exceeded", 1, "too_long"},
	    {"reset=1 cut=0", 2, NULL},
	    {"hang=1", 1, "timeout"},
	    {"stall=0", 1, "timeout"},
	    {"pings=200 gap=50", 1, "timeout"},
	    {"cut=0", 2, NULL},
	    {"garbage=1", 1, "garbled"},
	    {"midstream_error=0", 1, "garbled"},
	};
	char before[512];
	struct answer m;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char say[256], series[128];
		struct answer a;
		double tries;

		snprintf(series, sizeof(series),
		    "natter_model_tries_total{model=\"asked\",outcome=\"%s\"}",
		    rows[i].outcome != NULL ? rows[i].outcome : "");
		get(stack.base, "/metrics", &m);
		tries = metrics_value(m.body.p, series);
		answer_clear(&m);
		count_anew(&stack);
		snprintf(say, sizeof(say), "[[only=test-model %s]] hello",
		    rows[i].directives);
		person_say(&stack, &someone, say, &a);
		expect_answer_of(&a, "spare-model");
		cr_expect_str_eq(a.text.p, "You said: hello");
		cr_expect_eq(times_asked(stack.model), rows[i].tries + 1,
		    "%s: %ld", rows[i].directives, times_asked(stack.model));
		cr_expect_eq(times_asked(stack.second), 0);
		answer_clear(&a);
		if (rows[i].outcome == NULL)
			continue;
		get(stack.base, "/metrics", &m);
		cr_expect_eq(metrics_value(m.body.p, series) - tries,
		    rows[i].tries, "%s", rows[i].directives);
		answer_clear(&m);
	}
	get(stack.base, "/metrics", &m);
	snprintf(before, sizeof(before), "%s",
	    metrics_fault(m.body.p) ? metrics_fault(m.body.p) : "");
	cr_expect_str_eq(before, "");
	cr_expect_eq(metrics_value(m.body.p, "natter_model_fallbacks_total"),
	    sizeof(rows) / sizeof(rows[0]));
	cr_expect_eq(metrics_value(m.body.p, "natter_model_breakers_open"), 0);
	answer_clear(&m);
}

/* libcurl itself asks once more where a kept connection broke at once. */
Test(providers, a_connection_that_breaks_leads_to_the_next_model)
{
	struct answer a;

	person_say(&stack, &someone, "[[only=test-model drop=1]] hello", &a);
	expect_answer_of(&a, "spare-model");
	answer_clear(&a);
	expect_said("test-model x2 unreached");
}

Test(providers, what_no_model_would_take_is_asked_once)
{
	static const char *const rows[] = {
	    "status=400",
	    "status=422",
	    "status=400 code=content_policy_violation",
	    "status=403 code=content_filter",
	    "midstream_error=0 code=content_filter",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char say[128];
		struct answer a;

		count_anew(&stack);
		snprintf(say, sizeof(say), "[[%s]] hello", rows[i]);
		person_say(&stack, &someone, say, &a);
		cr_expect(answer_ends_with(&a, "error"), "%s", rows[i]);
		cr_expect_str_eq(
		    answer_event_text(&a, "error", "code"), "model_failed");
		cr_expect_eq(times_asked(stack.model), 1, "%s", rows[i]);
		cr_expect_eq(times_asked(stack.second), 0);
		answer_clear(&a);
	}
}

/* The last request that a server got: whom it named, and with which key. */
static void
expect_last(const char *server, const char *model, const char *key)
{
	char authorization[64];
	struct answer a;

	snprintf(authorization, sizeof(authorization), "Bearer %s", key);
	get(server, "/_last", &a);
	cr_expect_str_eq(answer_text(&a, "body.model"), model);
	cr_expect_str_eq(
	    answer_text(&a, "headers.authorization"), authorization);
	cr_expect_str_eq(answer_text(&a, "body.stream"), "true");
	cr_expect_str_eq(answer_text(&a, "body.messages.0.content"),
	    "You are a helpful assistant.");
	answer_clear(&a);
}

Test(providers, they_are_asked_in_their_order_each_with_its_own_key)
{
	struct answer a;

	count_anew(&stack);
	person_say(&stack, &someone,
	    "[[only=test-model status=500]][[only=spare-model status=401]] "
	    "hello",
	    &a);
	expect_answer_of(&a, "second-model");
	cr_expect_str_eq(a.text.p, "You said: hello");
	cr_expect_eq(times_asked(stack.model), 3);
	cr_expect_eq(times_asked(stack.second), 1);
	expect_last(stack.model, "spare-model", "first-secret");
	expect_last(stack.second, "second-model", "second-secret");
	answer_clear(&a);
	expect_said("a model's server refuses our key");
	expect_said("test-model x2 server_error, "
		    "spare-model x1 key_refused");
}

/* Why a try failed stands in the log in the server's words. */
Test(providers, no_key_gets_into_the_log)
{
	static const char *const rows[] = {
	    "[[only=test-model status=401 quote=1]] hello",
	    "[[only=test-model status=400 quote=1]] hello",
	    "[[only=second-model status=401 quote=1]][[drop=1]] hello",
	    "[[status=401 quote=1]] hello",
	};
	struct answer a;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		person_say(&stack, &someone, rows[i], &a);
		cr_expect_null(strstr(a.body.p, "-secret"));
		answer_clear(&a);
	}
	expect_said("model answered 401: ************");
	cr_expect(!log_says(stack.log, "-secret"));
}

Test(providers, when_all_fail_the_last_one_says_why_and_nothing_is_billed)
{
	struct answer a;
	const char *id;

	count_anew(&stack);
	person_say(&stack, &someone,
	    "[[only=second-model hang=1]][[status=500]] hello", &a);
	cr_expect(answer_ends_with(&a, "error"));
	cr_expect_str_eq(
	    answer_event_text(&a, "error", "code"), "model_timeout");
	cr_expect_eq(times_asked(stack.model), 4);
	/* The last one is asked again: there is nobody else. */
	cr_expect_eq(times_asked(stack.second), 2);
	id = answer_event_text(&a, "error", "message_id");
	expect_value("SELECT status || ' ' || error_code || ' ' || "
		     "octet_length(content) FROM chat.messages WHERE id = $1",
	    id, "failed model_timeout 0");
	expect_value("SELECT prompt_tokens + completion_tokens FROM "
		     "chat.usage_tracking WHERE message_id = $1",
	    id, "0");
	answer_clear(&a);
}

Test(providers, a_reply_in_one_document_is_helped_as_well)
{
	char path[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = someone.token,
	    .json = "{\"content\":\"[[only=test-model status=404]] hello\"}"};
	struct answer a;

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    someone.conversation);
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 201);
	cr_expect_str_eq(answer_text(&a, "model"), "spare-model");
	cr_expect_str_eq(
	    answer_text(&a, "metadata.fallback_from"), "test-model");
	answer_clear(&a);
}

Test(providers, after_the_first_token_nothing_is_asked_again)
{
	static const struct {
		const char *directives;
		const char *code;
	} rows[] = {
	    {"stall=1", "model_timeout"},
	    {"stall=3", "model_timeout"},
	    {"cut=1", "model_cut"},
	    {"cut=4", "model_cut"},
	    {"cut=3 reset=1", "model_cut"},
	    {"midstream_error=1", "model_failed"},
	    {"midstream_error=4", "model_failed"},
	    {"badjson=2 cut=4", "model_cut"},
	    {"pings=2 thoughts=2 stall=2", "model_timeout"},
	};
	char whole[201] = "";

	standin_text(1, 200, whole);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char say[128], *text, id[40];
		struct answer a;

		count_anew(&stack);
		snprintf(say, sizeof(say), "[[text=200 chunk=20 gap=20 %s]] go",
		    rows[i].directives);
		person_say(&stack, &someone, say, &a);
		cr_expect(answer_ends_with(&a, "error"), "%s: %s",
		    rows[i].directives, a.body.p);
		cr_expect_str_eq(answer_event_text(&a, "error", "code"),
		    rows[i].code, "%s", rows[i].directives);
		cr_expect_eq(
		    times_asked(stack.model), 1, "%s", rows[i].directives);
		cr_expect_eq(times_asked(stack.second), 0);
		snprintf(id, sizeof(id), "%s",
		    answer_event_text(&a, "error", "message_id"));
		text = db_text(
		    "SELECT content FROM chat.messages WHERE id = $1", id);
		cr_expect_str_eq(text, a.text.p, "%s", rows[i].directives);
		cr_expect_gt(a.text.n, 0, "%s", rows[i].directives);
		cr_expect_eq(strncmp(whole, a.text.p, a.text.n), 0);
		expect_value("SELECT status FROM chat.messages WHERE id = $1",
		    id, "failed");
		expect_value(METADATA, id, "{}");
		expect_value(USED_TOKENS, id, "t");
		free(text);
		answer_clear(&a);
	}
}

/* Asks the same of a new conversation; is the answer one that was kept? */
static bool
is_kept_answer(void *arg)
{
	char path[128], conversation[40];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = someone.token,
	    .json = "{\"content\":\"[[only=test-model fail=1 status=404 "
		    "id=once]] hello\",\"cache\":true}"};
	struct answer a;
	bool is_kept;
	int *n = arg;

	person_converse(&stack, &someone, conversation);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    conversation);
	http_ask(&ask, &a);
	cr_expect_eq(a.status, 201);
	cr_expect_str_eq(answer_text(&a, "model"),
	    (*n)++ == 0 ? "spare-model" : "test-model");
	is_kept = strcmp(answer_text(&a, "metadata.cached"), "true") == 0;
	answer_clear(&a);
	return is_kept;
}

Test(providers, an_answer_of_a_model_that_stands_in_is_not_kept_as_anothers)
{
	int n = 0;

	cr_expect(!is_kept_answer(&n));
	cr_expect(wait_until(is_kept_answer, &n, 30000));
}

/* Each in a conversation of its own, all at once: every one takes seconds, so
 * that a busy machine's stalls are none of the silences that are meant. */
Test(provider_settings, the_time_outs_are_three)
{
	static const struct {
		const char *say, *end, *why;
	} rows[] = {
	    /* Silent for longer than a reply may be, but before its first
	     * token. */
	    {"[[first=7000]] hello", "done", NULL},
	    /* A connection that is kept open brings no token. */
	    {"[[pings=300 gap=100]] hello", "error", "no first token in time"},
	    /* One that thinks aloud is at work, for longer than the first token
	     * may take, */
	    {"[[thoughts=36 gap=400]] hello", "done", NULL},
	    /* and when it falls silent it is as silent as any. */
	    {"[[thoughts=2 gap=100 stall=0]] hello", "error",
		"was silent too long"},
	    /* What never ends ends here. */
	    {"[[events=1000 gap=100]] hello", "error", "took too long"},
	    {"[[thoughts=1000 gap=100]] hello", "error", "took too long"},
	};
	enum { N = sizeof(rows) / sizeof(rows[0]) };
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_FIRST_TOKEN_TIMEOUT=12000",
		"CHAT_RESPONSE_TIMEOUT=4000", "CHAT_REPLY_MAX_SECONDS=24",
		"CHAT_MODEL_RETRIES=0"}};
	static struct call calls[N];

	start(&o);
	for (size_t i = 0; i < N; i++) {
		struct person p = someone;

		person_converse(&stack, &p, p.conversation);
		call_say(&calls[i], &stack, &p, rows[i].say, 0);
	}
	for (size_t i = 0; i < N; i++) {
		const struct answer *a = call_join(&calls[i]);

		cr_expect(answer_ends_with(a, rows[i].end), "%s: %s",
		    rows[i].say, a->body.p);
		if (rows[i].why != NULL) {
			cr_expect_str_eq(answer_event_text(a, "error", "code"),
			    "model_timeout");
			expect_said(rows[i].why);
		}
		call_clear(&calls[i]);
	}
}

Test(provider_settings, natter_local_stands_in_where_it_is_listed)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_FALLBACK_MODELS=spare-model natter-local",
		"CHAT_MODEL_RETRIES=0"}};
	struct answer a;
	const char *id;

	start(&o);
	person_say(&stack, &someone, "[[status=500]] Who are you?", &a);
	expect_answer_of(&a, "natter-local");
	cr_expect_not_null(strcasestr(a.text.p, "natter"), "%s", a.text.p);
	id = answer_event_text(&a, "done", "id");
	expect_value("SELECT is_billed || ' ' || cost FROM "
		     "chat.usage_tracking WHERE message_id = $1",
	    id, "false 0.00000000");
	answer_clear(&a);
	person_say(&stack, &someone, "hello", &a);
	cr_expect_str_eq(answer_event_text(&a, "done", "model"), "test-model");
	expect_value(METADATA, answer_event_text(&a, "done", "id"), "{}");
	answer_clear(&a);
	/* It stays a model of its own. */
	person_say(&stack, &someone, "How many messages do I have?", &a);
	answer_clear(&a);
}

/* A command was the model's: it does nothing in its place. */
Test(provider_settings, natter_local_standing_in_carries_nothing_out)
{
	struct stack_options o = {
	    .settings = {"OPENAI_BASE_URL=http://127.0.0.1:1/v1",
		"CHAT_MODEL=test-model", "CHAT_FALLBACK_MODELS=natter-local",
		"CHAT_MODEL_RETRIES=0"}};
	struct answer a;

	start(&o);
	person_say(&stack, &someone, "add a task to buy milk", &a);
	expect_answer_of(&a, "natter-local");
	cr_expect_not_null(
	    strstr(a.text.p, "do nothing in its place"), "%s", a.text.p);
	answer_clear(&a);
	expect_value("SELECT count(*) FROM chat.tasks t JOIN auth.users u"
		     " ON u.id = t.user_id WHERE u.username = $1",
	    someone.username, "0");
}

static void
forget_prices(void)
{
	prices_forget("prov-");
	teardown();
}

/* Names of its own: the other test may run beside it. */
static void
forget_free_prices(void)
{
	prices_forget("free-");
	teardown();
}

/* A million tokens of the first one cost 1, of the other 100. */
Test(provider_settings, where_money_is_limited_a_model_needs_a_price,
    .fini = forget_prices)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_MODEL=prov-cheap",
		"CHAT_FALLBACK_MODELS=priceless prov-dear",
		"CHAT_MODEL_RETRIES=0", "CHAT_MAX_COST_PER_DAY=10000"}};
	struct answer a;
	const char *id;

	price_set("prov-cheap", "1");
	price_set("prov-dear", "100");
	start(&o);
	count_anew(&stack);
	person_say(
	    &stack, &someone, "[[only=prov-cheap status=500]] hello", &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(answer_event_text(&a, "done", "model"), "prov-dear");
	cr_expect_eq(times_asked(stack.model), 2);
	id = answer_event_text(&a, "done", "id");
	/* Settled at what it really cost, and nothing stays reserved. */
	expect_value("SELECT cost = (prompt_tokens + completion_tokens) * "
		     "100 / 1000000.0 AND cost > 0 FROM chat.usage_tracking "
		     "WHERE message_id = $1",
	    id, "t");
	expect_value(
	    "SELECT sum(cost_reserved) = 0 AND sum(cost_used) = (SELECT "
	    "2 * sum(u.cost) FROM chat.usage_tracking u WHERE u.user_id = "
	    "m.user_id) FROM chat.token_budgets b JOIN chat.messages m ON "
	    "m.user_id = b.user_id WHERE m.id = $1 AND b.store_id IS NULL "
	    "GROUP BY m.user_id",
	    id, "t");
	answer_clear(&a);
}

Test(provider_settings, where_money_is_not_limited_any_model_stands_in,
    .fini = forget_free_prices)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_MODEL=free-cheap",
		"CHAT_FALLBACK_MODELS=priceless free-dear",
		"CHAT_MODEL_RETRIES=0"}};
	struct answer a;

	price_set("free-cheap", "1");
	start(&o);
	person_say(
	    &stack, &someone, "[[only=free-cheap status=500]] hello", &a);
	cr_expect_str_eq(answer_event_text(&a, "done", "model"), "priceless");
	/* Nobody knows what it cost, and not what the one asked for would. */
	expect_value(
	    "SELECT cost FROM chat.usage_tracking WHERE message_id = $1",
	    answer_event_text(&a, "done", "id"), "0.00000000");
	answer_clear(&a);
}

/* A reply in a thread of its own. */
struct waiting {
	pthread_t thread;
	const char *content;
	struct answer answer;
};

static void *
wait_for_reply(void *arg)
{
	struct waiting *w = arg;

	person_say(&stack, &someone, w->content, &w->answer);
	return NULL;
}

static void
say_meanwhile(struct waiting *w, const char *content)
{
	w->content = content;
	pthread_create(&w->thread, NULL, wait_for_reply, w);
}

static bool
was_asked_once(void *arg)
{
	return times_asked(arg) == 1;
}

static bool
was_asked_twice(void *arg)
{
	return times_asked(arg) == 2;
}

static void
log_out(void)
{
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/auth/logout",
	    .token = someone.token};
	struct answer a;

	http_ask(&ask, &a);
	cr_expect_eq(a.status, 204);
	answer_clear(&a);
}

static void
expect_ended(struct waiting *w, const char *code, int tries)
{
	const char *id;

	pthread_join(w->thread, NULL);
	cr_expect(
	    answer_ends_with(&w->answer, "error"), "%s", w->answer.body.p);
	cr_expect_str_eq(answer_event_text(&w->answer, "error", "code"), code);
	id = answer_event_text(&w->answer, "error", "message_id");
	expect_value("SELECT status FROM chat.messages WHERE id = $1", id,
	    "interrupted");
	cr_expect_eq(times_asked(stack.model), tries);
	answer_clear(&w->answer);
}

Test(provider_settings, a_reply_that_pauses_ends_with_its_session)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_MODEL_RETRIES=10"}};
	static struct waiting w;

	start(&o);
	/* Ten tries with 10 s between them: it pauses nearly always. */
	say_meanwhile(&w, "[[status=429 retry_after=10]] hello");
	cr_assert(wait_until(was_asked_once, stack.model, 60000));
	log_out();
	expect_ended(&w, "session_revoked", 1);
}

Test(provider_settings, a_reply_that_waits_for_another_model_ends_as_well)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_FALLBACK_MODELS=spare-model"}};
	static struct waiting w;

	start(&o);
	say_meanwhile(&w, "[[only=test-model status=401]][[hang=1]] hello");
	cr_assert(wait_until(was_asked_twice, stack.model, 60000));
	log_out();
	expect_ended(&w, "session_revoked", 2);
}

Test(provider_settings, a_reply_that_pauses_does_not_hold_up_a_stop)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_MODEL_RETRIES=10", "CHAT_DRAIN_SECONDS=1"}};
	static struct waiting w;

	start(&o);
	say_meanwhile(&w, "[[status=429 retry_after=10]] hello");
	cr_assert(wait_until(was_asked_once, stack.model, 60000));
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	expect_ended(&w, "draining", 1);
}
