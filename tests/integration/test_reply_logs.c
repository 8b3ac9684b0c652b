/*
 * The logs of replies, with the real worker and a Redis that forgets, hangs,
 * dies and is slow: what the client saw, what the log says, and what is stored
 * agree byte for byte, and no reply is held up.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "metrics_text.h"
#include "redis_scratch.h"
#include "reply_check.h"
#include "server/reply_log.h"
#include "stack.h"
#include "standin_text.h"
#include "stores.h"

static struct stack stack;
static struct stores stores;

/* Redis is late when it is stopped, and never because the machine is busy. */
static void
setup(void)
{
	const struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=1", "CHAT_REDIS_TIMEOUT=5000",
		"CHAT_RESPONSE_TIMEOUT=120000"}};
	char *url;

	stores_start(&stores, NULL);
	url = server_url_with(getenv("TEST_DATABASE_URL"), "dbname", "natter");
	setenv("SUPERUSER_DATABASE_URL", url, 1);
	free(url);
	stack_start(&stack, &o);
}

static void
teardown(void)
{
	server_thaw(&stores.redis);
	stack_stop(&stack);
	stores_stop(&stores);
}

TestSuite(reply_logs, .init = setup, .fini = teardown, .timeout = 180);

/* One reply, asked for in a thread of its own. */
struct client {
	pthread_t thread;
	struct person person;
	char json[256];
	struct answer answer;
	_Atomic int events, resumables, text_bytes;
	_Atomic bool is_over;
	char message[40];
	_Atomic bool has_message;
};

static void
event_came(void *arg, int n)
{
	struct client *c = arg;
	const struct event *e = &c->answer.events[n - 1];

	if (n == 1) {
		snprintf(c->message, sizeof(c->message), "%s",
		    answer_event_text(&c->answer, "start", "message_id"));
		atomic_store(&c->has_message, true);
	}
	if (strcmp(e->name, "resumable") == 0)
		atomic_fetch_add(&c->resumables, 1);
	atomic_store(&c->text_bytes, (int)c->answer.text.n);
	atomic_store(&c->events, n);
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
	atomic_store(&c->is_over, true);
	return NULL;
}

static void
client_start(struct client *c, const char *directives)
{
	snprintf(c->json, sizeof(c->json),
	    "{\"content\":\"[[%s]] go\",\"stream\":true}", directives);
	if (c->person.token[0] == '\0')
		person_make(&stack, &c->person);
	pthread_create(&c->thread, NULL, client_run, c);
}

static void
wait_for(const _Atomic int *n, int want)
{
	cr_assert(
	    wait_for_count(n, want, 60000), "%d of %d", atomic_load(n), want);
}

/* The model goes on to its next gate: so many pieces of so many bytes have come
 * then, in however few events. A piece ends with a character. */
static void
go_on_to(const struct client *c, int n, int pieces, int chunk)
{
	stack_model_open(&stack);
	for (int i = 0; i < n; i++)
		wait_for(&c[i].text_bytes, pieces * (chunk - 3));
}

/* The model says all the rest. */
static void
go_on(void)
{
	for (int i = 0; i < 10; i++)
		stack_model_open(&stack);
}

/* The reply has ended well, with this text, which is what is stored. */
static void
client_end(struct client *c, int seed, size_t bytes)
{
	char *want = calloc(1, bytes + 1);
	struct reply_seen seen;

	pthread_join(c->thread, NULL);
	standin_text((uint64_t)seed, bytes, want);
	cr_expect(answer_ends_with(&c->answer, "done"), "%s", c->answer.body.p);
	reply_seen_by_client(&c->answer, &seen);
	cr_expect(seen.is_well_formed);
	cr_expect_str_eq(seen.text, want);
	expect_stored_reply(&seen);
	reply_seen_free(&seen);
	free(want);
}

static void
redis_do(int argc, const char **argv)
{
	struct redis *r = redis_new(stores.redis.url, 5000);

	expect_status(r, "OK", argc, argv);
	redis_free(r);
}

/* Is the log there, with an end or without? */
static bool
is_logged(void *arg)
{
	struct client *c = arg;
	struct reply_seen log;
	bool is;

	reply_seen_in_log(c->message, &log);
	is = log.is_well_formed && log.events > 0 && log.end[0] == '\0';
	reply_seen_free(&log);
	return is;
}

