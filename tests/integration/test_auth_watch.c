/*
 * Ended sessions against a Redis that was away, hung, forgot, or went back in
 * time: a private one, controlled by signals. `c` is a worker that does what a
 * test is about, `idle` one that noticed nothing of it.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "../support/auth_world.h"
#include "../support/servers.h"
#include "auth/api_key.h"
#include "auth/session_watch.h"
#include "base/arena.h"
#include "base/clock.h"
#include "store/pg.h"
#include "store/redis.h"

static struct server server;
static struct caller c, idle;
static struct session_doubt c_doubt, idle_doubt;
static struct arena *arena;
static struct signed_in s;
static char s_jti[ID_TEXT];
static char lock[] = "/tmp/natter-watch-XXXXXX";

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	int fd = mkstemp(lock);
	if (fd < 0 || setenv("WATCH_LOCK", lock, 1) != 0 ||
	    !auth_world_provide("natter_watch_test"))
		exit(1);
	close(fd);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	unlink(lock);
}

/*
 * One test at a time: each has a Redis of its own, but what one's worker finds
 * in Postgres and marks as told would be another's.
 */
static void
take_turn(void)
{
	int fd = open(getenv("WATCH_LOCK"), O_RDWR | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(flock(fd, LOCK_EX), 0); /* until the process ends */
}

static enum err
watch(struct caller *who)
{
	const struct session_watch w = {
	    .pg = who->services.pg,
	    .redis = who->services.redis,
	    .arena = arena,
	    .doubt = who->services.doubt,
	    .access_ttl_s = who->config.access_ttl_s,
	};
	arena_reset(arena, 1 << 20);
	return session_watch_bury(&w);
}

static void
open_worker(struct caller *who, struct session_doubt *doubt)
{
	caller_open(who, server.url);
	*doubt = (struct session_doubt){0};
	who->services.doubt = doubt;
	redis_count_troubles(who->services.redis, &doubt->troubles);
	cr_assert_eq(watch(who), OK);
	cr_assert_not(session_is_doubted(doubt));
}

/* c's worker waits 200 ms for Redis. */
static void
hurry(void)
{
	caller_use_redis_for(&c, server.url, 200);
	redis_count_troubles(c.services.redis, &c_doubt.troubles);
	cr_assert_eq(watch(&c), OK);
	cr_assert_not(session_is_doubted(&c_doubt));
}

static void
setup(void)
{
	take_turn();
	cr_assert(server_start_redis(&server, NULL));
	arena = arena_new(1 << 20);
	open_worker(&c, &c_doubt);
	open_worker(&idle, &idle_doubt);
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204, "warm");
	memcpy(s_jti, c.req.who.jti, sizeof s_jti);
}

static void
teardown(void)
{
	caller_close(&c);
	caller_close(&idle);
	arena_free(arena);
	server_remove(&server);
}

TestSuite(watch, .init = setup, .fini = teardown, .timeout = 300);

/* Runs one Redis command beside the code under test; its number. */
static long long
redis(const char *command)
{
	redisContext *r = redisConnectUnix(server.url + strlen("unix://"));
	redisReply *reply = redisCommand(r, command);
	cr_assert_not_null(reply, "%s", command);
	cr_assert_neq(reply->type, REDIS_REPLY_ERROR, "%s", reply->str);
	long long n = reply->integer;
	freeReplyObject(reply);
	redisFree(r);
	return n;
}

/* Does Redis hold an entry that allows s? Tombstones are short. */
static bool
allows(void)
{
	char command[128];
	snprintf(
	    command, sizeof command, "STRLEN sess:{%s}:%s", s.user_id, s_jti);
	return redis(command) > 1;
}

static void
expect_revoked(struct caller *who, const char *token)
{
	cr_expect_eq(caller_verify(who, token), 401);
	cr_expect_str_eq(caller_code(who), "session_revoked");
}

/* Ends the session as natterctl does, or a worker that died just after. */
static void
end_untold(const char *session_id)
{
	auth_sql("SELECT auth.session_revoke('%s', '%s', 'this', 'x')",
	    s.user_id, session_id);
}

