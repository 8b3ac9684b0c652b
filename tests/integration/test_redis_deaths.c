/*
 * Redis dies, hangs and forgets while several workers are asked through nginx
 * by people who refresh their tokens meanwhile. Nobody may notice, and nobody
 * may get an answer that was meant for another. Numbers in the names are those
 * of the adversarial list.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "calls.h"
#include "stack.h"
#include "stores.h"

#define CLIENTS 6
#define STEPS   30 /* of each client, at least, in each phase */

static struct stack stack;
static struct stores stores;

static void
setup(void)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=3", "CHAT_REDIS_TIMEOUT=100"}};
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

TestSuite(redis_deaths, .init = setup, .fini = teardown, .timeout = 180);

struct client {
	pthread_t thread;
	struct person person;
	_Atomic bool stop;
	atomic_int steps, wrong, strangers;
	atomic_long bad_status; /* of the last wrong answer */
	_Atomic uint64_t slowest_ms;
};

static void
note(struct client *c, long status)
{
	if (status == 200)
		return;
	atomic_fetch_add(&c->wrong, 1);
	atomic_store(&c->bad_status, status);
}

/* Who am I? Nobody else, whatever happened to Redis. */
static void
ask_me(struct client *c)
{
	struct ask ask = {
	    .base = stack.base, .path = "/api/v1/me", .token = c->person.token};
	uint64_t began = clock_mono_ms(), took;
	struct answer a;

	http_ask(&ask, &a);
	took = clock_mono_ms() - began;
	if (took > atomic_load(&c->slowest_ms))
		atomic_store(&c->slowest_ms, took);
	note(c, a.status);
	if (a.status == 200 &&
	    strcmp(answer_text(&a, "id"), c->person.user_id) != 0)
		atomic_fetch_add(&c->strangers, 1);
	answer_clear(&a);
}

static void
refresh(struct client *c)
{
	struct exchanged got;

	call_refresh(&stack, c->person.refresh, &got);
	note(c, got.status);
	if (got.status != 200)
		return;
	snprintf(c->person.token, sizeof(c->person.token), "%s", got.access);
	snprintf(
	    c->person.refresh, sizeof(c->person.refresh), "%s", got.refresh);
}

static void *
go_on(void *arg)
{
	struct client *c = arg;

	for (int i = 0; !atomic_load(&c->stop); i++) {
		if (i % 8 == 7)
			refresh(c);
		ask_me(c);
		note(c, call_status(&stack, "GET", "/api/v1/conversations",
			    c->person.token, NULL));
		atomic_fetch_add(&c->steps, 1);
	}
	return NULL;
}

static void
start(struct client c[static CLIENTS])
{
	for (size_t i = 0; i < CLIENTS; i++) {
		person_make(&stack, &c[i].person);
		pthread_create(&c[i].thread, NULL, go_on, &c[i]);
	}
}

struct progress {
	struct client *clients;
	int from[CLIENTS];
};

static bool
has_gone_on(void *arg)
{
	struct progress *p = arg;

	for (size_t i = 0; i < CLIENTS; i++)
		if (atomic_load(&p->clients[i].steps) < p->from[i] + STEPS)
			return false;
	return true;
}

/* Every client has got this much further: as long as that takes. */
static void
let_go_on(struct client c[static CLIENTS])
{
	struct progress p = {.clients = c};

	for (size_t i = 0; i < CLIENTS; i++)
		p.from[i] = atomic_load(&c[i].steps);
	cr_assert(wait_until(has_gone_on, &p, 60000));
}

static void
end(struct client c[static CLIENTS])
{
	for (size_t i = 0; i < CLIENTS; i++)
		atomic_store(&c[i].stop, true);
	for (size_t i = 0; i < CLIENTS; i++) {
		pthread_join(c[i].thread, NULL);
		cr_expect_eq(atomic_load(&c[i].wrong), 0, "%d wrong, e.g. %ld",
		    atomic_load(&c[i].wrong), atomic_load(&c[i].bad_status));
		cr_expect_eq(atomic_load(&c[i].strangers), 0);
		fprintf(stderr, "%d steps, the slowest answer after %llu ms\n",
		    atomic_load(&c[i].steps),
		    (unsigned long long)atomic_load(&c[i].slowest_ms));
	}
}

