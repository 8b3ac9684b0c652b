/*
 * Breakers end to end: what several replies learn about a model, all workers
 * of a host know; nothing is stored for a reply that nobody can give; and a
 * crowd whose model dies and comes back loses nothing.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "crowd.h"
#include "log_lines.h"
#include "metrics_text.h"
#include "promises.h"
#include "stack.h"

static struct stack stack;
static struct person someone;

static void
start(const struct stack_options *o)
{
	stack_start(&stack, o);
	person_make(&stack, &someone);
}

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(providers_breaker, .fini = teardown, .timeout = 240);

static void
get(const char *base, const char *path, struct answer *a)
{
	struct ask ask = {.base = base, .path = path};

	http_ask(&ask, a);
	cr_assert_eq(a->status, 200, "%s: %ld", path, a->status);
}

static long
times_asked(const char *server)
{
	return standin_count(server, "chat_requests");
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

static double
metric(const char *series)
{
	struct answer a;
	double n;

	get(stack.base, "/metrics", &a);
	n = metrics_value(a.body.p, series);
	answer_clear(&a);
	return n;
}

static bool
breaker_is_due(void *arg)
{
	struct timespec *until = arg, now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > until->tv_sec ||
	       (now.tv_sec == until->tv_sec && now.tv_nsec > until->tv_nsec);
}

/* CHAT_MODEL_COOLDOWN, a fifth of jitter, and some more. */
static void
wait_for_cool_down(int seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds + seconds / 4 + 1;
	wait_until(breaker_is_due, &until, 60000);
}

static void
say(const char *content, const char *end)
{
	struct answer a;

	person_say(&stack, &someone, content, &a);
	cr_expect(answer_ends_with(&a, end), "%s: %s", content, a.body.p);
	answer_clear(&a);
}

/* Five replies that the model cannot begin. */
static void
open_breaker(void)
{
	for (int i = 0; i < 5; i++)
		say("[[status=500]] hello", "error");
	cr_assert_eq(metric("natter_model_breakers_open"), 1);
}

static long
count_rows(const char *sql)
{
	char n[16];

	db_value(sql, someone.user_id, n, sizeof(n));
	return strtol(n, NULL, 10);
}

#define MESSAGES "SELECT count(*) FROM chat.messages WHERE user_id = $1"
#define RUNNING  "SELECT count(*) FROM chat.running_replies WHERE user_id = $1"

static void
expect_unavailable(const char *content)
{
	const char *fault;
	struct answer a;

	person_say(&stack, &someone, content, &a);
	fault = refusal_fault(&a, 503, "model_unavailable", NULL);
	cr_expect_null(fault, "%s", fault);
	cr_expect_not_null(answer_header(&a, "Retry-After"));
	cr_expect_leq(atoi(answer_header(&a, "Retry-After")), 72);
	answer_clear(&a);
}

Test(
    providers_breaker, an_open_one_refuses_before_anything_is_stored_or_charged)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_MODEL_RETRIES=0", "CHAT_MODEL_COOLDOWN=60000",
		"CHAT_RATE_LIMIT_PER_MINUTE=20"}};
	char other[40];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/conversations",
	    .json = "{\"model\":\"other-model\"}"};
	struct answer a;
	long stored;
	long asked;

	start(&o);
	open_breaker();
	stored = count_rows(MESSAGES);
	asked = times_asked(stack.model);
	for (int i = 0; i < 30; i++)
		expect_unavailable("hello");
	cr_expect_eq(count_rows(MESSAGES), stored);
	cr_expect_eq(count_rows(RUNNING), 0);
	cr_expect_eq(times_asked(stack.model), asked);
	/* Another model of the same server is another matter. */
	ask.token = someone.token;
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201);
	snprintf(other, sizeof(other), "%s", answer_text(&a, "id"));
	answer_clear(&a);
	snprintf(
	    someone.conversation, sizeof(someone.conversation), "%s", other);
	say("hello", "done");
}

/* Only this worker takes requests until the next call. */
static void
leave_to(const pid_t pids[2], int i)
{
	kill(pids[i], SIGCONT);
	kill(pids[1 - i], SIGSTOP);
}

static void
wake_workers(void)
{
	pid_t pids[2];

	if (stack_workers(&stack, pids, 2) == 2)
		for (int i = 0; i < 2; i++)
			kill(pids[i], SIGCONT);
	teardown();
}

Test(providers_breaker, it_opens_and_closes_for_all_workers,
    .fini = wake_workers)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_MODEL_RETRIES=0",
		"CHAT_MODEL_COOLDOWN=8000"}};
	pid_t pids[2];

	start(&o);
	cr_assert_eq(stack_workers(&stack, pids, 2), 2);
	leave_to(pids, 0);
	open_breaker();
	leave_to(pids, 1);
	cr_expect_eq(metric("natter_model_breakers_open"), 1);
	wait_for_cool_down(8);
	say("[[status=500]] hello", "error"); /* the probe */
	leave_to(pids, 0);
	expect_unavailable("hello");
	wait_for_cool_down(8);
	say("hello", "done");
	leave_to(pids, 1);
	say("hello", "done");
	cr_expect_eq(metric("natter_model_breakers_open"), 0);
	cr_expect_eq(metric("natter_model_breaker_openings_total"), 1);
}

