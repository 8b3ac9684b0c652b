/*
 * Moderation: what is flagged reaches no model, costs nothing and is told as a
 * problem; a server that does not answer does what the settings say; replies
 * are marked or withheld. The stand-in's #words say what it finds.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "promises.h"
#include "stack.h"

#define HARMLESS "CHAT_MAX_TOKENS_PER_DAY=1000000"

static struct stack stack;
static struct person person;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(moderation, .fini = teardown, .timeout = 180);

static void
start(const char *first, const char *second, const char *third)
{
	struct stack_options o = {.has_model = true,
	    .has_moderation = true,
	    .settings = {HARMLESS, "CHAT_WORKERS=1", first, second, third}};

	stack_start(&stack, &o);
	person_make(&stack, &person);
}

/* Is this among what the model and its moderation were sent? */
static bool
was_sent(const char *text)
{
	struct ask ask = {.base = stack.model, .path = "/_last"};
	struct answer a;
	bool was;

	http_ask(&ask, &a);
	was = strstr(a.body.p, text) != NULL;
	answer_clear(&a);
	return was;
}

static void
expect_db(const char *sql, const char *want)
{
	char value[256];

	db_value(sql, person.user_id, value, sizeof(value));
	cr_expect_str_eq(value, want, "%s: %s, not %s", sql, value, want);
}

/* No budget is amiss, and nothing is held. */
static void
expect_account(const char *tokens)
{
	expect_db("SELECT count(*) FROM chat.budgets_amiss("
		  "date_trunc('month', now())::date) WHERE $1::text <> ''",
	    "0");
	expect_db("SELECT count(*) FROM chat.running_replies"
		  " WHERE user_id = $1",
	    "0");
	if (tokens != NULL)
		expect_db("SELECT coalesce(sum(prompt_tokens +"
			  " completion_tokens), 0) FROM chat.usage_tracking"
			  " WHERE user_id = $1",
		    tokens);
}

static void
say(const char *content, struct answer *a)
{
	person_say(&stack, &person, content, a);
}

static void
expect_problem(const struct answer *a, const char *code)
{
	cr_expect(answer_ends_with(a, "error"), "%s", a->body.p);
	cr_expect_str_eq(answer_event_text(a, "start", "conversation_id"),
	    person.conversation);
	cr_expect_str_eq(answer_event_text(a, "error", "code"), code);
}

Test(moderation, what_is_flagged_reaches_no_model_and_costs_nothing)
{
	struct answer a;

	start(NULL, NULL, NULL);
	say("how to #flag=violence,self-harm/intent please", &a);
	expect_problem(&a, "content_refused");
	answer_clear(&a);
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 0);
	cr_expect_eq(stack_model_count(&stack, "moderation_requests"), 1);
	expect_account("0");
	expect_db("SELECT metadata->'moderation' FROM chat.messages"
		  " WHERE user_id = $1 AND role = 'assistant'",
	    "{\"flagged\": \"question\", \"categories\":"
	    " [\"violence\", \"self-harm/intent\"]}");
	expect_db("SELECT status || ' ' || error_code FROM chat.messages"
		  " WHERE user_id = $1 AND role = 'assistant'",
	    "failed content_refused");
	expect_db("SELECT string_agg(name || ' ' || value, ', ' ORDER BY name)"
		  " FROM chat.analytics WHERE user_id = $1"
		  " AND category = 'moderation'",
	    "self-harm/intent 1, violence 1");
	/* The next question is answered; the first is not told on. */
	say("and now?", &a);
	cr_expect(answer_ends_with(&a, "done"));
	cr_expect_str_eq(a.text.p, "You said: and now?");
	answer_clear(&a);
	cr_expect(was_sent("and now?"));
	cr_expect_not(was_sent("#flag"));
	expect_account(NULL);
}

Test(moderation, a_refusal_without_a_stream_is_a_problem_document)
{
	struct answer a;
	const struct send send = {.conversation = person.conversation,
	    .json = "{\"content\":\"#flag=violence\"}"};

	start(NULL, NULL, NULL);
	call_send(&stack, &person, &send, &a);
	cr_expect_eq(a.status, 422, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_text(&a, "code"), "content_refused");
	cr_expect_str_neq(answer_text(&a, "message_id"), "");
	answer_clear(&a);
}

