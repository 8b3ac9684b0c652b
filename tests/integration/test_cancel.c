/*
 * A reply is cancelled from anywhere: the model's server sees the connection
 * close, what came is kept and billed, and everybody who reads hears `done`
 * with the status `cancelled`. At whatever moment the wish comes, it ends well.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "stack.h"

#define CROWD 20

static struct stack stack, other;
static bool has_other;

static void
teardown(void)
{
	stack_stop(&stack);
	if (has_other)
		stack_stop(&other);
}

TestSuite(cancel, .fini = teardown, .timeout = 180);

static void
start(const char *redis_url)
{
	struct stack_options o = {.has_model = true,
	    .redis_url = redis_url,
	    .settings = {"CHAT_WORKERS=2", "CHAT_MODEL_RETRIES=2",
		"CHAT_MAX_TOKENS_PER_DAY=1000000"}};

	stack_start(&stack, &o);
}

/* Somebody who waits for a reply in a thread of his own. */
struct reader {
	pthread_t thread;
	struct person person;
	const char *json;
	struct answer answer;
	_Atomic int events;
};

static void
event_came(void *arg, int n)
{
	atomic_store(&((struct reader *)arg)->events, n);
}

static void *
reader_run(void *arg)
{
	struct reader *r = arg;
	char path[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = r->json,
	    .token = r->person.token,
	    .timeout_ms = 90000,
	    .on_event = event_came,
	    .arg = r};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    r->person.conversation);
	http_ask(&ask, &r->answer);
	return NULL;
}

static void
reader_start(struct reader *r, const char *json)
{
	*r = (struct reader){.json = json};
	person_make(&stack, &r->person);
	pthread_create(&r->thread, NULL, reader_run, r);
}

static bool
has_text(void *arg)
{
	return atomic_load(&((struct reader *)arg)->events) >= 3;
}

/* The id of the user's running reply, "" for none. */
static void
find_running(const struct reader *r, char out[40])
{
	db_value("SELECT message_id FROM chat.running_replies"
		 " WHERE user_id = $1",
	    r->person.user_id, out, 40);
}

static bool
is_running(void *arg)
{
	char id[40];

	find_running(arg, id);
	return id[0] != '\0';
}

static long
cancel(const struct stack *at, const struct person *p, const char *id,
    struct answer *a)
{
	char path[96];
	struct ask ask = {.method = "POST",
	    .base = at->base,
	    .path = path,
	    .token = p->token};

	snprintf(path, sizeof(path), "/api/v1/messages/%s/cancel", id);
	http_ask(&ask, a);
	return a->status;
}

/* The same for its status alone. */
static long
cancel_status(const struct person *p, const char *id)
{
	struct answer a;
	long status = cancel(&stack, p, id, &a);

	answer_clear(&a);
	return status;
}

static bool
model_saw_hangup(void *arg)
{
	return stack_model_count(&stack, "client_hangups") >= *(long *)arg;
}

static void
expect_value(const char *sql, const char *param, const char *want)
{
	char got[256];

	db_value(sql, param, got, sizeof(got));
	cr_expect_str_eq(got, want, "%s: %s, wanted %s", sql, got, want);
}

/* Nothing is held back, the sums are right, and it was billed once. */
static void
expect_settled(const struct reader *r, const char *id)
{
	expect_value("SELECT count(*) FROM chat.running_replies"
		     " WHERE user_id = $1",
	    r->person.user_id, "0");
	expect_value("SELECT coalesce(max(tokens_reserved), 0)"
		     " FROM chat.token_budgets WHERE user_id = $1",
	    r->person.user_id, "0");
	expect_value("SELECT count(*) FROM chat.budgets_amiss(date_trunc("
		     "'month', now() AT TIME ZONE 'UTC')::date)"
		     " WHERE user_id = $1",
	    r->person.user_id, "0");
	expect_value(
	    "SELECT count(*) FROM chat.usage_tracking WHERE id = $1", id, "1");
}

