/*
 * Sends whose answer is lost, repeated with the same key. A gate between
 * natterd and Postgres keeps the commit's answer back, so that the turn is
 * stored and nobody heard of it; and workers are killed at random while clients
 * repeat until they have their answer.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "pg_gate.h"
#include "promises.h"
#include "stack.h"
#include "stores.h"
#include "utc_day.h"

static struct stack stack;
static struct stores stores;
static struct pg_gate *gate;
static struct person me;

static void
setup_gate(void)
{
	char url[128], *root;
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_PG_TIMEOUT=2000",
		"CHAT_MAX_TOKENS_PER_DAY=100000"},
	    .database_url = url};

	utc_day_begin();
	stores_start(&stores, NULL);
	root = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", root, 1); /* past the gate */
	free(root);
	gate = pg_gate_open(stores.postgres.folder);
	snprintf(url, sizeof(url),
	    "postgresql:///natter?host=%s&user=natter_app",
	    pg_gate_folder(gate));
	stack_start(&stack, &o);
	person_make(&stack, &me);
}

static void
setup_kills(void)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=3", "CHAT_MAX_TOKENS_PER_DAY=10000000",
		"CHAT_STREAMS_PER_USER=0"}};

	utc_day_begin();
	stores_start(&stores, NULL);
	stack_start(&stack, &o);
	person_make(&stack, &me);
}

static void
teardown(void)
{
	stack_stop(&stack);
	if (gate != NULL)
		pg_gate_close(gate);
	stores_stop(&stores);
}

TestSuite(sends_gate, .init = setup_gate, .fini = teardown, .timeout = 300);
TestSuite(sends_kills, .init = setup_kills, .fini = teardown, .timeout = 400);

/* One stack at a time has the machine. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1;
}

static long
number_of(const char *sql, const char *param)
{
	char text[64];

	db_value(sql, param, text, sizeof(text));
	return strtol(text, NULL, 10);
}

static void
pause_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

#define AMISS                                                                \
	"SELECT count(*) FROM chat.budgets_amiss(date_trunc('month', now())" \
	"::date) a WHERE a.user_id = $1::uuid"
#define RUNNING \
	"SELECT count(*) FROM chat.running_replies WHERE user_id = $1::uuid"

/* ---- a commit whose answer is lost ---- */

struct asker {
	pthread_t thread;
	struct send send;
	struct answer answer;
};

static void *
ask(void *arg)
{
	struct asker *a = arg;

	call_send(&stack, &me, &a->send, &a->answer);
	return NULL;
}

static bool
is_stored(void *arg)
{
	return number_of("SELECT count(*) FROM chat.messages"
			 " WHERE user_id = $1::uuid AND role = 'assistant'",
		   me.user_id) == *(long *)arg;
}

static bool
has_ended(void *arg)
{
	(void)arg;
	return number_of(RUNNING, me.user_id) == 0;
}

static bool
serves(void *arg)
{
	(void)arg;
	return call_status(&stack, "GET", "/readyz", NULL, NULL) == 200;
}

/* Sends; the turn is committed, and nobody is told. */
static void
lose_the_commit(struct asker *a, bool kills)
{
	pid_t worker = 0;
	long want = 1 + number_of("SELECT count(*) FROM chat.messages WHERE"
				  " user_id = $1::uuid AND role = 'assistant'",
			    me.user_id);

	cr_assert_eq(stack_workers(&stack, &worker, 1), 1);
	pg_gate_shut(gate);
	pthread_create(&a->thread, NULL, ask, a);
	cr_assert(wait_until(is_stored, &want, 60000));
	if (kills)
		kill(worker, SIGKILL);
	pthread_join(a->thread, NULL);
	pg_gate_let(gate);
	cr_expect_eq(a->answer.status, 503, "%ld %s", a->answer.status,
	    a->answer.body.p);
	answer_clear(&a->answer);
	cr_assert(wait_until(serves, NULL, 60000));
}

/* The same once more: the reply, which has ended as `status`. */
static void
expect_replay(struct asker *a, const char *status)
{
	cr_assert(wait_until(has_ended, NULL, 30000), "nobody ended it");
	call_send(&stack, &me, &a->send, &a->answer);
	cr_expect_eq(a->answer.status, 201, "%s", a->answer.body.p);
	cr_expect_str_eq(
	    answer_header(&a->answer, "Idempotent-Replayed"), "true");
	cr_expect_str_eq(answer_text(&a->answer, "status"), status);
	answer_clear(&a->answer);
	cr_expect_eq(number_of("SELECT count(*) FROM chat.messages"
			       " WHERE user_id = $1::uuid",
			 me.user_id),
	    6);
	cr_expect_eq(number_of(AMISS, me.user_id), 0);
	/* The branch is free. */
	a->send.key = "next";
	call_send(&stack, &me, &a->send, &a->answer);
	cr_expect_eq(a->answer.status, 201, "%s", a->answer.body.p);
	cr_expect_null(answer_header(&a->answer, "Idempotent-Replayed"));
	answer_clear(&a->answer);
}

/*
 * Makes the front's connection; and Redis is believed again, so that the send
 * that is to be lost asks Postgres for nothing else before.
 */
static struct asker
begin(void)
{
	struct asker a = {.send = {.conversation = me.conversation,
			      .json = "{\"content\":\"hello\"}"}};

	for (int i = 0; i < 2; i++) {
		call_send(&stack, &me, &a.send, &a.answer);
		cr_assert_eq(a.answer.status, 201, "%s", a.answer.body.p);
		answer_clear(&a.answer);
		if (i == 0)
			pause_ms(4000);
	}
	a.send.key = "lost";
	return a;
}