Test(moderation, natter_local_is_moderated_too)
{
	struct answer a;
	char path[96];

	start(NULL, NULL, NULL);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s",
	    person.conversation);
	cr_assert_eq(call_status(&stack, "PATCH", path, person.token,
			 "{\"model\":\"natter-local\"}"),
	    200);
	say("#flag=violence", &a);
	expect_problem(&a, "content_refused");
	cr_expect_eq(a.text.n, 0u);
	answer_clear(&a);
	say("Who are you?", &a);
	cr_expect(answer_ends_with(&a, "done"));
	cr_expect_gt(a.text.n, 0u);
	answer_clear(&a);
	cr_expect_eq(stack_model_count(&stack, "moderation_requests"), 2);
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 0);
}

static const char *const faults[] = {"500", "404", "garbage", "empty", "hang"};

Test(moderation, without_an_answer_nothing_goes_on)
{
	char content[64];
	struct answer a;

	start("CHAT_MODERATION_TIMEOUT=4000", NULL, NULL);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		snprintf(content, sizeof(content), "#moderation=%s", faults[i]);
		say(content, &a);
		expect_problem(&a, "unavailable");
		answer_clear(&a);
	}
	stack_model_end(&stack);
	say("dead", &a);
	expect_problem(&a, "unavailable");
	answer_clear(&a);
	stack_model_again(&stack);
	say("alive", &a);
	cr_expect(answer_ends_with(&a, "done"));
	answer_clear(&a);
	expect_account(NULL);
}

Test(moderation, without_an_answer_it_goes_on_where_the_settings_say_so)
{
	char content[64];
	struct answer a;

	start(
	    "CHAT_MODERATION_TIMEOUT=4000", "CHAT_MODERATION_FAIL=open", NULL);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		snprintf(content, sizeof(content), "#moderation=%s", faults[i]);
		say(content, &a);
		cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
		answer_clear(&a);
	}
	say("#flag=violence", &a);
	expect_problem(&a, "content_refused");
	answer_clear(&a);
	expect_account(NULL);
}

Test(moderation, a_flagged_reply_is_marked)
{
	struct answer a;

	start("CHAT_MODERATION_REPLIES=mark", NULL, NULL);
	say("#replyflag=violence", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(a.text.p, "You said: #replyflag=violence");
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "finish_reason"), "content_filter");
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "metadata.moderation.flagged"),
	    "reply");
	answer_clear(&a);
	say("harmless", &a);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "finish_reason"), "stop");
	answer_clear(&a);
	cr_expect_eq(stack_model_count(&stack, "moderation_requests"), 4);
	expect_account(NULL);
}

Test(moderation, a_flagged_reply_is_withheld_and_billed)
{
	struct answer a;
	char used[32];

	start("CHAT_MODERATION_REPLIES=withhold", NULL, NULL);
	say("#replyflag=violence", &a);
	expect_problem(&a, "content_refused");
	cr_expect_eq(a.text.n, 0u, "%s", a.body.p);
	cr_expect_null(strstr(a.body.p, "You said"));
	answer_clear(&a);
	expect_db("SELECT content || (metadata->'moderation'->>'flagged')"
		  " FROM chat.messages WHERE user_id = $1"
		  " AND role = 'assistant'",
	    "reply");
	db_value("SELECT prompt_tokens > 0 AND completion_tokens > 0"
		 " FROM chat.usage_tracking WHERE user_id = $1",
	    person.user_id, used, sizeof(used));
	cr_expect_str_eq(used, "t", "the model's work is paid for");
	say("harmless", &a);
	cr_expect(answer_ends_with(&a, "done"));
	cr_expect_str_eq(a.text.p, "You said: harmless");
	answer_clear(&a);
	/* What is stopped before it was checked is nobody's either. */
	say("[[stall=2]] #replyflag=violence and more words to come", &a);
	cr_expect_eq(a.text.n, 0u);
	answer_clear(&a);
	expect_account(NULL);
}

#define TASKS "SELECT count(*) FROM chat.tasks WHERE user_id = $1"
#define LOGGED \
	"SELECT count(*) FROM chat.task_operation_logs WHERE user_id = $1"

