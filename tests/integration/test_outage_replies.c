/*
 * Replies whose end falls into an outage of Postgres: the ledger keeps them,
 * stores them when it is back, and only then does the client hear `done`.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "log_lines.h"
#include "promises.h"
#include "stack.h"
#include "standin_text.h"
#include "stores.h"

static struct stack stack;
static struct stores stores;

static void
teardown(void)
{
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(ledger, .fini = teardown, .timeout = 180);

static void
pause_ms(int ms)
{
	struct timespec t = {
	    .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

/* One reply, asked for in a thread of its own. */
struct client {
	pthread_t thread;
	struct person person;
	const char *json;
	struct answer answer;
	_Atomic int events;
	_Atomic uint64_t text_bytes;
	_Atomic uint64_t end_ms; /* of the last word; 0 = not yet */
};

static void
event_came(void *arg, int n)
{
	struct client *c = arg;
	const char *name = c->answer.events[n - 1].name;

	atomic_store(&c->events, n);
	atomic_store(&c->text_bytes, c->answer.text.n);
	if (strcmp(name, "done") == 0 || strcmp(name, "error") == 0)
		atomic_store(&c->end_ms, clock_mono_ms());
}

static void *
client_run(void *arg)
{
	struct client *c = arg;
	char path[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = c->json,
	    .token = c->person.token,
	    .timeout_ms = 120000,
	    .on_event = event_came,
	    .arg = c};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    c->person.conversation);
	http_ask(&ask, &c->answer);
	if (c->answer.n_events == 0)
		atomic_store(&c->end_ms, clock_mono_ms());
	return NULL;
}

static void
client_start(struct client *c, const char *json)
{
	c->json = json;
	person_make(&stack, &c->person);
	pthread_create(&c->thread, NULL, client_run, c);
}

static bool
has_begun(void *arg)
{
	struct client *c = arg;

	return atomic_load(&c->events) >= 2; /* its first words among them */
}

/* Is the question stored (a reply in one piece shows nothing yet)? */
static bool
is_running(void *arg)
{
	struct client *c = arg;
	char n[16];

	db_value("SELECT count(*) FROM chat.running_replies WHERE user_id = $1",
	    c->person.user_id, n, sizeof(n));
	return strcmp(n, "1") == 0;
}

/* The one reply of this user, as stored: "complete 1 600", and its text. */
static void
expect_stored(const struct client *c, const char *status, const char *text)
{
	char line[64], want[64], *content;

	db_value("SELECT m.status || ' ' || (SELECT count(*) FROM "
		 "chat.usage_tracking u WHERE u.user_id = m.user_id) || ' ' || "
		 "octet_length(m.content) FROM chat.messages m WHERE "
		 "m.user_id = $1 AND m.role = 'assistant'",
	    c->person.user_id, line, sizeof(line));
	snprintf(want, sizeof(want), "%s 1 %zu", status, strlen(text));
	cr_expect_str_eq(line, want);
	content = db_text("SELECT content FROM chat.messages WHERE "
			  "user_id = $1 AND role = 'assistant'",
	    c->person.user_id);
	cr_expect(strcmp(content, text) == 0, "another text is stored");
	free(content);
	cr_expect(!is_running((void *)(uintptr_t)c), "it is still running");
}

static bool
ledger_waits(void *arg)
{
	(void)arg;
	return log_says(stack.log, "the ledger waits for Postgres");
}

static bool
has_all_text(void *arg)
{
	struct client *c = arg;

	return atomic_load(&c->text_bytes) == 600;
}