Test(sends_gate, a_turn_of_which_no_relay_heard_is_ended_by_its_worker)
{
	struct asker a = begin();

	lose_the_commit(&a, false);
	expect_replay(&a, "failed");
	cr_expect_eq(number_of("SELECT count(*) FROM chat.messages"
			       " WHERE user_id = $1::uuid"
			       " AND error_code = 'unavailable'",
			 me.user_id),
	    1);
}

Test(sends_gate, a_turn_whose_worker_died_before_it_answered_is_swept)
{
	struct asker a = begin();

	lose_the_commit(&a, true);
	expect_replay(&a, "interrupted");
}

/* ---- workers that die at any moment ---- */

#define CLIENTS 8
#define SENDS   6
#define KILLS   16

static atomic_bool is_over;

struct client {
	pthread_t thread;
	unsigned seed;
	bool wants_stream;
	char conversation[40];
	char replies[SENDS][40];
	int tries;
	char fault[256];
};

/* The reply's id once there is an answer; "" as long as there is none. */
static void
read_answer(struct client *c, const struct answer *a, char out_reply[40])
{
	const char *id = "";

	if (a->status == 201 && a->code == CURLE_OK)
		id = answer_text(a, "id");
	else if (answer_ends_with(a, "done"))
		id = answer_event_text(a, "done", "id");
	else if (answer_ends_with(a, "error"))
		id = answer_event_text(a, "error", "message_id");
	else if (a->status >= 400 && a->status < 500 && a->status != 409)
		snprintf(c->fault, sizeof(c->fault), "%ld %.200s", a->status,
		    a->body.p);
	snprintf(out_reply, 40, "%s", id);
}

/* What docs/client.md says: the same again until there is an answer. */
static void
send_until_answered(struct client *c, int n)
{
	char key[40], json[160];
	const struct send send = {.conversation = c->conversation,
	    .key = key,
	    .json = json,
	    .timeout_ms = 20000};

	snprintf(key, sizeof(key), "\"%u-%d\"", c->seed, n);
	snprintf(json, sizeof(json),
	    "{\"content\":\"[[events=8 gap=40 seed=%d]] %u\",\"stream\":%s}", n,
	    c->seed, c->wants_stream ? "true" : "false");
	while (c->replies[n][0] == '\0' && c->fault[0] == '\0') {
		struct answer a;

		call_send(&stack, &me, &send, &a);
		read_answer(c, &a, c->replies[n]);
		answer_clear(&a);
		c->tries++;
		if (c->replies[n][0] == '\0')
			pause_ms(200 + rand_r(&c->seed) % 300);
	}
}

static void *
client_run(void *arg)
{
	struct client *c = arg;
	unsigned seed = c->seed;

	for (int n = 0; n < SENDS; n++) {
		c->seed = seed; /* the key's */
		send_until_answered(c, n);
	}
	return NULL;
}

/* Kills a worker now and then. */
static void *
killer_run(void *arg)
{
	unsigned seed = *(unsigned *)arg;
	int kills = 0;

	while (!atomic_load(&is_over) && kills < KILLS) {
		pid_t workers[8];
		size_t n;

		pause_ms(300 + rand_r(&seed) % 900);
		n = stack_workers(&stack, workers, 8);
		if (n < 2)
			continue;
		kill(workers[(size_t)rand_r(&seed) % n], SIGKILL);
		kills++;
	}
	return NULL;
}

/* Each question once, each with one reply, each counted once. */
static void
expect_each_once(const struct client *c)
{
	cr_expect_str_eq(c->fault, "");
	cr_expect_eq(number_of("SELECT count(*) FROM chat.messages"
			       " WHERE conversation_id = $1::uuid",
			 c->conversation),
	    2 * SENDS);
	cr_expect_eq(number_of("SELECT count(DISTINCT content)"
			       " FROM chat.messages WHERE role = 'user'"
			       " AND conversation_id = $1::uuid",
			 c->conversation),
	    SENDS);
	cr_expect_eq(number_of("SELECT max(position) FROM chat.messages"
			       " WHERE conversation_id = $1::uuid",
			 c->conversation),
	    2 * SENDS);
	cr_expect_eq(number_of("SELECT count(*) FROM chat.usage_tracking"
			       " WHERE conversation_id = $1::uuid",
			 c->conversation),
	    SENDS);
	for (int n = 0; n < SENDS; n++)
		cr_expect_eq(
		    number_of("SELECT count(*) FROM chat.messages m JOIN"
			      " chat.usage_tracking u ON u.id = m.id"
			      " WHERE m.id = $1::uuid AND m.role = 'assistant'"
			      " AND m.status <> 'streaming'",
			c->replies[n]),
		    1, "send %d", n);
}

Test(sends_kills, who_repeats_until_answered_is_answered_once)
{
	static struct client clients[CLIENTS];
	pthread_t killer;
	unsigned seed = (unsigned)time(NULL);
	int tries = 0;

	fprintf(stderr, "seed %u\n", seed);
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i] =
		    (struct client){.seed = i + 1, .wants_stream = i % 2};
		person_converse(&stack, &me, clients[i].conversation);
	}
	for (int i = 0; i < CLIENTS; i++)
		pthread_create(
		    &clients[i].thread, NULL, client_run, &clients[i]);
	pthread_create(&killer, NULL, killer_run, &seed);
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		tries += clients[i].tries;
	}
	atomic_store(&is_over, true);
	pthread_join(killer, NULL);
	cr_assert(wait_until(has_ended, NULL, 60000));
	for (int i = 0; i < CLIENTS; i++)
		expect_each_once(&clients[i]);
	cr_expect_eq(number_of(AMISS, me.user_id), 0);
	fprintf(stderr, "%d sends took %d tries\n", CLIENTS * SENDS, tries);
}