/* Somebody leaves, and is out at once and for good: all workers know. */
static void
somebody_leaves(const struct person *p)
{
	cr_expect_eq(call_logout(&stack, p->token), 204);
	for (int i = 0; i < 12; i++)
		cr_expect_eq(call_verify(&stack, p->token), 401);
}

static void
expect_out(const struct person *p, size_t n)
{
	struct exchanged got;

	for (size_t i = 0; i < n; i++) {
		for (int k = 0; k < 12; k++)
			cr_expect_eq(call_verify(&stack, p[i].token), 401);
		call_refresh(&stack, p[i].refresh, &got);
		cr_expect_str_eq(got.code, "session_revoked");
	}
}

static bool
redis_remembers(void *arg)
{
	redisContext *c =
	    redisConnectUnix(stores.redis.url + strlen("unix://"));
	redisReply *r =
	    c != NULL && c->err == 0 ? redisCommand(c, "KEYS sess:*") : NULL;
	bool yes = r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements > 0;

	(void)arg;
	freeReplyObject(r);
	redisFree(c);
	return yes;
}

Test(redis_deaths, n22_killed_and_started_again_under_load)
{
	static struct client c[CLIENTS];
	static struct person left[3];
	uint64_t back;

	for (size_t i = 0; i < 3; i++)
		person_make(&stack, &left[i]);
	start(c);
	for (size_t i = 0; i < 3; i++) {
		let_go_on(c);
		server_stop(&stores.redis, SIGKILL);
		let_go_on(c);
		somebody_leaves(&left[i]);
		cr_assert(server_start_again(&stores.redis));
		back = clock_mono_ms();
		cr_expect(wait_until(redis_remembers, NULL, 60000));
		fprintf(stderr, "used again after %llu ms\n",
		    (unsigned long long)(clock_mono_ms() - back));
		expect_out(left, i + 1);
	}
	end(c);
}

Test(redis_deaths, n22_hung_and_awake_again_under_load)
{
	static struct client c[CLIENTS];
	static struct person left[2];

	for (size_t i = 0; i < 2; i++)
		person_make(&stack, &left[i]);
	start(c);
	for (size_t i = 0; i < 2; i++) {
		let_go_on(c);
		server_freeze(&stores.redis);
		let_go_on(c);
		somebody_leaves(&left[i]);
		server_thaw(&stores.redis);
		let_go_on(c);
		expect_out(left, i + 1);
	}
	end(c);
}

static void
flush(void)
{
	redisContext *c =
	    redisConnectUnix(stores.redis.url + strlen("unix://"));
	redisReply *r;

	cr_assert(c != NULL && c->err == 0);
	r = redisCommand(c, "FLUSHALL");
	freeReplyObject(r);
	r = redisCommand(c, "SCRIPT FLUSH");
	freeReplyObject(r);
	redisFree(c);
}

Test(redis_deaths, n23_flushed_again_and_again_under_load)
{
	static struct client c[CLIENTS];
	static struct person left[3];

	for (size_t i = 0; i < 3; i++)
		person_make(&stack, &left[i]);
	start(c);
	for (size_t i = 0; i < 3; i++) {
		for (int k = 0; k < 20; k++)
			flush();
		let_go_on(c);
		somebody_leaves(&left[i]);
		flush();
		expect_out(left, i + 1);
	}
	end(c);
}

/* Answers that come too late, in short naps: each reaches its own or nobody. */
Test(redis_deaths, n25_no_late_answer_reaches_the_next_user)
{
	static struct client c[CLIENTS];

	start(c);
	for (int i = 0; i < 12; i++) {
		const struct timespec nap = {.tv_nsec = 150000000};

		server_freeze(&stores.redis);
		nanosleep(&nap, NULL);
		server_thaw(&stores.redis);
		nanosleep(&nap, NULL);
	}
	let_go_on(c);
	end(c);
}
