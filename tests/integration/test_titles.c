/*
 * Titles that a model makes: after the first reply and off its path, billed,
 * never over a name that the user gave, and never in anybody's way.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "promises.h"
#include "stack.h"

static struct stack stack;
static struct person person;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(titles, .fini = teardown, .timeout = 180);

/* Makes a conversation without a title. */
static void
converse(const char *json)
{
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/conversations",
	    .token = person.token,
	    .json = json};
	struct answer a;

	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(person.conversation, sizeof(person.conversation), "%s",
	    answer_text(&a, "id"));
	answer_clear(&a);
}

static void
start(const char *budget)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_TITLES=on", "CHAT_TITLE_MODEL=title-model",
		budget, "CHAT_WORKERS=1"}};

	stack_start(&stack, &o);
	person_make(&stack, &person);
	converse("{}");
}

static void
title_of(char out[256])
{
	char path[96];
	struct ask ask = {
	    .base = stack.base, .path = path, .token = person.token};
	struct answer a;

	snprintf(path, sizeof(path), "/api/v1/conversations/%s",
	    person.conversation);
	http_ask(&ask, &a);
	snprintf(out, 256, "%s", answer_text(&a, "title"));
	answer_clear(&a);
}

static bool
has_title(void *want)
{
	char title[256];

	title_of(title);
	return strcmp(title, want) == 0;
}

static void
say(const char *content)
{
	struct answer a;

	person_say(&stack, &person, content, &a);
	cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

static bool
has_asked(void *n)
{
	return stack_model_count(&stack, "chat_requests") >= *(int *)n;
}

static void
expect_db(const char *sql, const char *want)
{
	char value[256];

	db_value(sql, person.user_id, value, sizeof(value));
	cr_expect_str_eq(value, want, "%s: %s, not %s", sql, value, want);
}

static void
expect_account(void)
{
	expect_db("SELECT count(*) FROM chat.budgets_amiss("
		  "date_trunc('month', now())::date) WHERE $1::text <> ''",
	    "0");
	expect_db("SELECT count(*) FROM chat.running_replies"
		  " WHERE user_id = $1",
	    "0");
}

/* Counts in the sum of the user's day what the rows say. */
static long
usage_number(const char *member)
{
	struct ask ask = {.base = stack.base,
	    .path = "/api/v1/me/usage",
	    .token = person.token};
	struct json_object *data, *day, *value;
	struct answer a;
	long n = -1;

	http_ask(&ask, &a);
	struct json_object *o = json_tokener_parse(a.body.p);
	if (json_object_object_get_ex(o, "data", &data) &&
	    json_object_array_length(data) > 0) {
		day = json_object_array_get_idx(data, 0);
		if (json_object_object_get_ex(day, member, &value))
			n = (long)json_object_get_int64(value);
	}
	json_object_put(o);
	answer_clear(&a);
	return n;
}

static bool
is_billed(void *arg)
{
	char n[16];

	(void)arg;
	db_value("SELECT count(*) FROM chat.usage_tracking"
		 " WHERE user_id = $1 AND message_id IS NULL"
		 " AND conversation_id IS NOT NULL",
	    person.user_id, n, sizeof(n));
	return atoi(n) > 0;
}

Test(titles, the_first_reply_gives_a_title)
{
	char title[256];
	long before;

	start("CHAT_MAX_TOKENS_PER_DAY=1000000");
	/* Only the title's answer waits: nobody sees it wait. */
	say("[[only=title-model gate=1000]][[only=test-model]] hello there");
	title_of(title);
	cr_expect_str_eq(title,
	    "[[only=title-model gate=1000]][[only=test-model]] hello ther");
	before = usage_number("total_tokens");
	stack_model_open(&stack);
	cr_assert(wait_until(is_billed, NULL, 30000));
	/* The stand-in says what it was told: its first line is the title. */
	cr_assert(wait_until(has_title, "You said: hello there", 30000));
	cr_expect_gt(usage_number("total_tokens"), before);
	cr_expect_eq(usage_number("replies"), 1);
	expect_db(
	    "SELECT model || ' ' || is_billed || ' ' || (prompt_tokens > 0)"
	    " FROM chat.usage_tracking"
	    " WHERE user_id = $1 AND message_id IS NULL",
	    "title-model true true");
	expect_account();
	/* Once is enough. */
	say("more");
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 3);
}