static int
leave(void)
{
	return caller_call(&c, "POST", "/auth/logout", s.access, NULL);
}

/* Until the breaker is closed again, and Redis answers. */
static void
wait_for_redis(struct caller *who)
{
	uint64_t until = clock_mono_ms() + 5000;
	while (watch(who) != OK)
		cr_assert_lt(clock_mono_ms(), until);
}

Test(watch, a_quiet_second_costs_one_trip_to_each_store)
{
	uint64_t pg = pg_round_trips(c.services.pg);
	uint64_t trips = redis_round_trips(c.services.redis);
	cr_assert_eq(watch(&c), OK);
	cr_expect_eq(pg_round_trips(c.services.pg) - pg, 1);
	cr_expect_eq(redis_round_trips(c.services.redis) - trips, 1);
}

Test(watch, an_ending_that_nobody_told_reaches_redis)
{
	end_untold(s.session_id);
	cr_expect_eq(caller_verify(&idle, s.access), 204, "not told yet");
	cr_assert_eq(watch(&c), OK);
	uint64_t pg = pg_round_trips(idle.services.pg);
	expect_revoked(&idle, s.access);
	expect_revoked(&c, s.access);
	cr_expect_eq(pg_round_trips(idle.services.pg), pg);
}

Test(watch, an_ending_is_told_once_more_and_then_not_again)
{
	cr_assert_eq(leave(), 204);
	uint64_t trips = redis_round_trips(c.services.redis);
	cr_assert_eq(watch(&c), OK);
	cr_expect_eq(redis_round_trips(c.services.redis) - trips, 2);
	cr_assert_eq(watch(&c), OK);
	cr_assert_eq(watch(&idle), OK);
	cr_expect_eq(redis_round_trips(c.services.redis) - trips, 3);
}

Test(watch, a_disabled_user_and_a_moved_epoch_are_told_too)
{
	struct signed_in other;
	caller_register(&c, &other);
	cr_assert_eq(caller_verify(&c, other.access), 204);
	auth_sql("SELECT * FROM auth.user_admin_set_disabled('%s', true)",
	    s.username);
	auth_sql("SELECT auth.session_revoke('%s', '%s', 'all', 'x')",
	    other.user_id, other.session_id);
	cr_assert_eq(watch(&c), OK);
	expect_revoked(&idle, s.access);
	expect_revoked(&idle, other.access);
}

Test(watch, more_endings_than_fit_into_one_look_keep_the_doubt)
{
	auth_sql("INSERT INTO auth.sessions (id, user_id, rt_secret,"
		 " expires_at, idle_expires_at, revoked_at)"
		 " SELECT gen_random_uuid(), '%s', sha256(n::text::bytea),"
		 " now() + '1 h', now() + '1 h', now() - '1 s'::interval"
		 " FROM generate_series(1, 1001) n",
	    s.user_id);
	atomic_fetch_add(&c_doubt.troubles, 1);
	cr_assert_eq(watch(&c), OK);
	cr_expect(session_is_doubted(&c_doubt));
	cr_expect_eq(caller_verify(&c, s.access), 204);
	auth_sql(
	    "UPDATE auth.sessions SET revoked_at = now() - '3 min'::interval"
	    " WHERE revoked_at IS NOT NULL");
	cr_assert_eq(watch(&c), OK);
	cr_expect_not(session_is_doubted(&c_doubt));
}

/* ---- Redis misbehaves ---- */

/*
 * The breaker is open when the user leaves, so that not even the socket of the
 * hung Redis holds the ending.
 */
Test(watch, n22_who_left_while_redis_hung_stays_out_when_it_wakes)
{
	hurry();
	kill(server.pid, SIGSTOP);
	for (int i = 0; i < 4; i++)
		cr_expect_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(leave(), 204);
	kill(server.pid, SIGCONT);
	/* This worker saw it, and believes no entry: before any watch. */
	uint64_t until = clock_mono_ms() + 3000;
	while (clock_mono_ms() < until)
		expect_revoked(&c, s.access);
	/* The others are told by whoever looks first. */
	wait_for_redis(&c);
	expect_revoked(&idle, s.access);
	cr_expect_not(session_is_doubted(&c_doubt));
}

