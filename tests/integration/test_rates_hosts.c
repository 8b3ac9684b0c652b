/*
 * Request limits over several workers and hosts, through nginx: two natterd
 * that share Postgres, Redis and the key ring. Numbers in the names are those
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

#include "base/clock.h"
#include "promises.h"
#include "stack.h"
#include "store/redis.h"
#include "stores.h"
#include "utc_day.h"

#define HOSTS   2
#define THREADS 20
#define TRIES   1000
#define LIMIT   100
/* Redis counts however busy the machine is: for whom it is away for a moment,
 * others count. */
#define PATIENT_REDIS "CHAT_REDIS_TIMEOUT=2000"

static struct stack hosts[HOSTS];
static struct stores stores;
static struct person me;

static void
teardown(void)
{
	for (size_t i = 0; i < HOSTS; i++)
		stack_stop(&hosts[i]);
	stores_stop(&stores);
}

TestSuite(rates_hosts, .fini = teardown, .timeout = 300);

static void
open_hosts(const char *const settings[3])
{
	utc_day_begin();
	stores_start(&stores, NULL);
	for (size_t i = 0; i < HOSTS; i++) {
		const struct stack_options o = {
		    .has_model = true,
		    .settings = {"CHAT_WORKERS=3", PATIENT_REDIS, settings[0],
			settings[1], settings[2]},
		};
		stack_start(&hosts[i], &o);
	}
	person_make(&hosts[0], &me);
}

/* Runs a command; the text that it gives, if any. */
static const char *
redis(int argc, const char **argv)
{
	static char text[256];
	AUTO_REPLY redisReply *reply = NULL;
	struct redis *r = redis_new(stores.redis.url, 2000);
	cr_assert_eq(
	    redis_command(r, argc, argv, NULL, &reply), OK, "%s", redis_why(r));
	redis_free(r);
	snprintf(text, sizeof(text), "%s", reply->str ? reply->str : "");
	return text;
}

#define REDIS(...)                                                           \
	redis((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), \
	    (const char *[]){__VA_ARGS__})

/* ---- the crowd ---- */

static atomic_int next, passed, wrong;

/* What is wrong with a 429, or NULL. */
static const char *
refusal_of(const struct answer *a)
{
	const char *retry = answer_header(a, "Retry-After");
	if (!retry || strspn(retry, "0123456789") != strlen(retry) ||
	    atoi(retry) < 1)
		return "no whole Retry-After";
	return refusal_fault(a, 429, "rate_limited", NULL);
}

static void *
ask_often(void *arg)
{
	(void)arg;
	for (int i; (i = atomic_fetch_add(&next, 1)) < TRIES;) {
		struct ask ask = {.base = hosts[i % HOSTS].base,
		    .path = "/api/v1/me",
		    .token = me.token};
		struct answer a;
		http_ask(&ask, &a);
		if (a.status == 200) {
			atomic_fetch_add(&passed, 1);
		} else if (refusal_of(&a)) {
			fprintf(stderr, "%ld %s: %s\n", a.status, a.body.p,
			    refusal_of(&a));
			atomic_fetch_add(&wrong, 1);
		}
		answer_clear(&a);
	}
	return NULL;
}

