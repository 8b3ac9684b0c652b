/*
 * Request limits as one worker holds them: the policies of a route, the stores
 * that charge them, what is given back; with a Redis of the test's own, which
 * it breaks as it likes.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/auth_world.h"
#include "../support/servers.h"
#include "auth/session_watch.h"
#include "base/clock.h"
#include "limit/lua.h"
#include "store/pg.h"
#include "store/redis.h"

static struct server server;
static struct caller c;
static struct session_doubt doubt;
static struct signed_in s;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_rates_test"))
		exit(1);
}

/* Settings that a test does not speak of are none. */
static void
setup(void)
{
	static const char *const options[] = {"--enable-debug-command", "yes",
	    "--loading-process-events-interval-bytes", "1024", NULL};
	cr_assert(server_start_redis(&server, options));
	caller_open(&c, server.url);
	c.config.workers = 2;
	doubt = (struct session_doubt){0};
	c.services.doubt = &doubt;
	caller_register(&c, &s);
	/* An address of its own, or the tests would share its bucket. */
	static char ip[32];
	(void)snprintf(
	    ip, sizeof ip, "10.%d.%d.1", getpid() >> 8 & 255, getpid() & 255);
	c.ip = ip;
}

static void
teardown(void)
{
	caller_close(&c);
	server_remove(&server);
}

TestSuite(rates, .init = setup, .fini = teardown, .timeout = 300);

static int
me(void)
{
	return caller_call(&c, "GET", "/me", s.access, NULL);
}

/* Runs a Redis command beside the code under test; its text, if any. */
static const char *
redis(const char *fmt, ...)
{
	static char text[512];
	redisContext *r = redisConnectUnix(server.url + strlen("unix://"));
	va_list ap;
	va_start(ap, fmt);
	redisReply *reply = redisvCommand(r, fmt, ap);
	va_end(ap);
	cr_assert_not_null(reply);
	cr_assert_neq(reply->type, REDIS_REPLY_ERROR, "%s", reply->str);
	(void)snprintf(text, sizeof text, "%s", reply->str ? reply->str : "");
	freeReplyObject(reply);
	redisFree(r);
	return text;
}

/* How many of `n` calls pass; all others are 429 as they should be. */
static int
pass(int n)
{
	int passed = 0;
	for (int i = 0; i < n; i++) {
		int status = me();
		if (status == 200) {
			passed++;
			continue;
		}
		cr_assert_eq(
		    status, 429, "%d %s", status, c.req.why ? c.req.why : "");
		cr_expect_str_eq(caller_code(&c), "rate_limited");
		cr_expect_geq(atoi(caller_header(&c, "Retry-After")), 1);
	}
	return passed;
}

static const struct limit_line *
line(const char *name)
{
	for (size_t i = 0; i < c.req.limits.n; i++)
		if (strcmp(c.req.limits.lines[i].name, name) == 0)
			return &c.req.limits.lines[i];
	return NULL;
}

/* What refilled since `began_ms` at `limit` a minute. */
static int
refilled(int limit, uint64_t began_ms)
{
	return (int)((clock_mono_ms() - began_ms) * (uint64_t)limit / 60000) +
	       1;
}

static void
expect_exact(int limit, int tries)
{
	uint64_t began_ms = clock_mono_ms();
	int n = pass(tries);
	cr_expect_geq(n, limit);
	cr_expect_leq(
	    n, limit + refilled(limit, began_ms), "%d of %d", n, limit);
}

/* ---- Redis is there ---- */

Test(rates, a_limit_lets_exactly_its_number_pass_and_says_what_is_left)
{
	c.config.api_rate_per_minute = 5;
	c.config.address_rate_per_minute = 100;
	cr_assert_eq(me(), 200);
	const struct limit_line *api = line("api_per_minute");
	cr_assert_not_null(api);
	cr_expect_eq(api->limit, 5);
	cr_expect_eq(api->remaining, 4);
	cr_expect_eq(api->window_s, 60);
	cr_expect_eq(api->reset_s, 12);
	cr_expect_eq(line("address")->remaining, 99);
	cr_expect_null(line("address_per_minute"), "0 is no limit");
	expect_exact(4, 8);
	cr_assert_eq(me(), 429);
	api = line("api_per_minute");
	cr_expect(api->is_violated);
	cr_expect_eq(api->remaining, 0);
	cr_expect_geq(c.req.retry_after_s, api->retry_s);
	cr_expect_geq(atoi(caller_header(&c, "Retry-After")), api->retry_s);
	cr_expect_not(line("address")->is_violated);
	cr_expect_not_null(strstr(c.req.why, "api_per_minute of 5"));
}

