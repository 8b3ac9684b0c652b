/*
 * natter-local: without a key and without a model's server the built-in
 * answerer replies, and with one it still does where it is asked for by name.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "promises.h"
#include "stack.h"

#define LOCAL "natter-local"

static struct stack stack;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(local, .fini = teardown, .timeout = 120);

/* Says "<word>" with further members of the body, in one piece. */
static void
say(const struct person *p, const char *word, const char *more,
    struct answer *a)
{
	char path[128], json[512];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = p->token,
	    .json = json};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p->conversation);
	snprintf(json, sizeof(json), "{\"content\":\"%s\"%s}", word, more);
	http_ask(&ask, a);
}

static void
set_model(const struct person *p, const char *json)
{
	char path[128];
	struct ask ask = {.method = "PATCH",
	    .base = stack.base,
	    .path = path,
	    .token = p->token,
	    .json = json};
	struct answer a;

	snprintf(
	    path, sizeof(path), "/api/v1/conversations/%s", p->conversation);
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
}

/* The reply is there, from this model, the same here and in Postgres. */
static void
expect_reply(const struct answer *a, const char *model)
{
	const char *id = answer_text(a, "id");
	char stored[128];
	char *content;

	cr_assert_eq(a->status, 201, "%ld %s", a->status, a->body.p);
	cr_expect_null(reply_fault(a), "%s", reply_fault(a));
	cr_expect_str_eq(answer_text(a, "model"), model);
	cr_expect_str_eq(answer_text(a, "status"), "complete");
	cr_expect_str_eq(answer_text(a, "finish_reason"), "stop");
	db_value("SELECT status || ' ' || model FROM chat.messages "
		 "WHERE id = $1",
	    id, stored, sizeof(stored));
	cr_expect_str_eq(stored + strlen("complete "), model);
	content =
	    db_text("SELECT content FROM chat.messages WHERE id = $1", id);
	cr_expect_str_eq(content, answer_text(a, "content"));
	free(content);
}

Test(local, without_a_key_it_answers_in_one_piece_and_streams)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};
	struct person p;
	struct answer a;
	char *content;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	say(&p, "Who are you?", "", &a);
	expect_reply(&a, LOCAL);
	cr_expect_not_null(strstr(answer_text(&a, "content"), LOCAL));
	cr_expect_not_null(
	    strstr(answer_text(&a, "content"), "OPENAI_BASE_URL"));
	answer_clear(&a);
	person_say(&stack, &p, "How many messages have I stored?", &a);
	cr_expect_eq(a.status, 200);
	cr_expect_str_eq(a.events[0].name, "start");
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	/* Two turns by now: the question counts, and its empty reply. */
	cr_expect_not_null(strstr(a.text.p, p.username), "%s", a.text.p);
	cr_expect_not_null(
	    strstr(a.text.p, "1 conversation with 4 messages"), "%s", a.text.p);
	cr_expect_str_eq(answer_event_text(&a, "done", "model"), LOCAL);
	cr_expect_str_eq(answer_event_text(&a, "done", "content"), a.text.p);
	content = db_text("SELECT content FROM chat.messages WHERE id = $1",
	    answer_event_text(&a, "start", "message_id"));
	cr_expect_str_eq(content, a.text.p);
	free(content);
	answer_clear(&a);
}

Test(local, it_costs_nothing)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};
	struct person p;
	struct answer a;
	char usage[128];

	stack_start(&stack, &o);
	person_make(&stack, &p);
	say(&p, "Hello", "", &a);
	db_value("SELECT model || ' ' || (cost = 0) || ' ' || is_estimated "
		 "FROM chat.usage_tracking WHERE message_id = $1",
	    answer_text(&a, "id"), usage, sizeof(usage));
	cr_expect_str_eq(usage, LOCAL " true true");
	cr_expect_str_eq(answer_text(&a, "usage.estimated"), "true");
	answer_clear(&a);
}

Test(local, without_a_server_every_models_name_means_it)
{
	struct stack_options o = {.settings = {"CHAT_MODEL=some-model"}};
	struct person p;
	struct answer a;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	say(&p, "Hello", "", &a);
	expect_reply(&a, LOCAL);
	answer_clear(&a);
	say(&p, "Hello", ",\"model\":\"gpt-4o\"", &a);
	expect_reply(&a, LOCAL);
	answer_clear(&a);
	set_model(&p, "{\"model\":\"gpt-4o\"}");
	say(&p, "Hello", "", &a);
	expect_reply(&a, LOCAL);
	answer_clear(&a);
}

