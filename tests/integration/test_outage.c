/*
 * Requests while Postgres or Redis is away: 503 with Retry-After, never 401 or
 * 500, never a lost write; and what was under way is finished when they come
 * back.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "crowd.h"
#include "promises.h"
#include "stack.h"
#include "standin_text.h"
#include "stores.h"

/* How long a thread of natterd that has failed fails fast, and a bit. */
#define RETRY_MS 1200

static struct stack stack;
static struct stores stores;
static struct person me;

static void
teardown(void)
{
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(outage, .fini = teardown, .timeout = 180);

static void
open_world(const struct stack_options *o)
{
	stores_start(&stores, NULL);
	stack_start(&stack, o);
	person_make(&stack, &me);
}

static void
pause_ms(int ms)
{
	struct timespec t = {
	    .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

struct row {
	const char *method;
	const char *path; /* with at most one %s: the conversation */
	const char *json;
	bool is_anonymous;
};

static const struct row rows[] = {
    {"GET", "/api/v1/me", NULL, false},
    {"GET", "/api/v1/conversations", NULL, false},
    {"POST", "/api/v1/conversations", "{}", false},
    {"GET", "/api/v1/conversations/%s", NULL, false},
    {"PATCH", "/api/v1/conversations/%s", "{\"title\":\"x\"}", false},
    {"DELETE", "/api/v1/conversations/%s", NULL, false},
    {"GET", "/api/v1/conversations/%s/messages", NULL, false},
    {"POST", "/api/v1/conversations/%s/messages", "{\"content\":\"x\"}", false},
    {"POST", "/api/v1/conversations/%s/messages",
	"{\"content\":\"x\",\"stream\":true}", false},
    {"POST", "/api/v1/auth/logout", NULL, false},
    {"POST", "/api/v1/auth/login",
	"{\"username\":\"x\",\"password\":\"correct horse 12\"}", true},
    {"POST", "/api/v1/auth/register",
	"{\"username\":\"x\",\"password\":\"correct horse 12\"}", true},
    {"GET", "/api/v1/conversations/%s/export", NULL, false},
    {"GET", "/api/v1/conversations/%s/export?format=markdown", NULL, false},
    {"GET", "/api/v1/me/export", NULL, false},
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void
ask_row(const struct row *r, struct answer *a)
{
	const char *gap = strstr(r->path, "%s");
	char path[256];
	struct ask ask = {.method = r->method,
	    .base = stack.base,
	    .path = path,
	    .json = r->json,
	    .token = r->is_anonymous ? NULL : me.token};

	if (gap == NULL)
		snprintf(path, sizeof(path), "%s", r->path);
	else
		snprintf(path, sizeof(path), "%.*s%s%s", (int)(gap - r->path),
		    r->path, me.conversation, gap + 2);
	http_ask(&ask, a);
}

static void
expect_away(const struct row *r)
{
	const char *fault;
	struct answer a;

	ask_row(r, &a);
	fault = refusal_fault(&a, 503, "unavailable", NULL);
	cr_expect_null(fault, "%s %s: %s", r->method, r->path, fault);
	answer_clear(&a);
}

static void
post_refresh(struct answer *a)
{
	char json[512];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = "/api/v1/auth/refresh",
	    .json = json};

	snprintf(json, sizeof(json), "{\"refresh_token\":\"%s\"}", me.refresh);
	http_ask(&ask, a);
}

static void
expect_list_works(const char *when)
{
	struct answer a;

	ask_row(&rows[1], &a);
	cr_expect_eq(a.status, 200, "%s: %ld %s", when, a.status, a.body.p);
	answer_clear(&a);
}

Test(outage, without_postgres_everything_is_503_and_nothing_is_lost)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	struct answer a;
	char n[16];

	open_world(&o);
	server_stop(&stores.postgres, SIGINT);
	for (size_t i = 0; i < N_ROWS; i++)
		expect_away(&rows[i]);
	post_refresh(&a);
	cr_expect_null(refusal_fault(&a, 503, "unavailable", NULL), "%s",
	    refusal_fault(&a, 503, "unavailable", NULL));
	answer_clear(&a);
	cr_assert(server_start_again(&stores.postgres));
	pause_ms(RETRY_MS);
	/* The title is untouched, the session lives, nothing was said. */
	ask_row(&rows[3], &a);
	cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_text(&a, "title"), "");
	cr_expect_str_eq(answer_text(&a, "message_count"), "0");
	answer_clear(&a);
	post_refresh(&a);
	cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
	db_value("SELECT count(*) FROM chat.messages", NULL, n, sizeof(n));
	cr_expect_str_eq(n, "0");
}

Test(outage, n24_with_neither_store_nobody_is_told_that_their_token_is_bad)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};
	const struct row verify = {"GET", "/api/v1/auth/verify", NULL, false};
	const char *fault;
	struct answer a;

	open_world(&o);
	server_stop(&stores.redis, SIGKILL);
	server_stop(&stores.postgres, SIGINT);
	for (int i = 0; i < 3; i++) {
		expect_away(&verify);
		for (size_t k = 0; k < N_ROWS; k++)
			expect_away(&rows[k]);
		post_refresh(&a);
		fault = refusal_fault(&a, 503, "unavailable", NULL);
		cr_expect_null(fault, "refresh: %s", fault);
		answer_clear(&a);
	}
	/* Redis alone is empty and knows nobody: still no 401. */
	cr_assert(server_start_again(&stores.redis));
	pause_ms(RETRY_MS);
	expect_away(&verify);
	expect_away(&rows[0]);
	cr_assert(server_start_again(&stores.postgres));
	pause_ms(RETRY_MS);
	expect_list_works("with both again");
}