/* A crowd at once: the limit passes, and what refilled meanwhile. */
static void
expect_exactly(int spent, const char *when)
{
	pthread_t threads[THREADS];
	uint64_t began_ms = clock_mono_ms();
	atomic_store(&next, 0);
	atomic_store(&passed, 0);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(
		    pthread_create(&threads[i], NULL, ask_often, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	int more =
	    (int)((clock_mono_ms() - began_ms) * LIMIT / 60000) + 1 + spent;
	cr_expect_eq(atomic_load(&wrong), 0, "%s", when);
	cr_expect_geq(passed, LIMIT - spent, "%s: %d", when, passed);
	cr_expect_leq(
	    passed, LIMIT - spent + more, "%s: %d, %d", when, passed, more);
}

Test(rates_hosts, n26_of_a_thousand_at_once_exactly_the_limit_passes)
{
	open_hosts((const char *const[3]){"CHAT_API_RATE_PER_MINUTE=100"});
	REDIS("FLUSHALL");
	expect_exactly(0, "with Redis");
	server_stop(&stores.redis, SIGKILL);
	expect_exactly(0, "without Redis");
}

Test(rates_hosts, n26_nor_does_a_hung_redis_let_more_pass)
{
	open_hosts((const char *const[3]){
	    "CHAT_API_RATE_PER_MINUTE=100", "CHAT_REDIS_TIMEOUT=100"});
	server_freeze(&stores.redis);
	expect_exactly(1, "while Redis hangs");
	server_thaw(&stores.redis);
}

/* ---- turns ---- */

static long
post(const char *conversation, const char *json, struct answer *a)
{
	static atomic_int turn;
	char path[128];
	const struct ask ask = {.method = "POST",
	    .base = hosts[atomic_fetch_add(&turn, 1) % HOSTS].base,
	    .path = path,
	    .token = me.token,
	    .json = json};
	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    conversation);
	http_ask(&ask, a);
	return a->status;
}

static long
say(const char *conversation)
{
	struct answer a;
	long status = post(conversation, "{\"content\":\"hello\"}", &a);
	answer_clear(&a);
	return status;
}

Test(rates_hosts, a_turn_that_was_not_begun_is_not_charged)
{
	struct answer a;
	open_hosts((const char *const[3]){"CHAT_RATE_LIMIT_PER_MINUTE=2",
	    "CHAT_RATE_LIMIT_PER_DAY=2", "CHAT_API_RATE_PER_MINUTE=1"});
	for (int i = 0; i < 5; i++) {
		cr_expect_eq(post(me.conversation, "{\"content\":7}", &a), 422);
		answer_clear(&a);
	}
	cr_expect_eq(say("no-such-thing"), 404);
	cr_expect_eq(say(me.conversation), 201);
	cr_expect_eq(say(me.conversation), 201);
	cr_expect_eq(post(me.conversation, "{\"content\":\"x\"}", &a), 429);
	cr_expect_null(refusal_of(&a), "%s", refusal_of(&a));
	answer_clear(&a);
}

Test(rates_hosts, the_days_turns_are_counted_and_rebuilt)
{
	char n[16], key[96], date[16];
	time_t now = time(NULL);
	open_hosts((const char *const[3]){"CHAT_RATE_LIMIT_PER_DAY=4"});
	for (int i = 0; i < 3; i++)
		cr_expect_eq(say(me.conversation), 201);
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&now));
	snprintf(key, sizeof(key), "rate:{%s}:day:%s", me.user_id, date);
	cr_expect_str_eq(REDIS("GET", key), "3");
	REDIS("FLUSHALL");
	cr_expect_eq(say(me.conversation), 201, "the fourth");
	cr_expect_eq(say(me.conversation), 429);
	REDIS("FLUSHALL");
	cr_expect_eq(say(me.conversation), 429, "rebuilt");
	server_stop(&stores.redis, SIGKILL);
	for (int i = 0; i < 8; i++)
		cr_expect_eq(say(me.conversation), 429, "by Postgres");
	db_value("SELECT count(*) FROM chat.messages WHERE role = 'assistant'",
	    NULL, n, sizeof(n));
	cr_expect_str_eq(n, "4");
}

/* A conversation in a new store with a limit of two turns a minute. */
static void
converse_in_store(char out_id[40])
{
	char store[40], json[128];
	struct answer a;
	struct ask ask = {.method = "POST",
	    .base = hosts[0].base,
	    .path = "/api/v1/conversations",
	    .token = me.token,
	    .json = json};
	db_value("INSERT INTO chat.stores (id, slug, name) VALUES"
		 " (gen_random_uuid(), 'shop', 'Shop') RETURNING id",
	    NULL, store, sizeof(store));
	db_value("INSERT INTO chat.store_members (store_id, user_id)"
		 " SELECT s.id, u.id FROM chat.stores s, auth.users u"
		 " WHERE s.id = $1::uuid",
	    store, json, sizeof(json));
	db_value("INSERT INTO auth.limits (id, store_id, name, value)"
		 " SELECT gen_random_uuid(), s.id, 'turns_per_minute', 2"
		 " FROM chat.stores s WHERE s.id = $1::uuid",
	    store, json, sizeof(json));
	snprintf(json, sizeof(json), "{\"store_id\":\"%s\"}", store);
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

Test(rates_hosts, a_stores_limit_is_a_bucket_of_its_own)
{
	char in_store[40];
	open_hosts((const char *const[3]){"CHAT_RATE_LIMIT_PER_MINUTE=3"});
	converse_in_store(in_store);
	for (int i = 0; i < 2; i++)
		cr_expect_eq(say(in_store), 201);
	cr_expect_eq(say(in_store), 429);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(say(me.conversation), 201, "%d", i);
	cr_expect_eq(say(me.conversation), 429);
	server_stop(&stores.redis, SIGKILL);
	for (int i = 0; i < 2; i++)
		cr_expect_eq(say(in_store), 201, "by Postgres");
	cr_expect_eq(say(in_store), 429, "by Postgres");
	cr_expect_eq(say(me.conversation), 201, "by Postgres");
}