Test(watch, n22_who_left_while_redis_was_dead_stays_out_when_it_is_back)
{
	struct signed_in live = s;
	caller_login(&c, &live);
	cr_assert_eq(caller_verify(&c, live.access), 204);
	redis("SAVE");
	server_stop(&server, SIGKILL);
	cr_expect_eq(leave(), 204);
	expect_revoked(&c, s.access);
	cr_expect_eq(caller_verify(&c, live.access), 204);
	cr_assert(server_start_again(&server)); /* from the old snapshot */
	cr_assert(allows(), "the snapshot has the entry that allows");
	for (int i = 0; i < 20; i++) {
		expect_revoked(&c, s.access);
		expect_revoked(&idle, s.access);
		cr_expect_eq(caller_verify(&idle, live.access), 204);
	}
	wait_for_redis(&idle);
	uint64_t pg = pg_round_trips(idle.services.pg);
	expect_revoked(&idle, s.access);
	cr_expect_eq(caller_verify(&idle, live.access), 204);
	cr_expect_eq(pg_round_trips(idle.services.pg), pg, "by Redis alone");
}

/* It was told, then forgot: a snapshot from before. */
Test(watch, n23_a_redis_that_goes_back_in_time_admits_nobody)
{
	redis("SAVE");
	cr_expect_eq(leave(), 204);
	cr_assert_eq(watch(&c), OK, "told and marked as told");
	expect_revoked(&idle, s.access);
	server_stop(&server, SIGKILL);
	cr_assert(server_start_again(&server));
	cr_assert(allows(), "the snapshot has the entry that allows");
	for (int i = 0; i < 20; i++)
		expect_revoked(&idle, s.access);
	wait_for_redis(&idle);
	cr_expect_not(allows(), "it was told again");
	cr_expect_not(session_is_doubted(&idle_doubt));
	expect_revoked(&idle, s.access);
}

Test(watch, n23_flushing_at_any_moment_admits_nobody)
{
	struct signed_in live = s;
	caller_login(&c, &live);
	for (int i = 0; i < 6; i++) {
		cr_assert_eq(caller_verify(&idle, s.access), 204);
		cr_assert_eq(caller_verify(&idle, live.access), 204);
		if (i % 2)
			redis("FLUSHALL");
		cr_expect_eq(leave(), 204);
		if (i % 3 == 0)
			redis("FLUSHALL");
		expect_revoked(&c, s.access);
		if (i % 3 == 1)
			redis("FLUSHALL");
		cr_assert_eq(watch(&c), OK);
		redis("SCRIPT FLUSH");
		expect_revoked(&idle, s.access);
		cr_expect_eq(caller_verify(&idle, live.access), 204);
		caller_login(&c, &s);
	}
}

/* Every policy, so little memory that something always goes. */
Test(watch, n23_a_full_redis_admits_nobody_and_turns_nobody_away)
{
	static const char *const policies[] = {"noeviction", "allkeys-lru",
	    "allkeys-random", "volatile-ttl", "volatile-lru"};
	char command[96];
	for (size_t i = 0; i < 5; i++) {
		struct signed_in live = s;
		caller_login(&c, &live);
		cr_assert_eq(caller_verify(&c, s.access), 204);
		cr_assert_eq(caller_verify(&idle, live.access), 204);
		snprintf(command, sizeof command,
		    "CONFIG SET maxmemory-policy %s", policies[i]);
		redis(command);
		redis("CONFIG SET maxmemory 1");
		cr_expect_eq(leave(), 204);
		for (int k = 0; k < 5; k++) {
			expect_revoked(&idle, s.access);
			cr_expect_eq(caller_verify(&idle, live.access), 204);
		}
		redis("CONFIG SET maxmemory 0");
		(void)watch(&c);
		expect_revoked(&idle, s.access);
		cr_expect_eq(caller_verify(&idle, live.access), 204);
		caller_login(&c, &s);
	}
}