Test(reply_logs, log_client_and_message_agree)
{
	static const char *const directives[] = {
	    "text=3000 chunk=7 gap=5 seed=3",
	    "text=40000 chunk=900 gap=10 seed=3", "text=1 seed=3",
	    "text=200000 chunk=20000 seed=3"};
	static const size_t bytes[] = {3000, 40000, 1, 200000};
	static struct client c[4];

	for (int i = 0; i < 4; i++)
		client_start(&c[i], directives[i]);
	for (int i = 0; i < 4; i++) {
		client_end(&c[i], 3, bytes[i]);
		expect_reply_agrees(&c[i].answer);
		cr_expect_str_eq(
		    answer_event_text(&c[i].answer, "start", "resumable"),
		    "true");
		cr_expect_eq(atomic_load(&c[i].resumables), 0);
		cr_expect_leq(reply_log_ttl(c[i].message), REPLY_LOG_KEEP_S);
		cr_expect_geq(
		    reply_log_ttl(c[i].message), REPLY_LOG_KEEP_S - 60);
		answer_clear(&c[i].answer);
	}
}

Test(reply_logs, what_a_client_has_seen_is_in_the_log_already)
{
	static struct client c;
	struct reply_seen log;
	size_t seen;

	client_start(&c, "text=2000 chunk=10 gap=10 gate=195 seed=4");
	go_on_to(&c, 1, 10, 10);
	for (int i = 0; i < 20; i++) {
		int events = atomic_load(&c.events);

		reply_seen_in_log(c.message, &log);
		cr_expect(log.is_well_formed);
		seen = log.events;
		cr_expect_geq(
		    (int)seen, events, "%d seen, %zu in the log", events, seen);
		reply_seen_free(&log);
	}
	cr_expect_gt(reply_log_ttl(c.message), REPLY_LOG_KEEP_S);
	go_on();
	client_end(&c, 4, 2000);
	expect_reply_agrees(&c.answer);
	answer_clear(&c.answer);
}

Test(reply_logs, failed_replies_and_those_without_a_stream_are_logged_too)
{
	char id[40];
	struct person p;
	struct reply_seen log;
	struct answer a;
	char path[128];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .token = p.token,
	    .json = "{\"content\":\"[[text=700 chunk=50 gap=5 seed=9]] go\"}"};

	person_make(&stack, &p);
	person_say(&stack, &p, "[[text=600 cut=7 chunk=20 gap=5]] go", &a);
	cr_expect(answer_ends_with(&a, "error"), "%s", a.body.p);
	expect_reply_agrees(&a);
	answer_clear(&a);
	person_converse(&stack, &p, p.conversation);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(id, sizeof(id), "%s", answer_text(&a, "id"));
	reply_seen_in_log(id, &log);
	cr_expect(log.is_well_formed);
	cr_expect_str_eq(log.end, "done");
	cr_expect_str_eq(log.data, a.body.p);
	cr_expect_str_eq(log.text, answer_text(&a, "content"));
	reply_seen_free(&log);
	answer_clear(&a);
}

/* A log of milliseconds is none: it is said when it is stored. */
Test(reply_logs, an_instant_reply_is_said_when_it_is_stored)
{
	struct reply_seen seen;
	struct person p;
	struct answer a;
	struct ask ask = {.method = "POST", .base = stack.base};
	char path[128];

	person_make(&stack, &p);
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p.conversation);
	ask.path = path;
	ask.token = p.token;
	ask.json = "{\"content\":\"hello\",\"model\":\"natter-local\","
		   "\"stream\":true}";
	http_ask(&ask, &a);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	reply_seen_by_client(&a, &seen);
	cr_expect(seen.is_well_formed);
	cr_expect_gt(seen.n, 10);
	expect_stored_reply(&seen);
	cr_expect_eq(reply_log_ttl(seen.message), -2, "there is no log");
	reply_seen_free(&seen);
	answer_clear(&a);
}

Test(reply_logs, a_log_that_was_flushed_is_whole_again_at_once)
{
	static struct client c[5];

	for (int i = 0; i < 5; i++)
		client_start(&c[i], "text=4000 chunk=20 gap=10 gate=30 seed=5");
	go_on_to(c, 5, 30, 20);
	for (int round = 2; round < 7; round++) {
		redis_do(WORDS("FLUSHALL"));
		go_on_to(c, 5, round * 30, 20);
	}
	for (int i = 0; i < 5; i++)
		cr_expect(wait_until(is_logged, &c[i], 60000));
	go_on();
	for (int i = 0; i < 5; i++) {
		client_end(&c[i], 5, 4000);
		expect_reply_agrees(&c[i].answer);
		cr_expect_eq(
		    atomic_load(&c[i].resumables), 0, "it never was away");
		answer_clear(&c[i].answer);
	}
}

/* The end of a reply whose log is gone by then. */
Test(reply_logs, a_log_flushed_before_the_end_is_whole_after_it)
{
	static struct client c;

	client_start(&c, "text=100 chunk=99 gate=1 seed=5");
	go_on_to(&c, 1, 1, 99);
	redis_do(WORDS("FLUSHALL"));
	go_on();
	client_end(&c, 5, 100);
	expect_reply_agrees(&c.answer);
	answer_clear(&c.answer);
}