Test(titles, what_the_user_has_named_meanwhile_stays)
{
	char path[96], title[256];

	start("CHAT_MAX_TOKENS_PER_DAY=1000000");
	say("[[only=title-model gate=1000]][[only=test-model]] hello");
	snprintf(path, sizeof(path), "/api/v1/conversations/%s",
	    person.conversation);
	cr_assert_eq(call_status(&stack, "PATCH", path, person.token,
			 "{\"title\":\"mine\"}"),
	    200);
	stack_model_open(&stack);
	cr_assert(wait_until(is_billed, NULL, 30000));
	title_of(title);
	cr_expect_str_eq(title, "mine");
	expect_account();
}

Test(titles, a_named_or_temporary_conversation_asks_for_none)
{
	char title[256];

	start("CHAT_MAX_TOKENS_PER_DAY=1000000");
	converse("{\"title\":\"named\"}");
	say("hello");
	converse("{\"temporary\":true}");
	say("hello");
	/* One that does, to see that the others did not. */
	converse("{}");
	say("last");
	cr_assert(wait_until(has_title, "You said: last", 30000));
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 4);
	converse("{\"model\":\"natter-local\"}");
	say("local");
	title_of(title);
	cr_expect_str_eq(title, "local");
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 4);
}

static bool
was_refused(void *arg)
{
	struct ask ask = {.base = stack.base, .path = "/metrics"};
	struct answer a;
	bool was;

	(void)arg;
	http_ask(&ask, &a);
	was = strstr(a.body.p, arg) != NULL;
	answer_clear(&a);
	return was;
}

/* What is left is the reply's; a title is not asked for. */
Test(titles, without_a_budget_nothing_is_asked)
{
	char title[256];

	start("CHAT_MAX_TOKENS_PER_DAY=120");
	say("[[text=280]] hello");
	cr_assert(wait_until(was_refused,
	    (void *)(uintptr_t) "natter_afterwork_total{outcome=\"refused\"} 1",
	    30000));
	title_of(title);
	cr_expect_str_eq(title, "[[text=280]] hello");
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 1);
	expect_account();
}

Test(titles, a_model_that_fails_is_nobodys_matter)
{
	static const char *const faults[] = {
	    "status=500", "drop=1", "garbage=1", "cut=1", "refusal=1 text=0"};
	char content[128], title[256], want[64];

	start("CHAT_MAX_TOKENS_PER_DAY=1000000");
	for (size_t i = 0; i < 4; i++) {
		converse("{}");
		snprintf(content, sizeof(content),
		    "[[only=title-model %s]][[only=test-model]] hi", faults[i]);
		say(content);
		snprintf(want, sizeof(want),
		    "natter_afterwork_total{outcome=\"failed\"} %zu", i + 1);
		cr_assert(wait_until(was_refused, want, 30000), "%s", want);
		title_of(title);
		cr_expect_str_eq(title, content);
	}
	expect_account();
}

/* A stop drops what is being asked, and does not wait for it. */
Test(titles, draining_drops_them)
{
	int two = 2;

	start("CHAT_MAX_TOKENS_PER_DAY=1000000");
	say("[[only=title-model hang=1]][[only=test-model]] hi");
	cr_assert(wait_until(has_asked, &two, 30000));
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	expect_account();
}

Test(titles, a_killed_worker_leaves_nothing_behind)
{
	pid_t workers[4];
	int two = 2;

	start("CHAT_MAX_TOKENS_PER_DAY=1000000");
	say("[[only=title-model hang=1]][[only=test-model]] hi");
	cr_assert(wait_until(has_asked, &two, 30000));
	cr_assert_eq(stack_workers(&stack, workers, 4), 1u);
	kill(workers[0], SIGKILL);
	expect_account();
	expect_db("SELECT count(*) FROM chat.usage_tracking"
		  " WHERE user_id = $1",
	    "1");
	converse("{}");
	say("hello");
	cr_assert(wait_until(has_title, "You said: hello", 60000));
	expect_account();
}

/* More than run at once and wait: some are dropped, all replies come. */
Test(titles, many_at_once_hold_up_nobody)
{
	start("CHAT_MAX_TOKENS_PER_DAY=10000000");
	for (int i = 0; i < 80; i++) {
		converse("{}");
		say("[[only=title-model hang=1]][[only=test-model]] hi");
	}
	cr_assert(wait_until(was_refused,
	    (void *)(uintptr_t) "natter_afterwork_total{outcome=\"dropped\"} ",
	    10000));
	expect_account();
}