Test(providers_breaker, behind_an_open_one_the_next_model_is_asked_at_once)
{
	struct stack_options o = {.has_model = true,
	    .has_second = true,
	    .settings = {"CHAT_MODEL_RETRIES=0", "CHAT_MODEL_COOLDOWN=15000"}};
	long asked;

	start(&o);
	for (int i = 0; i < 5; i++)
		say("[[only=test-model status=401]] hello", "done");
	asked = times_asked(stack.model);
	cr_expect_eq(asked, 5);
	say("hello", "done");
	cr_expect_eq(times_asked(stack.model), asked);
	cr_expect_eq(times_asked(stack.second), 6);
	cr_expect_geq(metric("natter_model_skips_total"), 1);
	expect_said("test-model x0 breaker");
	/* Both shut: nobody is left. */
	for (int i = 0; i < 5; i++)
		say("[[only=second-model status=500]] hello", "error");
	expect_unavailable("hello");
	wait_for_cool_down(15);
	say("hello", "done");
	cr_expect_eq(times_asked(stack.model), asked + 1);
}

/* A reply of many. */
struct reply_of {
	pthread_t thread;
	struct person person;
	struct answer answer;
};

static _Atomic int n_answered;

static void *
ask_slow_model(void *arg)
{
	struct reply_of *r = arg;

	person_say(&stack, &r->person,
	    "[[only=test-model gate=1 events=1]] hello", &r->answer);
	atomic_fetch_add(&n_answered, 1);
	return NULL;
}

Test(providers_breaker, of_many_at_once_one_is_the_probe)
{
	enum { REPLIES = 8 };
	struct stack_options o = {.has_model = true,
	    .has_second = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_MODEL_RETRIES=0",
		"CHAT_MODEL_COOLDOWN=1000", "CHAT_HASH_MEMORY=8"}};
	static struct reply_of replies[REPLIES];
	int first = 0;
	long asked;

	start(&o);
	for (int i = 0; i < REPLIES; i++)
		person_make(&stack, &replies[i].person);
	for (int i = 0; i < 5; i++)
		say("[[only=test-model status=500]] hello", "done");
	wait_for_cool_down(1);
	asked = times_asked(stack.model);
	for (int i = 0; i < REPLIES; i++)
		pthread_create(
		    &replies[i].thread, NULL, ask_slow_model, &replies[i]);
	/* The probe is not over before all others were answered. */
	cr_expect(wait_for_count(&n_answered, REPLIES - 1, 20000), "%d",
	    atomic_load(&n_answered));
	stack_model_open(&stack);
	for (int i = 0; i < REPLIES; i++) {
		pthread_join(replies[i].thread, NULL);
		cr_expect(answer_ends_with(&replies[i].answer, "done"), "%s",
		    replies[i].answer.body.p);
		first += strcmp(answer_event_text(
				    &replies[i].answer, "done", "model"),
			     "test-model") == 0;
		answer_clear(&replies[i].answer);
	}
	cr_expect_eq(first, 1);
	cr_expect_eq(times_asked(stack.model), asked + 1);
	say("hello", "done");
	cr_expect_eq(times_asked(stack.model), asked + 2);
}

#define CROWD 100

static struct crowd crowd;

static void
disperse(void)
{
	crowd_free(&crowd);
	teardown();
}

static bool
all_were_asked(void *arg)
{
	return times_asked(arg) == CROWD;
}

static void *
kill_model_when_all_wait(void *arg)
{
	struct stack *s = arg;

	if (wait_until(all_were_asked, s->model, 60000))
		kill(s->standin, SIGKILL);
	return NULL;
}

static void
expect_crowd(const char *body, const char *when)
{
	struct load_end end;

	crowd_stream(&crowd, CROWD, body, 0, NULL, &end);
	cr_expect_eq(end.code, 0, "%s: %s", when, end.report);
	cr_expect_eq(end.completed, CROWD, "%s: %s", when, end.report);
	load_end_clear(&end);
}

#define REPLIES_OF(model)                                                   \
	"SELECT count(*) FROM chat.messages m JOIN auth.users u ON u.id = " \
	"m.user_id WHERE u.username = ANY ($1::text[]) AND m.role = "       \
	"'assistant' AND m.status = 'complete' AND m.model = '" model "'"

static long
count_replies(const char *sql)
{
	struct buf names = {0};
	char n[16];

	for (size_t i = 0; i < crowd.n; i++)
		buf_printf(&names, "%c%s", i == 0 ? '{' : ',',
		    crowd.people[i].username);
	buf_puts(&names, "}");
	db_value(sql, buf_text(&names), n, sizeof(n));
	buf_free(&names);
	return strtol(n, NULL, 10);
}

Test(providers_breaker, a_crowd_whose_model_dies_and_returns_loses_nothing,
    .fini = disperse)
{
	struct stack_options o = {.has_model = true,
	    .has_second = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_MODEL_COOLDOWN=1000",
		"CHAT_HASH_MEMORY=8"}};
	pthread_t killer;

	start(&o);
	crowd_make(&stack, CROWD, &crowd);
	/* Every one waits for its first token when the model dies. */
	pthread_create(&killer, NULL, kill_model_when_all_wait, &stack);
	expect_crowd("{\"content\":\"[[only=test-model first=60000]] hello\","
		     "\"stream\":true}",
	    "while it dies");
	pthread_join(killer, NULL);
	stack_model_end(&stack);
	cr_expect_eq(count_replies(REPLIES_OF("second-model")), CROWD);
	expect_crowd(
	    "{\"content\":\"hello\",\"stream\":true}", "while it is dead");
	cr_expect_eq(count_replies(REPLIES_OF("second-model")), 2 * CROWD);
	cr_expect_eq(metric("natter_model_breakers_open"), 1);
	stack_model_again(&stack);
	wait_for_cool_down(1);
	say("hello", "done");
	expect_crowd(
	    "{\"content\":\"hello\",\"stream\":true}", "when it is back");
	cr_expect_eq(count_replies(REPLIES_OF("test-model")), CROWD);
	cr_expect_eq(metric("natter_model_breakers_open"), 0);
	cr_expect_eq(metric("natter_model_breaker_openings_total"), 1);
}