Test(watch, n24_in_doubt_and_without_postgres_nobody_can_tell)
{
	atomic_fetch_add(&c_doubt.troubles, 1);
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	cr_expect_eq(caller_verify(&c, s.access), 503);
	cr_expect_not_null(caller_header(&c, "Retry-After"));
	cr_expect_eq(watch(&c), ERR_UNAVAILABLE);
	caller_use_postgres(&c, c.app_url);
	cr_expect_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(watch(&c), OK);
	cr_expect_not(session_is_doubted(&c_doubt));
}

Test(watch, n24_without_postgres_alone_a_warm_session_lives_on)
{
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	cr_expect_eq(watch(&c), ERR_UNAVAILABLE);
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(watch, n25_no_answer_ever_reaches_the_next_user)
{
	struct signed_in other;
	caller_register(&c, &other);
	cr_assert_eq(caller_verify(&c, other.access), 204);
	hurry();
	for (int i = 0; i < 5; i++) {
		const struct signed_in *first = i % 2 ? &s : &other;
		const struct signed_in *next = i % 2 ? &other : &s;
		kill(server.pid, SIGSTOP);
		cr_expect_eq(caller_verify(&c, first->access), 204);
		cr_expect_str_eq(
		    caller_header(&c, "X-Auth-User"), first->username);
		kill(server.pid, SIGCONT);
		cr_expect_eq(caller_verify(&c, next->access), 204);
		cr_expect_str_eq(
		    caller_header(&c, "X-Auth-User"), next->username);
		wait_for_redis(&c);
		cr_expect_eq(caller_verify(&c, first->access), 204);
		cr_expect_str_eq(
		    caller_header(&c, "X-Auth-User"), first->username);
	}
}

/* ---- API keys and users ---- */

struct made {
	char id[ID_TEXT];
	char key[API_KEY_TEXT];
};

/* A key of s that Redis allows. */
static void
make_key(struct made *out)
{
	cr_assert_eq(
	    caller_call(&c, "POST", "/auth/keys", s.access, "{\"name\":\"x\"}"),
	    201);
	snprintf(out->id, sizeof out->id, "%s", caller_text(&c, "id"));
	snprintf(out->key, sizeof out->key, "%s", caller_text(&c, "key"));
	cr_assert_eq(caller_call(&c, "GET", "/me", out->key, NULL), 200);
}

static int
use(struct caller *who, const char *key)
{
	return caller_call(who, "GET", "/me", key, NULL);
}

static void
expect_no_key(struct caller *who, const char *key)
{
	cr_expect_eq(use(who, key), 401);
	cr_expect_str_eq(caller_code(who), "key_invalid");
}

static int
end_key(const char *id)
{
	char path[128];
	snprintf(path, sizeof path, "/auth/keys/%s", id);
	return caller_call(&c, "DELETE", path, s.access, NULL);
}

Test(watch, a_revoked_key_that_nobody_told_of_reaches_redis)
{
	struct made m;
	make_key(&m);
	auth_sql("SELECT auth.api_key_revoke('%s', '%s')", s.user_id, m.id);
	cr_expect_eq(use(&idle, m.key), 200, "not told yet");
	cr_assert_eq(watch(&c), OK);
	uint64_t pg = pg_round_trips(idle.services.pg);
	expect_no_key(&idle, m.key);
	cr_expect_eq(pg_round_trips(idle.services.pg), pg);
	uint64_t trips = redis_round_trips(c.services.redis);
	cr_assert_eq(watch(&c), OK);
	cr_expect_eq(redis_round_trips(c.services.redis) - trips, 1, "once");
}

Test(watch, n22_a_key_revoked_while_redis_hung_stays_out_when_it_wakes)
{
	struct made m;
	make_key(&m);
	hurry();
	kill(server.pid, SIGSTOP);
	for (int i = 0; i < 4; i++)
		cr_expect_eq(use(&c, m.key), 200);
	cr_expect_eq(end_key(m.id), 204);
	kill(server.pid, SIGCONT);
	uint64_t until = clock_mono_ms() + 3000;
	while (clock_mono_ms() < until)
		expect_no_key(&c, m.key);
	wait_for_redis(&c);
	expect_no_key(&idle, m.key);
}

Test(watch, n22_a_key_revoked_while_redis_was_dead_stays_out)
{
	struct made m;
	make_key(&m);
	redis("SAVE");
	server_stop(&server, SIGKILL);
	cr_expect_eq(end_key(m.id), 204);
	expect_no_key(&c, m.key);
	cr_assert(server_start_again(&server)); /* from the old snapshot */
	for (int i = 0; i < 20; i++) {
		expect_no_key(&c, m.key);
		expect_no_key(&idle, m.key);
	}
	wait_for_redis(&idle);
	uint64_t pg = pg_round_trips(idle.services.pg);
	expect_no_key(&idle, m.key);
	cr_expect_eq(pg_round_trips(idle.services.pg), pg, "by Redis alone");
}

/* How a user goes who has a warm session and a warm key. */
static void
delete_untold(void)
{
	auth_sql("SELECT * FROM auth.user_admin_delete('%s')", s.username);
}

static void
disable_untold(void)
{
	auth_sql("UPDATE auth.users SET is_disabled = true WHERE id = '%s'",
	    s.user_id);
}

static void
delete_me(void)
{
	cr_assert_eq(caller_call(&c, "DELETE", "/me", s.access, NULL), 204);
}

Test(watch, a_deleted_users_session_and_key_reach_redis)
{
	struct made m;
	make_key(&m);
	delete_untold();
	cr_expect_eq(caller_verify(&idle, s.access), 204, "not told yet");
	cr_expect_neq(use(&idle, m.key), 401);
	cr_assert_eq(watch(&c), OK);
	cr_expect_not(allows());
	expect_revoked(&idle, s.access);
	expect_no_key(&idle, m.key);
	uint64_t trips = redis_round_trips(c.services.redis);
	cr_assert_eq(watch(&c), OK);
	cr_expect_eq(redis_round_trips(c.services.redis) - trips, 1, "once");
}

Test(watch, a_deleted_user_stays_out_of_a_redis_without_memory)
{
	struct made m;
	make_key(&m);
	delete_untold();
	redis("CONFIG SET maxmemory 1");
	cr_assert_eq(watch(&c), OK);
	expect_revoked(&idle, s.access);
	expect_no_key(&idle, m.key);
}

Test(watch, who_deletes_themselves_is_out_at_once_everywhere)
{
	struct made m;
	make_key(&m);
	delete_me();
	expect_revoked(&idle, s.access);
	expect_no_key(&idle, m.key);
}

Test(watch, n22_users_who_went_while_redis_was_dead_stay_out)
{
	static void (*const ways[])(void) = {
	    delete_untold, disable_untold, delete_me};
	for (size_t i = 0; i < 3; i++) {
		struct made m;
		caller_register(&c, &s);
		cr_assert_eq(caller_verify(&c, s.access), 204);
		make_key(&m);
		redis("SAVE");
		server_stop(&server, SIGKILL);
		ways[i]();
		cr_assert(server_start_again(&server));
		for (int k = 0; k < 10; k++) {
			expect_revoked(&c, s.access);
			expect_revoked(&idle, s.access);
			expect_no_key(&c, m.key);
			expect_no_key(&idle, m.key);
		}
		wait_for_redis(&c);
		wait_for_redis(&idle);
		expect_revoked(&idle, s.access);
		expect_no_key(&idle, m.key);
	}
}

Test(watch, a_user_who_is_let_in_again_uses_their_key_at_once)
{
	struct made m;
	make_key(&m);
	disable_untold();
	cr_assert_eq(watch(&c), OK);
	expect_no_key(&idle, m.key);
	auth_sql("UPDATE auth.users SET is_disabled = false WHERE id = '%s'",
	    s.user_id);
	cr_expect_eq(use(&idle, m.key), 200);
}

Test(watch, forgets_who_went_long_ago)
{
	auth_sql("INSERT INTO auth.user_ends (user_id, ended_at) SELECT"
		 " gen_random_uuid(), now() - interval '11 minutes'"
		 " FROM generate_series(1, 5)");
	delete_untold();
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.user_ends WHERE"
				 " ended_at < now() - interval '10 minutes'"),
	    0);
}