Test(rates, all_or_nothing_a_refused_request_is_charged_nowhere)
{
	c.config.api_rate_per_minute = 2;
	c.config.address_rate_per_minute = 100;
	expect_exact(2, 10);
	(void)me();
	cr_expect_geq(line("address")->remaining, 97);
}

Test(rates, a_warm_request_is_one_round_trip_with_and_without_limits)
{
	for (int on = 0; on < 2; on++) {
		c.config.api_rate_per_minute = on ? 1000 : 0;
		cr_assert_eq(me(), 200);
		/* /me itself asks Postgres once. */
		uint64_t pg = pg_round_trips(c.services.pg);
		uint64_t trips = redis_round_trips(c.services.redis);
		cr_assert_eq(me(), 200);
		cr_expect_eq(redis_round_trips(c.services.redis) - trips, 1);
		cr_expect_eq(pg_round_trips(c.services.pg) - pg, 1);
	}
}

Test(rates, whoever_asks_for_a_page_is_not_charged)
{
	c.config.api_rate_per_minute = 1;
	c.config.address_rate_per_minute = 1;
	for (int i = 0; i < 5; i++)
		cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(rates, every_address_of_an_ipv6_customer_is_one)
{
	char ip[64];
	c.config.address_rate_per_minute = 20;
	int passed = 0;
	uint64_t began_ms = clock_mono_ms();
	for (int i = 0; i < 100; i++) {
		(void)snprintf(
		    ip, sizeof ip, "2001:db8:0:7:%x:%x::1", i, i * 7);
		c.ip = ip;
		passed += me() == 200;
	}
	cr_expect_geq(passed, 20);
	cr_expect_leq(passed, 20 + refilled(20, began_ms));
	c.ip = "2001:db8:0:8::1";
	cr_expect_eq(me(), 200, "another customer");
}

Test(rates, n27_a_mapped_address_is_the_address)
{
	c.config.user_address_rate_per_minute = 10;
	int passed = 0;
	uint64_t began_ms = clock_mono_ms();
	for (int i = 0; i < 20; i++) {
		c.ip = i % 2 ? "::ffff:1.2.3.4" : "1.2.3.4";
		passed += me() == 200;
	}
	cr_expect_geq(passed, 10);
	cr_expect_leq(passed, 10 + refilled(10, began_ms));
	c.ip = "1.2.3.5";
	cr_expect_eq(me(), 200, "another address of the same user");
}

Test(rates, an_override_holds_when_what_redis_remembers_runs_out)
{
	c.config.api_rate_per_minute = 3;
	expect_exact(3, 6);
	auth_sql("INSERT INTO auth.limits (id, user_id, name, value) VALUES"
		 " (gen_random_uuid(), '%s', 'api_per_minute', 50)",
	    s.user_id);
	uint64_t until = clock_mono_ms() + 16000;
	while (me() != 200 || line("api_per_minute")->limit != 50) {
		cr_assert_lt(clock_mono_ms(), until, "within 15 s");
		usleep(200000);
	}
	auth_sql(
	    "UPDATE auth.limits SET value = 0 WHERE user_id = '%s'", s.user_id);
	redis("DEL limits:{%s}", s.user_id);
	cr_expect_eq(me(), 200);
	cr_expect_null(line("api_per_minute"), "0 is no limit");
}

Test(rates, an_api_key_pays_as_its_owner)
{
	char key[80];
	cr_assert_eq(
	    caller_call(&c, "POST", "/auth/keys", s.access, "{\"name\":\"x\"}"),
	    201);
	(void)snprintf(key, sizeof key, "%s", caller_text(&c, "key"));
	c.config.api_rate_per_minute = 4;
	expect_exact(4, 4);
	cr_expect_eq(caller_call(&c, "GET", "/me", key, NULL), 429);
	redis("FLUSHALL");
	for (int i = 0; i < 4; i++)
		cr_expect_eq(caller_call(&c, "GET", "/me", key, NULL), 200);
	cr_expect_eq(caller_call(&c, "GET", "/me", key, NULL), 429);
	cr_expect_eq(me(), 429);
}

Test(rates, an_outage_gives_its_charge_back_and_a_conflict_all_but_the_address)
{
	char body[256];
	c.config.address_rate_per_minute = 3;
	(void)snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD "\"}", s.username);
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	for (int i = 0; i < 6; i++)
		cr_expect_eq(
		    caller_call(&c, "POST", "/auth/register", NULL, body), 503);
	caller_use_postgres(&c, c.app_url);
	/* Names are not tried for nothing: an address is charged for them. */
	for (int i = 0; i < 3; i++)
		cr_expect_eq(
		    caller_call(&c, "POST", "/auth/register", NULL, body), 409);
	cr_expect_eq(
	    caller_call(&c, "POST", "/auth/register", NULL, body), 429);
}