/* What the reader saw is what is stored, as cancelled; and it was told so. */
static void
expect_cancelled(struct reader *r, const char *id)
{
	char *text =
	    db_text("SELECT content FROM chat.messages WHERE id = $1", id);

	pthread_join(r->thread, NULL);
	cr_expect(answer_ends_with(&r->answer, "done"), "%s", r->answer.body.p);
	cr_expect_str_eq(
	    answer_event_text(&r->answer, "done", "status"), "cancelled");
	free(text);
	text = db_text("SELECT content FROM chat.messages WHERE id = $1", id);
	cr_expect_str_eq(text, r->answer.text.p);
	expect_value(
	    "SELECT status FROM chat.messages WHERE id = $1", id, "cancelled");
	expect_settled(r, id);
	free(text);
}

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Cancels a reply that has begun to speak; then looks at all sides of it. */
static void
cancel_one(const struct stack *at)
{
	struct reader r;
	struct answer a;
	char id[40];
	long hangups = stack_model_count(&stack, "client_hangups") + 1;
	uint64_t began;

	reader_start(&r, "{\"content\":\"[[events=2000 gap=30]] go\","
			 "\"stream\":true}");
	cr_assert(wait_until(has_text, &r, 60000));
	find_running(&r, id);
	began = now_ms();
	cr_expect_eq(cancel(at, &r.person, id, &a), 202, "%s", a.body.p);
	cr_expect_str_eq(answer_text(&a, "id"), id);
	cr_expect_str_eq(answer_text(&a, "status"), "streaming");
	answer_clear(&a);
	cr_expect(wait_until(model_saw_hangup, &hangups, 60000),
	    "the model was not let go");
	fprintf(
	    stderr, "the model saw it after %d ms\n", (int)(now_ms() - began));
	expect_cancelled(&r, id);
	cr_expect_gt(r.answer.text.n, 0);
	cr_expect_eq(stack_model_count(&stack, "streams_open"), 0);
	expect_value("SELECT is_estimated AND prompt_tokens > 0 AND"
		     " completion_tokens > 0 FROM chat.usage_tracking"
		     " WHERE id = $1",
	    id, "t");
	/* Once more, late. */
	cr_expect_eq(cancel(at, &r.person, id, &a), 200);
	cr_expect_str_eq(answer_text(&a, "status"), "cancelled");
	cr_expect_str_eq(answer_text(&a, "content"), r.answer.text.p);
	answer_clear(&a);
	answer_clear(&r.answer);
}

Test(cancel, from_here_and_from_another_host)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};

	start(NULL);
	stack_start(&other, &o);
	has_other = true;
	cancel_one(&stack);
	cancel_one(&other);
}

Test(cancel, without_redis)
{
	start("redis://127.0.0.1:1");
	cancel_one(&stack);
}

Test(cancel, before_the_model_answers_it_costs_the_prompt)
{
	struct reader r;
	char id[40];

	start(NULL);
	reader_start(&r, "{\"content\":\"[[hang=1]] go\",\"stream\":true}");
	cr_assert(wait_until(is_running, &r, 60000));
	find_running(&r, id);
	while (stack_model_count(&stack, "streams_open") == 0)
		;
	cr_expect_eq(cancel_status(&r.person, id), 202);
	expect_cancelled(&r, id);
	expect_value("SELECT is_estimated AND prompt_tokens > 0 AND"
		     " completion_tokens = 0 FROM chat.usage_tracking"
		     " WHERE id = $1",
	    id, "t");
	answer_clear(&r.answer);
}

Test(cancel, while_it_waits_to_ask_again_it_costs_nothing)
{
	struct reader r;
	char id[40];

	start(NULL);
	reader_start(&r, "{\"content\":\"[[status=503 retry_after=9]] go\","
			 "\"stream\":true}");
	cr_assert(wait_until(is_running, &r, 60000));
	find_running(&r, id);
	while (stack_model_count(&stack, "chat_requests") == 0)
		;
	cr_assert(wait_until(stack_model_is_heard, &stack, 60000));
	cr_expect_eq(cancel_status(&r.person, id), 202);
	expect_cancelled(&r, id);
	expect_value("SELECT prompt_tokens + completion_tokens"
		     " FROM chat.usage_tracking WHERE id = $1",
	    id, "0");
	answer_clear(&r.answer);
}

Test(cancel, who_waits_for_the_whole_reply_gets_what_there_is)
{
	struct reader r;
	char id[40];

	start(NULL);
	reader_start(&r, "{\"content\":\"[[events=2000 gap=30]] go\"}");
	cr_assert(wait_until(is_running, &r, 60000));
	find_running(&r, id);
	cr_expect_eq(cancel_status(&r.person, id), 202);
	pthread_join(r.thread, NULL);
	cr_expect_eq(r.answer.status, 201, "%s", r.answer.body.p);
	cr_expect_str_eq(answer_text(&r.answer, "status"), "cancelled");
	expect_settled(&r, id);
	answer_clear(&r.answer);
}

struct canceller {
	pthread_t thread;
	pthread_barrier_t *gate;
	const struct person *person;
	const char *id;
	long status;
};

static void *
canceller_run(void *arg)
{
	struct canceller *c = arg;

	pthread_barrier_wait(c->gate);
	c->status = cancel_status(c->person, c->id);
	return NULL;
}

Test(cancel, twenty_at_once_are_one)
{
	struct canceller crowd[CROWD];
	pthread_barrier_t gate;
	struct reader r;
	char id[40];

	start(NULL);
	reader_start(&r, "{\"content\":\"[[events=2000 gap=30]] go\","
			 "\"stream\":true}");
	cr_assert(wait_until(has_text, &r, 60000));
	find_running(&r, id);
	pthread_barrier_init(&gate, NULL, CROWD);
	for (size_t i = 0; i < CROWD; i++) {
		crowd[i] = (struct canceller){
		    .gate = &gate, .person = &r.person, .id = id};
		pthread_create(
		    &crowd[i].thread, NULL, canceller_run, &crowd[i]);
	}
	for (size_t i = 0; i < CROWD; i++) {
		pthread_join(crowd[i].thread, NULL);
		cr_expect(crowd[i].status == 202 || crowd[i].status == 200,
		    "%ld", crowd[i].status);
	}
	pthread_barrier_destroy(&gate);
	expect_cancelled(&r, id);
	answer_clear(&r.answer);
}