/* ---- who has ended ---- */

static struct session_pair
pair_of(const struct signed_in *who)
{
	struct session_pair p = {0};
	memcpy(p.user_id, who->user_id, sizeof p.user_id);
	memcpy(p.grant_id, who->session_id, sizeof p.grant_id);
	return p;
}

Test(watch, names_the_sessions_that_have_ended_and_no_others)
{
	enum {
		LIVE,
		EXPIRED,
		BARE,
		LEFT,
		EPOCH,
		DISABLED,
		BARE_DISABLED,
		GONE
	};
	struct signed_in all[8];
	struct session_pair pairs[8];
	size_t n = 99;
	for (size_t i = 0; i < 8; i++) {
		caller_register(&c, &all[i]);
		pairs[i] = pair_of(&all[i]);
	}
	pairs[BARE].grant_id[0] = pairs[BARE_DISABLED].grant_id[0] = '\0';
	auth_sql("UPDATE auth.sessions SET expires_at = created_at + '1 us',"
		 " idle_expires_at = created_at WHERE id = '%s'",
	    all[EXPIRED].session_id);
	auth_sql("UPDATE auth.sessions SET revoked_at = now() WHERE id = '%s'",
	    all[LEFT].session_id);
	auth_sql("UPDATE auth.users SET session_epoch = 7 WHERE id = '%s'",
	    all[EPOCH].user_id);
	auth_sql("UPDATE auth.users SET is_disabled = true WHERE id IN"
		 " ('%s', '%s')",
	    all[DISABLED].user_id, all[BARE_DISABLED].user_id);
	auth_sql("DELETE FROM auth.users WHERE id = '%s'", all[GONE].user_id);
	const struct session_watch w = {
	    .pg = c.services.pg, .arena = arena, .doubt = &c_doubt};
	uint64_t trips = pg_round_trips(c.services.pg);
	cr_assert_eq(session_watch_ended(&w, pairs, 8, &n), OK);
	cr_expect_eq(pg_round_trips(c.services.pg) - trips, 1);
	cr_assert_eq(n, 5);
	for (size_t i = 0; i < 8; i++) {
		size_t at = 0;
		while (strcmp(pairs[at].user_id, all[i].user_id) != 0)
			at++;
		cr_expect_eq(at < n, i >= LEFT, "%zu is at %zu", i, at);
	}
	cr_assert_eq(session_watch_ended(&w, pairs, 0, &n), OK);
	cr_expect_eq(n, 0);
}