Test(rates, who_makes_up_api_keys_is_charged_by_address)
{
	const char *key =
	    "nk_"
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	c.config.address_rate_per_minute = 5;
	for (int i = 0; i < 5; i++)
		cr_expect_eq(caller_call(&c, "GET", "/me", key, NULL), 401);
	cr_expect_eq(caller_call(&c, "GET", "/me", key, NULL), 429);
	cr_expect_gt(c.req.retry_after_s, 0);
}

Test(rates, a_forgotten_script_is_no_error)
{
	c.config.api_rate_per_minute = 10;
	cr_assert_eq(me(), 200);
	redis("SCRIPT FLUSH");
	cr_assert_eq(me(), 200);
	cr_expect_eq(line("api_per_minute")->remaining, 8);
}

Test(rates, after_the_clock_was_set_back_nobody_waits_for_years)
{
	c.config.api_rate_per_minute = 5;
	cr_assert_eq(me(), 200);
	redis("SET rate:{%s}:api 9000000000000000", s.user_id);
	cr_assert_eq(me(), 429);
	cr_expect_leq(line("api_per_minute")->reset_s, 60);
	cr_expect_leq(c.req.retry_after_s, 13);
}

/* ---- refreshes ---- */

Test(rates, a_session_refreshes_sixty_times_at_once_and_then_slowly)
{
	c.config.refresh_rate_per_minute = 10;
	int passed = 0, status = 0;
	uint64_t began_ms = clock_mono_ms();
	for (int i = 0; i < 70; i++) {
		status = caller_refresh(&c, s.refresh, &s);
		passed += status == 200;
	}
	cr_expect_geq(passed, 60);
	cr_expect_leq(passed, 60 + refilled(10, began_ms));
	cr_expect_eq(status, 429);
	cr_expect(line("refresh")->is_violated);
	struct signed_in other = s;
	caller_login(&c, &other);
	cr_expect_eq(
	    caller_refresh(&c, other.refresh, &other), 200, "another session");
}

Test(rates, failed_refreshes_are_charged_to_their_address_good_ones_are_not)
{
	struct signed_in none;
	c.config.refresh_failures_per_minute = 5;
	for (int i = 0; i < 8; i++)
		cr_expect_eq(caller_refresh(&c, s.refresh, &s), 200);
	for (int i = 0; i < 5; i++)
		cr_expect_eq(caller_refresh(&c, "nonsense", &none), 401);
	cr_expect_eq(caller_refresh(&c, "nonsense", &none), 429);
	cr_expect(line("refresh_failures")->is_violated);
	c.ip = "192.0.2.99";
	cr_expect_eq(caller_refresh(&c, s.refresh, &s), 200, "elsewhere");
}

/* ---- Redis is away ---- */

static void
freeze(void)
{
	caller_use_redis_for(&c, server.url, 200);
	cr_assert_eq(me(), 200, "connected");
	kill(server.pid, SIGSTOP);
}

static void
thaw(void)
{
	kill(server.pid, SIGCONT);
	caller_use_redis(&c, server.url);
}

static void
die(void)
{
	server_stop(&server, SIGKILL);
}

static void
live(void)
{
	cr_assert(server_start_again(&server));
}

static void
become_replica(void)
{
	redis("REPLICAOF 127.0.0.1 1");
}

static void
become_master(void)
{
	redis("REPLICAOF NO ONE");
}

static void
fill_up(void)
{
	redis("CONFIG SET maxmemory 1");
}

static void
make_room(void)
{
	redis("CONFIG SET maxmemory 0");
}

static void
load_long(void)
{
	redis("DEBUG POPULATE 30000");
	redis("SAVE");
	server.options = (const char *const[]){"--key-load-delay", "700",
	    "--loading-process-events-interval-bytes", "1024", NULL};
	server_stop(&server, SIGKILL);
	cr_assert(server_start_again(&server));
}