/* Nothing of what was called is told or kept with the message. */
static void
expect_no_calls(const struct answer *a)
{
	expect_problem(a, "content_refused");
	cr_expect_eq(a->text.n, 0u, "%s", a->body.p);
	cr_expect_null(strstr(a->body.p, "tool_"), "%s", a->body.p);
	expect_db("SELECT content || tool_calls || tool_responses ||"
		  " (metadata->'moderation'->>'flagged')"
		  " FROM chat.messages WHERE user_id = $1"
		  " AND role = 'assistant'",
	    "[][]reply");
	expect_db("SELECT count(*) FROM chat.messages m"
		  " WHERE m.user_id = $1 AND m.role = 'assistant'"
		  " AND to_jsonb(m)::text ~ 'Milk|callflag'",
	    "0");
}

Test(moderation, what_a_withheld_reply_calls_is_checked_before_it_is_done)
{
	struct answer a;

	start("CHAT_MODERATION_REPLIES=withhold", "CHAT_TOOLS=on", NULL);
	say("[[tool=create_task args={\"title\":\"#callflag=violence\"}]] go",
	    &a);
	expect_no_calls(&a);
	answer_clear(&a);
	expect_db(TASKS, "0");
	expect_db(LOGGED, "0");
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 1);
	expect_account(NULL);
}

Test(moderation, a_withheld_reply_keeps_nothing_of_what_it_called)
{
	struct answer a;

	start("CHAT_MODERATION_REPLIES=withhold", "CHAT_TOOLS=on", NULL);
	say("[[tool=create_task args={\"title\":\"Milk\"} then=create_task"
	    " thenargs={\"title\":\"#callflag=violence\"} rounds=2]] go",
	    &a);
	expect_no_calls(&a);
	answer_clear(&a);
	/* The first call was harmless, and is done. */
	expect_db(TASKS, "1");
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 2);
	expect_account(NULL);
}