/* Someone else's user with this session is nobody. */
Test(watch, a_session_of_another_user_has_ended)
{
	struct signed_in other;
	size_t n = 0;
	caller_register(&c, &other);
	struct session_pair p = pair_of(&s);
	memcpy(p.user_id, other.user_id, sizeof p.user_id);
	const struct session_watch w = {
	    .pg = c.services.pg, .arena = arena, .doubt = &c_doubt};
	cr_assert_eq(session_watch_ended(&w, &p, 1, &n), OK);
	cr_expect_eq(n, 1);
}

Test(watch, names_the_keys_that_were_revoked)
{
	struct made live, gone;
	struct session_pair pairs[2] = {pair_of(&s), pair_of(&s)};
	size_t n = 0;
	make_key(&live);
	make_key(&gone);
	memcpy(pairs[0].grant_id, live.id, sizeof live.id);
	memcpy(pairs[1].grant_id, gone.id, sizeof gone.id);
	cr_assert_eq(end_key(gone.id), 204);
	const struct session_watch w = {
	    .pg = c.services.pg, .arena = arena, .doubt = &c_doubt};
	cr_assert_eq(session_watch_ended(&w, pairs, 2, &n), OK);
	cr_assert_eq(n, 1);
	cr_expect_str_eq(pairs[0].grant_id, gone.id);
}