Test(outage, the_first_request_after_a_restart_works)
{
	static const int signals[] = {SIGINT, SIGQUIT};
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};
	char json[256];
	struct ask login = {
	    .method = "POST", .path = "/api/v1/auth/login", .json = json};
	struct answer a;

	open_world(&o);
	login.base = stack.base;
	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"correct horse %s\"}",
	    me.username, me.username + strlen("person-"));
	for (int i = 0; i < 6; i++) {
		/* Both workers have their connections open. */
		for (int k = 0; k < 8; k++)
			expect_list_works("before");
		server_stop(&stores.postgres, signals[i % 2]);
		cr_assert(server_start_again(&stores.postgres));
		for (int k = 0; k < 8; k++)
			expect_list_works("first after a restart");
		http_ask(&login, &a);
		cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
		answer_clear(&a);
	}
}

struct asker {
	pthread_t thread;
	uint64_t took_ms;
	struct answer answer;
};

static void *
asker_run(void *arg)
{
	struct asker *k = arg;
	uint64_t began = clock_mono_ms();

	ask_row(&rows[1], &k->answer);
	k->took_ms = clock_mono_ms() - began;
	return NULL;
}

Test(outage, a_frozen_postgres_delays_by_its_timeout_alone)
{
	enum { ASKERS = 64 };
	static struct asker askers[ASKERS];
	struct stack_options o = {
	    .settings = {"CHAT_WORKERS=2", "CHAT_PG_TIMEOUT=4000"}};

	open_world(&o);
	server_freeze(&stores.postgres);
	for (int i = 0; i < ASKERS; i++)
		pthread_create(&askers[i].thread, NULL, asker_run, &askers[i]);
	for (int i = 0; i < ASKERS; i++) {
		const char *fault;

		pthread_join(askers[i].thread, NULL);
		fault =
		    refusal_fault(&askers[i].answer, 503, "unavailable", NULL);
		cr_expect_null(fault, "%s", fault);
		/* One waits; those behind it fail fast. */
		cr_expect_lt(askers[i].took_ms, 15000, "%lu ms",
		    (unsigned long)askers[i].took_ms);
		answer_clear(&askers[i].answer);
	}
	server_thaw(&stores.postgres);
	pause_ms(RETRY_MS);
	for (int i = 0; i < 8; i++)
		expect_list_works("after the thaw");
	/* Shorter than the timeout it costs nobody anything but time. */
	server_freeze(&stores.postgres);
	pthread_create(&askers[0].thread, NULL, asker_run, &askers[0]);
	pause_ms(400);
	server_thaw(&stores.postgres);
	pthread_join(askers[0].thread, NULL);
	cr_expect_eq(askers[0].answer.status, 200);
	answer_clear(&askers[0].answer);
}