/* What the model's server was asked: how often, and for which model last. */
static void
expect_asked(int times, const char *model)
{
	struct ask ask = {.base = stack.model, .path = "/_last"};
	struct answer a;

	http_ask(&ask, &a);
	cr_expect_eq(atoi(answer_text(&a, "count")), times, "%s",
	    answer_text(&a, "count"));
	if (model != NULL)
		cr_expect_str_eq(answer_text(&a, "body.model"), model);
	answer_clear(&a);
}

Test(local, a_message_names_the_model_or_its_conversation_or_the_server)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_MODEL=servers"}};
	struct person p;
	struct answer a;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	say(&p, "one", "", &a);
	expect_reply(&a, "servers");
	answer_clear(&a);
	expect_asked(1, "servers");
	set_model(&p, "{\"model\":\"conversations\"}");
	say(&p, "two", "", &a);
	expect_reply(&a, "conversations");
	answer_clear(&a);
	expect_asked(2, "conversations");
	say(&p, "three", ",\"model\":\"messages\"", &a);
	expect_reply(&a, "messages");
	answer_clear(&a);
	expect_asked(3, "messages");
	set_model(&p, "{\"model\":null}");
	say(&p, "four", ",\"model\":null", &a);
	expect_reply(&a, "servers");
	answer_clear(&a);
	expect_asked(4, "servers");
}

Test(local, asked_for_by_name_it_answers_beside_a_server)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=1"}};
	struct person p;
	struct answer a;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	say(&p, "Hello", ",\"model\":\"" LOCAL "\"", &a);
	expect_reply(&a, LOCAL);
	answer_clear(&a);
	set_model(&p, "{\"model\":\"" LOCAL "\"}");
	say(&p, "How many messages have I stored?", "", &a);
	expect_reply(&a, LOCAL);
	cr_expect_not_null(strstr(answer_text(&a, "content"), "4 messages"));
	answer_clear(&a);
	expect_asked(0, NULL);
	say(&p, "Hello", ",\"model\":\"test-model\"", &a);
	expect_reply(&a, "test-model");
	answer_clear(&a);
	expect_asked(1, "test-model");
}

/* Is this the model that answers by now? */
struct answering {
	const struct person *person;
	const char *model;
};

static bool
answers(void *arg)
{
	struct answering *w = arg;
	struct answer a;
	bool yes;

	say(w->person, "Hello", "", &a);
	yes = strcmp(answer_text(&a, "model"), w->model) == 0;
	cr_expect_eq(a.status, 201, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
	return yes;
}

Test(local, a_reload_connects_a_server_and_lets_it_go_again)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=1"}};
	struct person p;
	struct answering local = {&p, LOCAL}, server = {&p, "test-model"};
	char setting[128];

	stack_start(&stack, &o);
	person_make(&stack, &p);
	cr_expect(answers(&server));
	stack_set(&stack, "OPENAI_BASE_URL=");
	kill(stack.natterd, SIGHUP);
	cr_expect(wait_until(answers, &local, 60000), "still the server");
	/* A slash at the end is no part of the address. */
	snprintf(
	    setting, sizeof(setting), "OPENAI_BASE_URL=%s/v1/", stack.model);
	stack_set(&stack, setting);
	kill(stack.natterd, SIGHUP);
	cr_expect(wait_until(answers, &server, 60000), "still itself");
}

Test(local, a_server_that_is_not_there_is_not_replaced_by_it)
{
	struct stack_options o = {
	    .settings = {"OPENAI_BASE_URL=http://127.0.0.1:1/v1",
		"CHAT_MODEL_RETRIES=0"}};
	const char *fault;
	struct person p;
	struct answer a;

	stack_start(&stack, &o);
	person_make(&stack, &p);
	say(&p, "Hello", "", &a);
	fault = refusal_fault(&a, 502, "model_failed", NULL);
	cr_expect_null(fault, "%s", fault);
	answer_clear(&a);
}