static const struct {
	const char *what;
	void (*breaks)(void);
	void (*mends)(void);
} outages[] = {
    {"dead", die, live},
    {"stopped", freeze, thaw},
    {"read-only", become_replica, become_master},
    {"full", fill_up, make_room},
    {"loading", load_long, NULL},
};

Test(rates, n22_while_redis_is_away_postgres_counts_as_exactly)
{
	for (size_t i = 0; i < sizeof outages / sizeof *outages; i++) {
		struct signed_in other;
		caller_register(&c, &other);
		caller_register(&c, &s);
		c.config.api_rate_per_minute = 0;
		cr_assert_eq(me(), 200);
		outages[i].breaks();
		c.config.api_rate_per_minute = 30;
		cr_assert_eq(me(), 200, "%s", outages[i].what);
		expect_exact(29, 60);
		cr_expect_not_null(
		    line("api_per_minute"), "%s", outages[i].what);
		/* Nobody else pays for it. */
		struct signed_in spent = s;
		s = other;
		cr_expect_eq(me(), 200, "%s", outages[i].what);
		s = spent;
		if (!outages[i].mends)
			break;
		/* Back in Redis, which may let one more burst pass. */
		outages[i].mends();
		uint64_t until = clock_mono_ms() + 10000;
		char key[64];
		(void)snprintf(key, sizeof key, "rate:{%s}:api", s.user_id);
		do {
			(void)me();
			cr_assert_lt(clock_mono_ms(), until, "%s: not back",
			    outages[i].what);
		} while (*redis("GET %s", key) == '\0');
	}
}

Test(rates, while_redis_is_away_a_session_is_charged_in_one_trip)
{
	c.config.api_rate_per_minute = 100;
	die();
	uint64_t began_ms = clock_mono_ms();
	for (int i = 0; i < 4; i++)
		cr_assert_eq(me(), 200);
	uint64_t pg = pg_round_trips(c.services.pg);
	cr_assert_eq(me(), 200);
	cr_expect_eq(pg_round_trips(c.services.pg) - pg, 2, "with /me's own");
	int left = (int)line("api_per_minute")->remaining;
	cr_expect_geq(left, 95);
	cr_expect_leq(left, 94 + refilled(100, began_ms), "%d", left);
	live();
}

Test(rates, while_redis_is_away_an_ended_session_is_charged_nothing)
{
	c.config.api_rate_per_minute = 5;
	die();
	auth_sql("UPDATE auth.sessions SET revoked_at = now() WHERE id = '%s'",
	    s.session_id);
	for (int i = 0; i < 10; i++)
		cr_expect_eq(me(), 401);
	caller_login(&c, &s);
	cr_expect_eq(me(), 200);
	cr_expect_eq(line("api_per_minute")->remaining, 4);
	live();
}

Test(rates, while_redis_is_away_overrides_and_give_backs_hold_too)
{
	char body[256];
	(void)snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD "\"}", s.username);
	auth_sql("INSERT INTO auth.limits (id, user_id, name, value) VALUES"
		 " (gen_random_uuid(), '%s', 'api_per_minute', 3)",
	    s.user_id);
	c.config.address_rate_per_minute = 6;
	die();
	for (int i = 0; i < 2; i++)
		cr_expect_eq(
		    caller_call(&c, "POST", "/auth/register", NULL, body), 409);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(me(), 200);
	cr_expect_eq(line("api_per_minute")->limit, 3);
	cr_expect_eq(line("address")->limit, 6);
	cr_expect_eq(me(), 429);
	cr_expect_geq(line("address")->remaining, 1);
	live();
}

Test(rates, n24_without_postgres_reads_keep_a_share_and_writes_wait)
{
	c.config.workers = 2;
	c.config.api_rate_per_minute = 10;
	cr_assert_eq(me(), 200);
	redis("DEL limits:{%s}", s.user_id);
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	int refused = 0, let_in = 0;
	for (int i = 0; i < 12; i++) {
		int status = me(); /* which Postgres is to answer */
		refused += status == 429;
		let_in += status == 503;
	}
	cr_expect_geq(let_in, 5);
	cr_expect_leq(let_in, 7);
	cr_expect_eq(refused, 12 - let_in);
	cr_expect_eq(line("api_per_minute")->limit, 5);
	cr_expect_eq(
	    caller_call(&c, "POST", "/auth/keys", s.access, "{\"name\":\"x\"}"),
	    503);
	cr_expect_not_null(caller_header(&c, "Retry-After"));
}

/* ---- the two stores and a model of them ---- */