Test(ledger, done_is_said_when_the_reply_is_stored_and_not_before)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_HEARTBEAT_SECONDS=1"}};
	static struct client stream, whole;
	char text[601] = "";
	uint64_t back_ms;

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	standin_text(5, 600, text);
	client_start(&whole,
	    "{\"content\":\"[[text=600 chunk=12 gate=25 seed=5]] go\"}");
	client_start(&stream,
	    "{\"content\":\"[[text=600 chunk=12 gate=25 seed=5]] go\","
	    "\"stream\":true}");
	stack_model_open(&stack);
	cr_assert(wait_until(has_begun, &stream, 60000));
	cr_assert(wait_until(is_running, &whole, 60000));
	server_stop(&stores.postgres, SIGINT);
	for (int i = 0; i < 2; i++) /* 50 pieces, or a few more */
		stack_model_open(&stack);
	cr_assert(wait_until(has_all_text, &stream, 60000));
	pause_ms(2500);
	cr_expect_eq(atomic_load(&stream.end_ms), 0, "done came too early");
	cr_expect_eq(atomic_load(&whole.end_ms), 0, "201 came too early");
	cr_expect(wait_until(ledger_waits, NULL, 60000));
	back_ms = clock_mono_ms();
	cr_assert(server_start_again(&stores.postgres));
	pthread_join(stream.thread, NULL);
	pthread_join(whole.thread, NULL);
	cr_expect_gt(atomic_load(&stream.end_ms), back_ms);
	cr_expect_gt(atomic_load(&whole.end_ms), back_ms);
	cr_expect(answer_ends_with(&stream.answer, "done"), "%s",
	    stream.answer.body.p);
	cr_expect_not_null(strstr(stream.answer.body.p, "\n: "),
	    "no heartbeat while it waited");
	cr_expect_str_eq(stream.answer.text.p, text);
	cr_expect_eq(whole.answer.status, 201, "%s", whole.answer.body.p);
	cr_expect_str_eq(answer_text(&whole.answer, "content"), text);
	cr_expect(log_says(stack.log, "the ledger reaches Postgres again"));
	expect_stored(&stream, "complete", text);
	expect_stored(&whole, "complete", text);
	answer_clear(&stream.answer);
	answer_clear(&whole.answer);
}

/* Nobody may take a worker for dead that could not give a sign either. */
Test(ledger, a_long_outage_ends_no_reply)
{
	enum { SHORT = 8, LONG = 8 };
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	static struct client clients[SHORT + LONG];

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	/* Only who has seen Postgres for a while sweeps. */
	pause_ms(6000);
	for (int i = 0; i < SHORT + LONG; i++)
		client_start(&clients[i],
		    i < SHORT ? "{\"content\":\"[[events=20 gap=100]] go\","
				"\"stream\":true}"
			      : "{\"content\":\"[[events=190 gap=100]] go\","
				"\"stream\":true}");
	for (int i = 0; i < SHORT + LONG; i++)
		cr_assert(wait_until(has_begun, &clients[i], 60000));
	server_stop(&stores.postgres, SIGINT);
	pause_ms(12000);
	cr_assert(server_start_again(&stores.postgres));
	for (int i = 0; i < SHORT + LONG; i++) {
		struct client *c = &clients[i];

		pthread_join(c->thread, NULL);
		cr_expect(answer_ends_with(&c->answer, "done"), "%d: %s", i,
		    c->answer.n_events > 0
			? c->answer.events[c->answer.n_events - 1].data
			: c->answer.body.p);
		expect_stored(c, "complete", c->answer.text.p);
		answer_clear(&c->answer);
	}
}

Test(ledger, connections_cut_in_mid_batch_cost_nothing)
{
	enum { CLIENTS = 24 };
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	static struct client clients[CLIENTS];
	char killed[16];
	int cuts = 0;

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	for (int i = 0; i < CLIENTS; i++)
		client_start(&clients[i],
		    "{\"content\":\"[[events=30 gap=50]] go\","
		    "\"stream\":true}");
	for (int i = 0; i < 60 || (cuts <= 2 && i < 2000); i++) {
		db_value("SELECT count(pg_terminate_backend(pid)) FROM "
			 "pg_stat_activity WHERE application_name = "
			 "'natterd ledger'",
		    NULL, killed, sizeof(killed));
		cuts += atoi(killed);
		pause_ms(30);
	}
	cr_expect_gt(cuts, 2);
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &clients[i];

		pthread_join(c->thread, NULL);
		cr_expect(answer_ends_with(&c->answer, "done"), "%d: %s", i,
		    c->answer.body.p);
		expect_stored(c, "complete", c->answer.text.p);
		answer_clear(&c->answer);
	}
}

Test(ledger, a_stop_without_postgres_ends_in_time_and_says_what_is_lost)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_DRAIN_SECONDS=1"}};
	static struct client c;
	uint64_t began;
	int status;

	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	client_start(&c, "{\"content\":\"[[events=10 gate=5]] go\","
			 "\"stream\":true}");
	stack_model_open(&stack);
	cr_assert(wait_until(has_begun, &c, 60000));
	server_stop(&stores.postgres, SIGINT);
	stack_model_open(&stack);
	began = clock_mono_ms();
	status = stack_end_natterd(&stack, SIGTERM);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_expect_lt(clock_mono_ms() - began, 30000);
	pthread_join(c.thread, NULL);
	cr_expect(answer_ends_with(&c.answer, "error"), "%s", c.answer.body.p);
	cr_expect(log_says(stack.log, "a reply could not be stored"));
	cr_expect(!log_says(stack.log, "did not end in time"));
	cr_expect(!log_says(stack.log, "a worker was killed"));
	answer_clear(&c.answer);
}