Test(cancel, what_is_no_reply_of_yours_is_not_cancelled)
{
	struct person p, stranger;
	struct answer a;
	char id[40], question[40], code[40];

	start(NULL);
	person_make(&stack, &p);
	person_make(&stack, &stranger);
	person_say(&stack, &p, "hello", &a);
	snprintf(
	    id, sizeof(id), "%s", answer_event_text(&a, "start", "message_id"));
	snprintf(question, sizeof(question), "%s",
	    answer_event_text(&a, "start", "user_message_id"));
	answer_clear(&a);

	cr_expect_eq(cancel(&stack, &p, id, &a), 200);
	cr_expect_str_eq(answer_text(&a, "status"), "complete");
	answer_clear(&a);
	cr_expect_eq(cancel(&stack, &p, question, &a), 409);
	snprintf(code, sizeof(code), "%s", answer_text(&a, "code"));
	cr_expect_str_eq(code, "not_a_reply");
	answer_clear(&a);
	cr_expect_eq(cancel_status(&stranger, id), 404);
	cr_expect_eq(cancel_status(&p, p.user_id), 404);
	cr_expect_eq(cancel_status(&p, "none"), 404);
	expect_value(
	    "SELECT status FROM chat.messages WHERE id = $1", id, "complete");
}

/* The moment between commit and handoff among them: it is a race. */
Test(cancel, at_whatever_moment_it_comes)
{
	static const char *const bodies[] = {
	    "{\"content\":\"[[events=40 gap=20]] go\",\"stream\":true}",
	    "{\"content\":\"[[events=2]] go\",\"stream\":true}",
	    "{\"content\":\"[[text=50000 chunk=100]] go\",\"stream\":true}",
	};
	int cancelled = 0;

	start(NULL);
	for (size_t i = 0; i < 24; i++) {
		struct reader r;
		char id[40] = "", status[32];
		long got;

		reader_start(&r, bodies[i % 3]);
		while (id[0] == '\0' && !has_text(&r))
			find_running(&r, id);
		if (id[0] != '\0') {
			got = cancel_status(&r.person, id);
			cr_expect(got == 202 || got == 200, "%ld", got);
		}
		pthread_join(r.thread, NULL);
		cr_expect(
		    answer_ends_with(&r.answer, "done"), "%s", r.answer.body.p);
		snprintf(id, sizeof(id), "%s",
		    answer_event_text(&r.answer, "done", "id"));
		snprintf(status, sizeof(status), "%s",
		    answer_event_text(&r.answer, "done", "status"));
		cancelled += strcmp(status, "cancelled") == 0;
		cr_expect(strcmp(status, "cancelled") == 0 ||
			      strcmp(status, "complete") == 0,
		    "%s", status);
		cr_expect_str_eq(
		    answer_event_text(&r.answer, "done", "content"),
		    r.answer.text.p);
		expect_settled(&r, id);
		answer_clear(&r.answer);
	}
	cr_expect_gt(cancelled, 0);
}

static bool
has_status(void *arg)
{
	char status[32];

	db_value("SELECT status FROM chat.messages WHERE id = $1", arg, status,
	    sizeof(status));
	return strcmp(status, "streaming") != 0;
}

/* Its worker is stopped, hears nothing, and dies. */
Test(cancel, of_a_dead_workers_reply)
{
	struct reader r;
	pid_t workers[4];
	size_t n;
	char id[40];

	start(NULL);
	reader_start(&r, "{\"content\":\"[[events=2000 gap=30]] go\","
			 "\"stream\":true}");
	cr_assert(wait_until(has_text, &r, 60000));
	find_running(&r, id);
	n = stack_workers(&stack, workers, 4);
	cr_assert_eq(n, 2);
	/* Whoever writes it; the other one takes the cancel. */
	for (size_t i = 0; i < n; i++) {
		char pid[16];

		db_value("SELECT w.pid FROM chat.workers w JOIN"
			 " chat.running_replies r ON r.worker_id = w.id"
			 " WHERE r.message_id = $1",
		    id, pid, sizeof(pid));
		if (workers[i] == atoi(pid)) {
			kill(workers[i], SIGSTOP);
			cr_expect_eq(cancel_status(&r.person, id), 202);
			kill(workers[i], SIGKILL);
		}
	}
	cr_expect(wait_until(has_status, id, 60000));
	expect_value(
	    "SELECT status FROM chat.messages WHERE id = $1", id, "cancelled");
	pthread_join(r.thread, NULL);
	expect_settled(&r, id);
	answer_clear(&r.answer);
}