#define BUCKETS 3
#define DAYS_US "86400000000000" /* nothing refills while a test runs */

static struct redis_script charge_script = {.text = limit_charge_lua};
static struct redis_script back_script = {.text = limit_give_back_lua};

struct model {
	long limit[BUCKETS], used[BUCKETS];
};

/* One charge of buckets 0..n-1 in the model: does it pass? */
static bool
model_charge(struct model *m, int n)
{
	for (int i = 0; i < n; i++)
		if (m->limit[i] > 0 && m->used[i] >= m->limit[i])
			return false;
	for (int i = 0; i < n; i++)
		m->used[i]++;
	return true;
}

static bool
redis_charge(struct redis *r, const struct model *m, int n)
{
	char keys[BUCKETS][16], limits[BUCKETS][16];
	const char *words[64] = {"", "", "", ""};
	const char *fixed[] = {"0", "", "", "0", "", "0", ""};
	AUTO_REPLY redisReply *reply = NULL;
	int at = 4;
	for (int i = 0; i < n; i++) {
		(void)snprintf(keys[i], sizeof keys[i], "bucket%d", i);
		words[at++] = keys[i];
	}
	for (int i = 0; i < 7; i++)
		words[at++] = fixed[i];
	for (int i = 0; i < n; i++) {
		(void)snprintf(limits[i], sizeof limits[i], "%ld", m->limit[i]);
		words[at++] = "0";
		words[at++] = limits[i];
		words[at++] = DAYS_US;
		words[at++] = "0";
	}
	cr_assert_eq(
	    redis_script_run(r, &charge_script, 4 + n, at, words, &reply), OK,
	    "%s", redis_why(r));
	for (int i = 0; i < n && reply->element[0]->integer == 2; i++)
		if (m->limit[i] > 0)
			cr_expect_eq(reply->element[4 + 5 * i + 1]->integer,
			    m->limit[i] - m->used[i]);
	return reply->element[0]->integer == 2;
}

static bool
sql_charge(const struct model *m, int n)
{
	return auth_number(
		   "SELECT bool_and(is_charged)::int FROM "
		   "auth.rate_charge(true,"
		   " NULL, NULL, (ARRAY['bucket0','bucket1','bucket2'])[1:%d],"
		   " (ARRAY[0,0,0])[1:%d], "
		   "(ARRAY[%ld,%ld,%ld]::bigint[])[1:%d],"
		   " (ARRAY[" DAYS_US "," DAYS_US "," DAYS_US
		   "]::bigint[])[1:%d],"
		   " (ARRAY[0,0,0]::bigint[])[1:%d])",
		   n, n, m->limit[0], m->limit[1], m->limit[2], n, n, n) == 1;
}

static void
give_back(struct redis *r, struct model *m, int i)
{
	char key[16], step[32];
	const char *words[] = {key, step};
	AUTO_REPLY redisReply *reply = NULL;
	if (m->used[i] == 0 || m->limit[i] == 0)
		return;
	m->used[i]--;
	(void)snprintf(key, sizeof key, "bucket%d", i);
	long long days = atoll(DAYS_US);
	(void)snprintf(
	    step, sizeof step, "%lld", (days + m->limit[i] - 1) / m->limit[i]);
	cr_assert_eq(redis_script_run(r, &back_script, 1, 2, words, &reply), OK,
	    "%s", redis_why(r));
	auth_sql("SELECT auth.rate_give_back('{%s}', '{%s}')", key, step);
}

Test(rates, both_stores_do_what_a_small_model_does)
{
	struct redis *r = redis_new(server.url, 1000);
	unsigned seed = 20261122;
	for (int round = 0; round < 12; round++) {
		struct model m = {0};
		redis("FLUSHALL");
		auth_sql("DELETE FROM auth.rate_buckets"
			 " WHERE key LIKE 'bucket_'");
		for (int i = 0; i < BUCKETS; i++)
			m.limit[i] = rand_r(&seed) % 7;
		for (int k = 0; k < 40; k++) {
			int n = 1 + rand_r(&seed) % BUCKETS;
			if (rand_r(&seed) % 4 == 0) {
				give_back(r, &m, n - 1);
				continue;
			}
			bool passes = model_charge(&m, n);
			cr_assert_eq(redis_charge(r, &m, n), passes,
			    "Redis, round %d step %d", round, k);
			cr_assert_eq(sql_charge(&m, n), passes,
			    "Postgres, round %d step %d", round, k);
		}
	}
	redis_free(r);
}