/* Goes on without Redis, says so, and has its log when Redis is back. */
static void
lose_redis(struct client *c, int n, void (*lose)(void), void (*back)(void))
{
	for (int i = 0; i < n; i++)
		person_make(&stack, &c[i].person);
	for (int i = 0; i < n; i++)
		client_start(
		    &c[i], "text=6000 chunk=10 gap=10 gate=100 seed=6");
	go_on_to(c, n, 100, 10);
	lose();
	stack_model_open(&stack);
	for (int i = 0; i < n; i++)
		wait_for(&c[i].resumables, 1);
	go_on_to(c, n, 300, 10);
	back();
	stack_model_open(&stack);
	for (int i = 0; i < n; i++) {
		wait_for(&c[i].resumables, 2);
		cr_expect(wait_until(is_logged, &c[i], 60000));
	}
	go_on();
	for (int i = 0; i < n; i++) {
		client_end(&c[i], 6, 6000);
		expect_reply_agrees(&c[i].answer);
		cr_expect_eq(atomic_load(&c[i].resumables), 2);
		cr_expect_str_eq(
		    answer_event_text(&c[i].answer, "resumable", "resumable"),
		    "true");
		answer_clear(&c[i].answer);
	}
}

static void
freeze(void)
{
	server_freeze(&stores.redis);
}

static void
thaw(void)
{
	server_thaw(&stores.redis);
}

static void
slay(void)
{
	server_stop(&stores.redis, SIGKILL);
}

static void
start_again(void)
{
	cr_assert(server_start_again(&stores.redis));
}

Test(reply_logs, a_redis_that_hangs_holds_up_no_reply)
{
	static struct client c[40];

	lose_redis(c, 40, freeze, thaw);
}

Test(reply_logs, a_redis_that_is_killed_comes_back_with_whole_logs)
{
	static struct client c[5];

	lose_redis(c, 5, slay, start_again);
}

/* Stops Redis for a moment, again and again, without the time-out's end. */
static void *
slow_down(void *arg)
{
	_Atomic bool *stop = arg;

	while (!atomic_load(stop)) {
		redis_do(WORDS("CLIENT", "PAUSE", "100", "ALL"));
		nanosleep(&(struct timespec){0, 110000000}, NULL);
	}
	return NULL;
}