#define LONG_REPLIES 60

static struct crowd crowd;

static void *
stream_long_replies(void *arg)
{
	crowd_stream(&crowd, LONG_REPLIES,
	    "{\"content\":\"[[text=1000000 chunk=50000 gate=1000]] %d\","
	    "\"stream\":true}",
	    0, NULL, arg);
	return NULL;
}

static bool
all_have_begun(void *arg)
{
	char n[16];

	(void)arg;
	db_value(
	    "SELECT count(*) FROM chat.running_replies", NULL, n, sizeof(n));
	return atoi(n) == LONG_REPLIES;
}

/* Together they take Postgres longer than it is given for one transaction. */
Test(outage, long_replies_that_waited_are_stored)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_PG_TIMEOUT=2000",
		"CHAT_HASH_MEMORY=8", "CHAT_CLIENT_BUFFER=4000000",
		"CHAT_RESPONSE_TIMEOUT=120000"}};
	struct load_end end = {0};
	pthread_t thread;
	char n[16];

	open_world(&o);
	crowd_make(&stack, LONG_REPLIES, &crowd);
	pthread_create(&thread, NULL, stream_long_replies, &end);
	cr_assert(wait_until(all_have_begun, NULL, 60000));
	server_freeze(&stores.postgres);
	stack_model_open(&stack);
	pause_ms(12000);
	server_thaw(&stores.postgres);
	pthread_join(thread, NULL);
	cr_expect_eq(end.completed, LONG_REPLIES, "%s", end.report);
	db_value("SELECT count(*) FROM chat.messages WHERE status = 'complete'"
		 " AND octet_length(content) = 1000000",
	    NULL, n, sizeof(n));
	cr_expect_eq(atoi(n), LONG_REPLIES, "%s", n);
	load_end_clear(&end);
	crowd_free(&crowd);
}

static void *
say_hello(void *arg)
{
	person_say(&stack, &me, "hello", arg);
	return NULL;
}

/* A lock that lasts, as CREATE INDEX takes it, is no death of the worker. */
Test(outage, a_reply_that_waits_for_a_lock_is_not_swept)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	struct answer a;
	pthread_t thread;
	PGconn *db;

	open_world(&o);
	for (int i = 0; i < 8; i++) { /* all connections are open then */
		person_say(&stack, &me, "hello", &a);
		cr_assert(answer_ends_with(&a, "done"), "%s", a.body.p);
		answer_clear(&a);
	}
	db = PQconnectdb(getenv("SUPERUSER_DATABASE_URL"));
	PQclear(
	    PQexec(db, "BEGIN; LOCK TABLE chat.usage_tracking IN SHARE MODE"));
	pthread_create(&thread, NULL, say_hello, &a);
	pause_ms(20000);
	PQfinish(db);
	pthread_join(thread, NULL);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

Test(outage, without_redis_everything_works)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_REDIS_TIMEOUT=100"}};
	struct answer a;

	open_world(&o);
	for (int frozen = 0; frozen < 2; frozen++) {
		uint64_t began;

		if (frozen)
			server_freeze(&stores.redis);
		else
			server_stop(&stores.redis, SIGKILL);
		began = clock_mono_ms();
		for (int i = 0; i < 100; i++)
			expect_list_works("without Redis");
		cr_expect_lt(clock_mono_ms() - began, 15000);
		person_say(&stack, &me, "hello", &a);
		cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
		answer_clear(&a);
		post_refresh(&a);
		cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
		answer_clear(&a);
		if (frozen)
			server_thaw(&stores.redis);
		else
			cr_assert(server_start_again(&stores.redis));
		pause_ms(RETRY_MS);
	}
	ask_row(&rows[9], &a); /* logout */
	cr_expect_eq(a.status, 204, "%ld %s", a.status, a.body.p);
	answer_clear(&a);
	ask_row(&rows[1], &a);
	cr_expect_eq(a.status, 401);
	answer_clear(&a);
}