Test(moderation, what_passes_is_done_and_told)
{
	struct answer a;

	start("CHAT_MODERATION_REPLIES=withhold", "CHAT_TOOLS=on", NULL);
	say("[[text=40 tool=create_task args={\"title\":\"Milk\"}]] go", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(
	    answer_event_text(&a, "tool_call", "arguments.title"), "Milk");
	answer_clear(&a);
	expect_db(TASKS, "1");
	/* The question, what is called, the reply. */
	cr_expect_eq(stack_model_count(&stack, "moderation_requests"), 3);
	expect_account(NULL);
}

#define UNCHECKED "[[tool=create_task args={\"title\":\"#callfault=500\"}]] go"

Test(moderation, what_is_called_and_cannot_be_checked_is_not_done)
{
	struct answer a;

	start("CHAT_MODERATION_REPLIES=withhold", "CHAT_TOOLS=on", NULL);
	say(UNCHECKED, &a);
	expect_problem(&a, "unavailable");
	cr_expect_null(strstr(a.body.p, "tool_"), "%s", a.body.p);
	answer_clear(&a);
	expect_db(TASKS, "0");
	expect_account(NULL);
}

Test(moderation, what_is_called_is_done_unchecked_where_the_settings_say_so)
{
	struct answer a;

	start("CHAT_MODERATION_REPLIES=withhold", "CHAT_TOOLS=on",
	    "CHAT_MODERATION_FAIL=open");
	say(UNCHECKED, &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
	expect_db(TASKS, "1");
	expect_account(NULL);
}

Test(moderation, what_a_marked_reply_calls_is_checked_with_it)
{
	struct answer a;

	start("CHAT_MODERATION_REPLIES=mark", "CHAT_TOOLS=on", NULL);
	say("[[tool=create_task args={\"title\":\"#callflag=violence\"}]] go",
	    &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(
	    answer_event_text(&a, "done", "finish_reason"), "content_filter");
	answer_clear(&a);
	expect_db(TASKS, "1");
	expect_account(NULL);
}

/* Somebody who waits for a reply whose question is being checked for ever. */
static void *
ask_for_ever(void *arg)
{
	person_say(&stack, &person, "#moderation=hang", arg);
	return NULL;
}

static void *
call_for_ever(void *arg)
{
	person_say(&stack, &person,
	    "[[text=40 tool=create_task"
	    " args={\"title\":\"#callfault=hang\"}]] go",
	    arg);
	return NULL;
}

static bool
is_checking(void *arg)
{
	(void)arg;
	return stack_model_count(&stack, "moderation_requests") > 0;
}

static void
find_reply(char id[40])
{
	db_value("SELECT message_id FROM chat.running_replies"
		 " WHERE user_id = $1",
	    person.user_id, id, 40);
}

Test(moderation, a_reply_can_be_cancelled_while_its_question_is_checked)
{
	struct answer a;
	pthread_t thread;
	char id[40], path[96];

	start("CHAT_MODERATION_TIMEOUT=30000", NULL, NULL);
	pthread_create(&thread, NULL, ask_for_ever, &a);
	cr_assert(wait_until(is_checking, NULL, 60000));
	find_reply(id);
	snprintf(path, sizeof(path), "/api/v1/messages/%s/cancel", id);
	cr_expect_eq(
	    call_status(&stack, "POST", path, person.token, NULL), 202);
	pthread_join(thread, NULL);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	cr_expect_str_eq(answer_event_text(&a, "done", "status"), "cancelled");
	answer_clear(&a);
	cr_expect_eq(stack_model_count(&stack, "chat_requests"), 0);
	expect_account("0");
}

Test(moderation, draining_ends_a_reply_whose_question_is_checked)
{
	struct answer a;
	pthread_t thread;

	start("CHAT_MODERATION_TIMEOUT=30000", "CHAT_DRAIN_SECONDS=1", NULL);
	pthread_create(&thread, NULL, ask_for_ever, &a);
	cr_assert(wait_until(is_checking, NULL, 60000));
	cr_expect_eq(stack_end_natterd(&stack, SIGTERM), 0);
	pthread_join(thread, NULL);
	expect_problem(&a, "draining");
	answer_clear(&a);
	expect_account("0");
}

static bool
has_ended(void *arg)
{
	char n[16];

	(void)arg;
	db_value("SELECT count(*) FROM chat.running_replies"
		 " WHERE user_id = $1",
	    person.user_id, n, sizeof(n));
	return strcmp(n, "0") == 0;
}

/* Kills the worker of what is asked so, once that is the case. */
static void
kill_when(bool (*is_so)(void *), void *(*asks)(void *))
{
	struct answer a;
	pthread_t thread;
	pid_t workers[4];

	pthread_create(&thread, NULL, asks, &a);
	cr_assert(wait_until(is_so, NULL, 60000));
	cr_assert_eq(stack_workers(&stack, workers, 4), 1u);
	kill(workers[0], SIGKILL);
	pthread_join(thread, NULL);
	answer_clear(&a);
	cr_assert(wait_until(has_ended, NULL, 60000));
}

Test(moderation, a_worker_killed_while_it_checks_leaves_nothing_behind)
{
	struct answer a;

	start("CHAT_MODERATION_TIMEOUT=30000", NULL, NULL);
	kill_when(is_checking, ask_for_ever);
	expect_db("SELECT status FROM chat.messages"
		  " WHERE user_id = $1 AND role = 'assistant'",
	    "interrupted");
	expect_account(NULL);
	say("again", &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

static bool
is_call_noted(void *arg)
{
	char n[16];

	(void)arg;
	db_value("SELECT count(*) FROM chat.running_replies"
		 " WHERE user_id = $1 AND rounds_calls = 1",
	    person.user_id, n, sizeof(n));
	return strcmp(n, "1") == 0 &&
	       stack_model_count(&stack, "moderation_requests") == 2;
}

/* What the model said is billed, what it called is not done. */
Test(moderation, a_worker_killed_while_a_call_is_checked_is_billed_for)
{
	char told[24];

	start("CHAT_MODERATION_REPLIES=withhold", "CHAT_TOOLS=on",
	    "CHAT_MODERATION_TIMEOUT=30000");
	kill_when(is_call_noted, call_for_ever);
	snprintf(told, sizeof(told), "%ld",
	    stack_model_count(&stack, "completion_tokens"));
	expect_db("SELECT completion_tokens FROM chat.usage_tracking"
		  " WHERE user_id = $1",
	    told);
	expect_db(TASKS, "0");
	expect_account(NULL);
}