Test(reply_logs, a_slow_redis_slows_replies_and_loses_nothing)
{
	static struct client c[5];
	static _Atomic bool stop;
	pthread_t thread;

	for (int i = 0; i < 5; i++)
		person_make(&stack, &c[i].person);
	pthread_create(&thread, NULL, slow_down, &stop);
	for (int i = 0; i < 5; i++)
		client_start(&c[i], "text=2000 chunk=20 gap=20 seed=5");
	for (int i = 0; i < 5; i++) {
		client_end(&c[i], 5, 2000);
		expect_reply_agrees(&c[i].answer);
		cr_expect_eq(atomic_load(&c[i].resumables), 0);
		answer_clear(&c[i].answer);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

Test(reply_logs, a_reply_begun_without_redis_says_so)
{
	static struct client c;

	slay();
	client_start(&c, "text=2000 chunk=20 gap=25 gate=90 seed=7");
	go_on_to(&c, 1, 10, 20);
	start_again();
	wait_for(&c.resumables, 1);
	go_on();
	client_end(&c, 7, 2000);
	cr_expect_str_eq(
	    answer_event_text(&c.answer, "start", "resumable"), "false");
	expect_reply_agrees(&c.answer);
	answer_clear(&c.answer);
}

struct wanted {
	const struct client *c;
	size_t bytes;
};

/* Has Postgres so much of the running reply's text? */
static bool
is_checkpointed(void *arg)
{
	const struct wanted *w = arg;
	char n[32];

	db_value("SELECT octet_length(content) FROM chat.messages WHERE "
		 "id = $1 AND status = 'streaming'",
	    w->c->message, n, sizeof(n));
	return strtoul(n, NULL, 10) >= w->bytes;
}

Test(reply_logs, without_redis_the_text_goes_to_postgres_meanwhile)
{
	static struct client c[3];
	struct reply_seen seen;
	char *want = calloc(1, 16001), *stored;

	for (int i = 0; i < 3; i++)
		client_start(
		    &c[i], "text=16000 chunk=20 gap=20 gate=150 seed=8");
	go_on_to(c, 3, 5, 20);
	slay();
	standin_text(8, 16000, want);
	for (int i = 0; i < 3; i++) {
		struct wanted w = {&c[i], 1};

		cr_assert(wait_until(is_checkpointed, &w, 60000));
		w.bytes = 2000; /* more than one of them */
		cr_assert(wait_until(is_checkpointed, &w, 60000));
		stored =
		    db_text("SELECT content FROM chat.messages WHERE id = $1",
			c[i].message);
		cr_expect_eq(strncmp(want, stored, strlen(stored)), 0);
		free(stored);
	}
	/* Somebody changed the row: all of it is written with the next piece.
	 */
	db_value("UPDATE chat.messages SET content = 'x' WHERE id = $1 "
		 "RETURNING 1",
	    c[0].message, want, 8);
	stack_model_open(&stack);
	{
		struct wanted w = {&c[0], 3000};

		cr_assert(wait_until(is_checkpointed, &w, 60000));
	}
	go_on();
	for (int i = 0; i < 3; i++) {
		client_end(&c[i], 8, 16000);
		reply_seen_by_client(&c[i].answer, &seen);
		cr_expect_eq(seen.n, 16000);
		reply_seen_free(&seen);
		answer_clear(&c[i].answer);
	}
	free(want);
	start_again();
}

static bool
is_gone(void *arg)
{
	const struct client *c = arg;
	struct reply_seen log;
	bool is;

	reply_seen_in_log(c->message, &log);
	is = log.events == 0;
	reply_seen_free(&log);
	return is;
}

/* What ended while Redis hung is not followed for ever. */
Test(reply_logs, a_log_without_its_end_goes_when_redis_is_back)
{
	static struct client c;

	client_start(&c, "text=1000 chunk=20 gap=20 gate=25 seed=2");
	go_on_to(&c, 1, 25, 20);
	freeze();
	go_on();
	client_end(&c, 2, 1000);
	thaw();
	cr_expect(wait_until(is_gone, &c, 60000));
	answer_clear(&c.answer);
}

/* This worker was taken for dead: what the model says further is not said. */
Test(reply_logs, a_reply_that_was_ended_elsewhere_ends)
{
	static struct client c;
	struct reply_seen seen, log;
	struct reply_command cmd;
	struct redis *r = redis_new(stores.redis.url, 5000);
	AUTO_REPLY redisReply *reply = NULL;
	char one[8];

	client_start(&c, "text=60000 chunk=20 gap=20 seed=2");
	wait_for(&c.events, 5);
	db_value("SELECT chat.end_lost_reply(user_id, id, NULL), 1 FROM "
		 "chat.messages WHERE id = $1",
	    c.message, one, sizeof(one));
	do {
		struct reply_event end = {
		    .name = "error", .name_len = 5, .data = "{}", .n = 2};

		redis_reply_cleanup(&reply);
		reply_seen_in_log(c.message, &log);
		end.at =
		    (struct reply_position){log.last_n + REPLY_LOG_SEAL, log.n};
		reply_log_append(&cmd, c.message, &end);
		cr_assert_eq(
		    redis_command(r, cmd.n, cmd.words, cmd.lens, &reply), OK);
		reply_seen_free(&log);
		reply_seen_in_log(c.message, &log);
	} while (!log.is_well_formed);
	pthread_join(c.thread, NULL);
	cr_expect(answer_ends_with(&c.answer, "error"), "%s", c.answer.body.p);
	reply_seen_by_client(&c.answer, &seen);
	cr_expect(seen.is_well_formed);
	cr_expect_eq(seen.n, log.n, "text that nobody keeps was said");
	reply_seen_free(&seen);
	reply_seen_free(&log);
	answer_clear(&c.answer);
	redis_free(r);
}

static double
metric(const char *series)
{
	struct ask ask = {.base = stack.base, .path = "/metrics"};
	struct answer a;
	double value;

	http_ask(&ask, &a);
	value = metrics_sum(a.body.p, series);
	answer_clear(&a);
	return value;
}

Test(reply_logs, events_and_losses_are_counted)
{
	static struct client c;

	client_start(&c, "text=3000 chunk=20 gap=20 gate=50 seed=6");
	go_on_to(&c, 1, 50, 20);
	slay();
	stack_model_open(&stack);
	wait_for(&c.resumables, 1);
	cr_expect_eq(metric("natter_replies_unlogged"), 1);
	start_again();
	wait_for(&c.resumables, 2);
	go_on();
	client_end(&c, 6, 3000);
	cr_expect_eq(metric("natter_replies_unlogged"), 0);
	cr_expect_geq(metric("natter_reply_events_logged_total"), 5);
	cr_expect_geq(metric("natter_reply_logs_lost_total"), 1);
	cr_expect_geq(metric("natter_reply_logs_rebuilt_total"), 1);
	answer_clear(&c.answer);
}
