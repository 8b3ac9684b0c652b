/*
 * Signing in, leaning on a session, ending it, against a real Postgres and a
 * real Redis. Numbers in the names are those of the adversarial list of the
 * specification. Rotation is in test_auth_refresh.c.
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
#include "api/api.h"
#include "auth/access_token.h"
#include "base/clock.h"
#include "store/pg.h"

static struct caller c;
static struct signed_in s;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_auth_test"))
		exit(1);
}

static void
setup(void)
{
	caller_open(&c, NULL);
}

static void
teardown(void)
{
	caller_close(&c);
}

TestSuite(auth, .init = setup, .fini = teardown);

static uint64_t
trips(void)
{
	return pg_round_trips(c.services.pg);
}

/* Runs one Redis command beside the code under test; its number. */
static long long
redis(const char *url, const char *command)
{
	redisContext *r = redisConnectUnix(url + strlen("unix://"));
	redisReply *reply = redisCommand(r, command);
	cr_assert_not_null(reply, "%s", command);
	cr_assert_neq(reply->type, REDIS_REPLY_ERROR, "%s", reply->str);
	long long n = reply->integer;
	const char *calls =
	    reply->str ? strstr(reply->str, "total_commands_processed:") : NULL;
	if (calls)
		n = atoll(strchr(calls, ':') + 1);
	freeReplyObject(reply);
	redisFree(r);
	return n;
}

static void
private_redis(struct server *server)
{
	cr_assert(server_start_redis(server, NULL));
	caller_use_redis(&c, server->url);
}

/* One that is to be stopped. */
static void
private_redis_to_hang(struct server *server)
{
	private_redis(server);
	caller_use_redis_for(&c, server->url, 200);
}

/* ---- register ---- */

Test(auth, registering_answers_as_a_login_does)
{
	caller_register(&c, &s);
	cr_expect_eq(c.rep.status, 201);
	cr_expect_str_eq(caller_text(&c, "token_type"), "Bearer");
	cr_expect_eq(caller_number(&c, "expires_in"), 600);
	cr_expect_geq(caller_number(&c, "refresh_in"), 420);
	cr_expect_leq(caller_number(&c, "refresh_in"), 540);
	cr_expect_eq(strlen(s.refresh), 72);
	cr_expect_str_eq(caller_text(&c, "user.role"), "user");
	cr_expect_eq(strlen(caller_text(&c, "user.created_at")),
	    strlen("2026-01-02T03:04:05.678901Z"));
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(auth, registering_is_one_round_trip)
{
	caller_register(&c, &s); /* connects */
	uint64_t before = trips();
	caller_register(&c, &s);
	cr_expect_eq(trips() - before, 1);
}

Test(auth, a_closed_server_registers_nobody_and_hashes_nothing)
{
	char missing[] = "/nonexistent";
	c.config.registration = (char *)"closed";
	c.config.run_dir = missing; /* hashing would fail otherwise */
	cr_expect_eq(caller_call(&c, "POST", "/auth/register", NULL,
			 "{\"username\":\"x\",\"password\":\"" PASSWORD "\"}"),
	    403);
	cr_expect_str_eq(caller_code(&c), "registration_closed");
	cr_expect_eq(trips(), 0);
	c.config.run_dir = c.run_dir;
}

Test(auth, a_username_is_taken_however_it_is_typed)
{
	static const char *const typed[] = {
	    "Zo\xc3\xab-1", " zo\xc3\xab-1 ", "ZO\xc3\x8b-1", "zoe\xcc\x88-1"};
	for (size_t i = 0; i < 4; i++) {
		char body[256];
		snprintf(body, sizeof body,
		    "{\"username\":\"%s\",\"password\":\"" PASSWORD "\"}",
		    typed[i]);
		int status =
		    caller_call(&c, "POST", "/auth/register", NULL, body);
		cr_expect_eq(status, i == 0 ? 201 : 409, "%zu", i);
		if (i == 0)
			cr_expect_str_eq(
			    caller_text(&c, "user.username"), "zo\xc3\xab-1");
		else
			cr_expect_str_eq(caller_code(&c), "username_taken");
	}
}

Test(auth, names_the_field_that_is_wrong)
{
	static const struct {
		const char *body;
		int status;
		const char *field;
	} rows[] = {
	    {"{\"username\":\"a b\",\"password\":\"" PASSWORD "\"}", 422,
		"username"},
	    {"{\"username\":\"\",\"password\":\"" PASSWORD "\"}", 422,
		"username"},
	    {"{\"password\":\"" PASSWORD "\"}", 422, "username"},
	    {"{\"username\":\"ab\",\"password\":\"eleven char\"}", 422,
		"password"},
	    {"{\"username\":\"ab\"}", 422, "password"},
	    {"{\"username\":\"ab\",\"password\":1}", 422, "password"},
	    {"{\"username\":\"ab\",\"password\":\"" PASSWORD "\",\"device\":7}",
		422, "device"},
	    {"{\"username\":\"ab\",\"password\":\"" PASSWORD
	     "\",\"remember\":\"yes\"}",
		422, "remember"},
	    {"{\"username\":\"ab\",\"password\":\"" PASSWORD
	     "\",\"role\":\"admin\"}",
		422, "role"},
	    {"{\"username\":", 400, NULL},
	    {"", 400, NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cr_expect_eq(caller_call(&c, "POST", "/auth/register", NULL,
				 rows[i].body),
		    rows[i].status, "%zu", i);
		const char *field = caller_text(&c, "field");
		cr_expect(rows[i].field ? field && !strcmp(field, rows[i].field)
					: !field,
		    "%zu: %s", i, field ? field : "");
	}
	cr_expect_eq(trips(), 0);
}

/* ---- login ---- */

Test(auth, logging_in_opens_another_session_of_the_user)
{
	struct signed_in first;
	caller_register(&c, &first);
	s = first;
	uint64_t before = trips();
	caller_login(&c, &s);
	cr_expect_eq(trips() - before, 2);
	cr_expect_str_eq(s.user_id, first.user_id);
	cr_expect_str_neq(s.session_id, first.session_id);
	cr_expect_eq(caller_verify(&c, first.access), 204);
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(auth, keeps_what_the_client_says_of_itself)
{
	char body[256];
	c.agent = "Mozilla/5.0 \xff"
		  "broken";
	c.ip = "::ffff:198.51.100.9";
	caller_register(&c, &s);
	snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD
	    "\",\"device\":\"Zo\xc3\xab's phone\",\"remember\":false}",
	    s.username);
	cr_assert_eq(caller_call(&c, "POST", "/auth/login", NULL, body), 200);
	cr_expect_eq(
	    auth_number(
		"SELECT count(*) FROM auth.sessions WHERE id = '%s'"
		" AND device_name = 'Zo\xc3\xab''s phone'"
		" AND user_agent = 'Mozilla/5.0 ' || U&'\\FFFD' || 'broken'"
		" AND ip_created = '198.51.100.9' AND NOT is_remembered"
		" AND expires_at - created_at BETWEEN '23:59' AND '24:01'"
		" AND idle_expires_at - created_at BETWEEN '11:59' AND '12:01'",
		caller_text(&c, "session_id")),
	    1);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.sessions WHERE id = '%s'"
			" AND is_remembered AND device_name IS NULL"
			" AND expires_at - created_at"
			" BETWEEN '29 days 23:59' AND '30 days 00:01'"
			" AND idle_expires_at - created_at"
			" BETWEEN '13 days 23:59' AND '14 days 00:01'",
		s.session_id),
	    1);
}

/* The answer to a failed login, without what may differ. */
static const char *
failed_login(const char *username, const char *password)
{
	static char bodies[4][512];
	static int n;
	char body[256], *out = bodies[n++ % 4];
	snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}",
	    username, password);
	cr_expect_eq(caller_call(&c, "POST", "/auth/login", NULL, body), 401);
	cr_expect_str_eq(caller_code(&c), "invalid_credentials");
	snprintf(out, 512, "%s", c.rep.body);
	return out;
}

Test(auth, n29_all_failed_logins_look_the_same)
{
	struct signed_in disabled, bare;
	caller_register(&c, &s);
	caller_register(&c, &disabled);
	caller_register(&c, &bare);
	auth_sql("UPDATE auth.users SET is_disabled = true WHERE id = '%s'",
	    disabled.user_id);
	auth_sql("UPDATE auth.users SET password_hash = NULL WHERE id = '%s'",
	    bare.user_id);
	const char *wrong = failed_login(s.username, "wrong horse battery");
	cr_expect_str_eq(failed_login("nobody-at-all", PASSWORD), wrong);
	cr_expect_str_eq(failed_login("no such name", PASSWORD), wrong);
	cr_expect_str_eq(failed_login(disabled.username, PASSWORD), wrong);
	cr_expect_str_eq(failed_login(bare.username, PASSWORD), wrong);
}

Test(auth, a_raised_memory_renews_the_hash_at_the_next_login)
{
	caller_register(&c, &s);
	cr_expect_eq(auth_number("SELECT password_hash LIKE '%%m=8,t=2,p=1%%'"
				 " FROM auth.users WHERE id = '%s'",
			 s.user_id),
	    0, "booleans are letters");
	c.config.hash_memory_kib = 64;
	uint64_t before = trips();
	caller_login(&c, &s);
	cr_expect_eq(trips() - before, 2, "it costs no round trip");
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.users WHERE"
				 " password_hash LIKE '%%m=64,t=2,p=1%%'"
				 " AND id = '%s'",
			 s.user_id),
	    1);
	caller_login(&c, &s);
}

Test(auth, hashing_without_a_slot_is_busy)
{
	char body[256], path[64];
	caller_register(&c, &s);
	c.config.hash_slots = 1;
	snprintf(path, sizeof path, "%s/hash-0.lock", c.run_dir);
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD "\"}", s.username);
	cr_expect_eq(caller_call(&c, "POST", "/auth/login", NULL, body), 503);
	cr_expect_str_eq(caller_code(&c), "busy");
	cr_expect_not_null(caller_header(&c, "Retry-After"));
	cr_expect_not_null(strstr(c.req.why, "CHAT_HASH_SLOTS"));
	close(fd);
	cr_expect_eq(caller_call(&c, "POST", "/auth/login", NULL, body), 200);
}

Test(auth, a_login_that_cannot_hash_names_the_setting_in_the_log)
{
	char body[256], missing[] = "/nonexistent";
	caller_register(&c, &s);
	c.config.run_dir = missing;
	snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD "\"}", s.username);
	cr_expect_eq(caller_call(&c, "POST", "/auth/login", NULL, body), 500);
	cr_expect_not_null(strstr(c.req.why, "CHAT_RUN_DIR"));
	cr_expect_null(strstr(c.rep.body, "CHAT_RUN_DIR"));
	c.config.run_dir = c.run_dir;
}

Test(auth, the_11th_session_ends_the_least_recently_used)
{
	struct signed_in all[11];
	caller_register(&c, &all[0]);
	for (int i = 1; i < 10; i++) {
		all[i] = all[0];
		caller_login(&c, &all[i]);
	}
	/* The first was used last. */
	auth_sql("UPDATE auth.sessions SET last_activity = now() + '1 s'"
		 " WHERE id = '%s'",
	    all[0].session_id);
	for (int i = 0; i < 10; i++)
		cr_expect_eq(caller_verify(&c, all[i].access), 204);
	all[10] = all[0];
	caller_login(&c, &all[10]);
	for (int i = 0; i < 11; i++)
		cr_expect_eq(caller_verify(&c, all[i].access),
		    i == 1 ? 401 : 204, "session %d", i);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.sessions WHERE"
			" id = '%s' AND revoke_reason = 'max_sessions'",
		all[1].session_id),
	    1);
}

/* ---- the session behind a token ---- */

Test(auth, verify_says_who_it_is)
{
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	cr_expect_str_eq(caller_header(&c, "X-Auth-User"), s.username);
	cr_expect_str_eq(caller_header(&c, "X-Auth-User-Id"), s.user_id);
	cr_expect_str_eq(caller_header(&c, "X-Auth-Role"), "user");
	cr_expect_str_eq(c.req.who.session_id, s.session_id);
}

Test(auth, says_what_is_wrong_with_a_token)
{
	static const struct {
		const char *authorization;
		const char *code;
	} rows[] = {
	    {"", "token_missing"},
	    {"Basic dXNlcjpwYXNz", "token_missing"},
	    {"Bearer", "token_missing"},
	    {"Bearer ", "token_invalid"},
	    {"Bearer x.y.z", "token_invalid"},
	    {"bearer x.y.z", "token_invalid"},
	};
	caller_register(&c, &s);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		/* caller_call writes "Bearer " itself: go around it. */
		uint64_t before = trips();
		(void)caller_verify(&c, s.access);
		c.req.authorization = rows[i].authorization;
		c.rep = (struct reply){0};
		api_handle(&c.req, &c.rep);
		cr_expect_eq(c.rep.status, 401);
		cr_expect_not_null(
		    strstr(c.rep.body, rows[i].code), "%s", c.rep.body);
		cr_expect_leq(trips() - before, 1, "only the first asks");
	}
}

Test(auth, a_warm_session_asks_redis_once_and_postgres_never)
{
	struct server server;
	private_redis(&server);
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	uint64_t before = trips();
	long long commands = redis(server.url, "INFO stats");
	cr_assert_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(trips(), before);
	/* INFO counts itself. */
	cr_expect_eq(redis(server.url, "INFO stats") - commands, 2);
	server_remove(&server);
}

Test(auth, a_cold_session_asks_postgres_once)
{
	caller_register(&c, &s);
	uint64_t before = trips();
	cr_assert_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(trips() - before, 1);
}

Test(auth, notes_activity_at_most_once_in_5_minutes)
{
	struct server server;
	private_redis(&server);
	caller_register(&c, &s);
	c.ip = "203.0.113.5";
#define SEEN                                                                \
	"SELECT count(*) FROM auth.sessions WHERE id = '%s' AND ip_last = " \
	"'203.0.113.5'"
	cr_assert_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(auth_number(SEEN, s.session_id), 0);
	auth_sql("UPDATE auth.sessions SET last_activity = now() - interval"
		 " '301 s' WHERE id = '%s'",
	    s.session_id);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(auth_number(SEEN, s.session_id), 0, "warm: not written");
	redis(server.url, "FLUSHALL");
	cr_assert_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(auth_number(SEEN, s.session_id), 1);
	cr_expect_eq(
	    auth_number(
		"SELECT count(*) FROM auth.sessions WHERE"
		" id = '%s' AND last_activity > now() - '10 s'::interval",
		s.session_id),
	    1);
	server_remove(&server);
}

Test(auth, a_locked_session_delays_nobody)
{
	struct server server;
	private_redis(&server);
	caller_register(&c, &s);
	auth_sql("UPDATE auth.sessions SET last_activity = now() - interval"
		 " '301 s' WHERE id = '%s'",
	    s.session_id);
	auth_sql(
	    "BEGIN; SELECT 1 FROM auth.sessions WHERE id = '%s' FOR UPDATE",
	    s.session_id);
	uint64_t before = clock_mono_ms();
	cr_expect_eq(caller_verify(&c, s.access), 204);
	cr_expect_lt(clock_mono_ms() - before, 4000);
	auth_sql("ROLLBACK");
	server_remove(&server);
}

Test(auth, me_is_the_callers_own_row)
{
	caller_register(&c, &s);
	(void)caller_verify(&c, s.access);
	uint64_t before = trips();
	cr_assert_eq(caller_call(&c, "GET", "/me", s.access, NULL), 200);
	cr_expect_eq(trips() - before, 1);
	cr_expect_str_eq(caller_text(&c, "id"), s.user_id);
	cr_expect_str_eq(caller_text(&c, "username"), s.username);
	cr_expect_null(caller_text(&c, "display_name"));
	cr_expect_str_eq(caller_text(&c, "role"), "user");
	cr_expect_not_null(caller_text(&c, "created_at"));
	cr_expect_not_null(caller_text(&c, "last_login_at"));
	cr_expect_null(strstr(c.rep.body, "argon2"));
}

/* ---- endings ---- */

static int
logout(const char *token, const char *body)
{
	return caller_call(&c, "POST", "/auth/logout", token, body);
}

static void
expect_revoked(const char *token)
{
	cr_expect_eq(caller_verify(&c, token), 401);
	cr_expect_str_eq(caller_code(&c), "session_revoked");
}

Test(auth, n21_logging_out_reaches_the_next_request_of_this_session_alone)
{
	struct signed_in other, later;
	caller_register(&c, &s);
	other = s;
	caller_login(&c, &other);
	cr_assert_eq(caller_refresh(&c, s.refresh, &later), 200);
	cr_assert_eq(caller_verify(&c, s.access), 204, "the older token");
	cr_assert_eq(caller_verify(&c, later.access), 204);
	uint64_t before = trips();
	cr_expect_eq(logout(later.access, NULL), 204);
	cr_expect_eq(trips() - before, 1);
	before = trips();
	expect_revoked(s.access);
	expect_revoked(later.access);
	cr_expect_eq(trips(), before, "the tombstone is enough");
	cr_expect_eq(caller_verify(&c, other.access), 204);
	cr_expect_eq(caller_refresh(&c, later.refresh, &later), 401);
	cr_expect_str_eq(caller_code(&c), "session_revoked");
	cr_expect_eq(caller_refresh(&c, other.refresh, &other), 200);
}

Test(auth, a_session_with_many_live_tokens_ends_whole)
{
	static struct signed_in all[70];
	caller_register(&c, &all[0]);
	for (int i = 0; i < 69; i++)
		cr_assert_eq(
		    caller_refresh(&c, all[i].refresh, &all[i + 1]), 200);
	cr_assert_eq(caller_verify(&c, all[0].access), 204);
	cr_assert_eq(logout(all[69].access, NULL), 204);
	uint64_t before = trips();
	for (int i = 0; i < 70; i++)
		expect_revoked(all[i].access);
	cr_expect_eq(trips(), before);
}

Test(auth, n21_logging_out_the_others_keeps_this_session)
{
	struct signed_in other;
	caller_register(&c, &s);
	other = s;
	caller_login(&c, &other);
	cr_assert_eq(caller_verify(&c, other.access), 204);
	cr_expect_eq(logout(s.access, "{\"scope\":\"others\"}"), 204);
	expect_revoked(other.access);
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(auth, n21_logging_out_everywhere_moves_the_epoch)
{
	struct signed_in other;
	caller_register(&c, &s);
	other = s;
	caller_login(&c, &other);
	cr_assert_eq(caller_verify(&c, other.access), 204);
	cr_expect_eq(logout(s.access, "{\"scope\":\"all\"}"), 204);
	expect_revoked(s.access);
	expect_revoked(other.access);
	cr_expect_eq(auth_number("SELECT session_epoch FROM auth.users"
				 " WHERE id = '%s'",
			 s.user_id),
	    1);
	caller_login(&c, &s);
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(auth, logging_out_takes_no_other_scope)
{
	caller_register(&c, &s);
	cr_expect_eq(logout(s.access, "{\"scope\":\"global\"}"), 422);
	cr_expect_str_eq(caller_text(&c, "field"), "scope");
	cr_expect_eq(logout(s.access, "{\"scope\":null}"), 204);
	expect_revoked(s.access);
}

Test(auth, a_moved_epoch_alone_ends_every_session)
{
	caller_register(&c, &s);
	auth_sql("UPDATE auth.users SET session_epoch = 5 WHERE id = '%s'",
	    s.user_id);
	expect_revoked(s.access);
	cr_expect_eq(caller_refresh(&c, s.refresh, &s), 401);
	cr_expect_str_eq(caller_code(&c), "session_revoked");
}

Test(auth, a_token_of_another_epoch_than_its_session_is_refused)
{
	caller_register(&c, &s);
	const struct access_rules rules = {
	    c.services.keys, "natter", "chat-api"};
	struct access_claims claims;
	cr_assert_eq(access_token_verify(&rules, s.access,
			 (int64_t)(clock_wall_ms() / 1000), &claims),
	    OK);
	cr_assert_eq(caller_verify(&c, s.access), 204, "and is remembered");
	const char *token = NULL;
	claims.epoch++;
	cr_assert_eq(
	    access_token_make(&rules, &claims, c.req.arena, &token), OK);
	char copy[2049];
	snprintf(copy, sizeof copy, "%s", token);
	expect_revoked(copy);
}

Test(auth, a_disabled_users_tokens_die)
{
	caller_register(&c, &s);
	auth_sql("SELECT * FROM auth.user_admin_set_disabled('%s', true)",
	    s.username);
	expect_revoked(s.access);
	cr_expect_eq(caller_refresh(&c, s.refresh, &s), 401);
	cr_expect_str_eq(caller_code(&c), "session_revoked");
	auth_sql("SELECT * FROM auth.user_admin_set_disabled('%s', false)",
	    s.username);
	cr_expect_eq(caller_verify(&c, s.access), 401, "they stay dead");
	caller_login(&c, &s);
}

Test(auth, a_deleted_users_tokens_die)
{
	caller_register(&c, &s);
	auth_sql("DELETE FROM auth.users WHERE id = '%s'", s.user_id);
	expect_revoked(s.access);
	cr_expect_eq(caller_refresh(&c, s.refresh, &s), 401);
	cr_expect_str_eq(caller_code(&c), "refresh_invalid");
}

Test(auth, a_new_password_by_the_administrator_ends_all_sessions)
{
	caller_register(&c, &s);
	auth_sql("SELECT * FROM auth.user_admin_set_password('%s', 'x')",
	    s.username);
	expect_revoked(s.access);
}

Test(auth, a_session_that_is_over_admits_nobody)
{
	caller_register(&c, &s);
	auth_sql("UPDATE auth.sessions SET idle_expires_at = now() WHERE"
		 " id = '%s'",
	    s.session_id);
	expect_revoked(s.access);
}

/* ---- Redis misbehaves ---- */

Test(auth, n23_flushing_redis_lets_nobody_in_and_turns_nobody_away)
{
	struct server server;
	struct signed_in live;
	private_redis(&server);
	caller_register(&c, &s);
	live = s;
	caller_login(&c, &live);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	cr_assert_eq(logout(s.access, NULL), 204);
	redis(server.url, "FLUSHALL");
	expect_revoked(s.access);
	cr_expect_eq(caller_verify(&c, live.access), 204);
	redis(server.url, "SCRIPT FLUSH");
	cr_expect_eq(logout(live.access, NULL), 204);
	expect_revoked(live.access);
	server_remove(&server);
}

Test(auth, n23_evicting_either_tombstone_lets_nobody_in)
{
	char command[128];
	for (int i = 0; i < 2; i++) {
		caller_register(&c, &s);
		cr_assert_eq(caller_verify(&c, s.access), 204);
		snprintf(command, sizeof command, "DEL %s:{%s}:%s",
		    i ? "sess" : "gone", s.user_id,
		    i ? c.req.who.jti : s.session_id);
		cr_assert_eq(logout(s.access, NULL), 204);
		cr_assert_eq(redis(getenv("TEST_REDIS_URL"), command), 1);
		uint64_t before = trips();
		expect_revoked(s.access);
		cr_expect_eq(trips(), before, "the other one is enough");
	}
}

Test(auth, n23_a_full_redis_cannot_keep_a_session_alive)
{
	struct server server;
	private_redis(&server);
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	redis(server.url, "CONFIG SET maxmemory 1");
	cr_assert_eq(logout(s.access, NULL), 204);
	redis(server.url, "CONFIG SET maxmemory 0");
	expect_revoked(s.access);
	server_remove(&server);
}

Test(auth, n22_without_redis_postgres_decides)
{
	struct server server;
	struct signed_in live;
	private_redis(&server);
	caller_register(&c, &s);
	live = s;
	caller_login(&c, &live);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	server_stop(&server, SIGKILL);
	cr_expect_eq(caller_verify(&c, s.access), 204);
	cr_expect_eq(logout(s.access, NULL), 204);
	expect_revoked(s.access);
	for (int i = 0; i < 5; i++)
		cr_expect_eq(caller_verify(&c, live.access), 204);
	server_remove(&server);
}

Test(auth, n22_a_redis_that_hangs_costs_its_timeout_and_then_nothing)
{
	struct server server;
	private_redis_to_hang(&server);
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	kill(server.pid, SIGSTOP);
	uint64_t before = clock_mono_ms();
	/* Each that waits takes 200 ms. */
	for (int i = 0; i < 150; i++)
		cr_expect_eq(caller_verify(&c, s.access), 204);
	cr_expect_lt(clock_mono_ms() - before, 10000, "the breaker opened");
	kill(server.pid, SIGCONT);
	server_remove(&server);
}

Test(auth, n22_a_logout_reaches_a_hung_redis_when_it_wakes)
{
	struct server server;
	private_redis_to_hang(&server);
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	kill(server.pid, SIGSTOP);
	cr_expect_eq(logout(s.access, NULL), 204);
	expect_revoked(s.access);
	kill(server.pid, SIGCONT);
	caller_use_redis(&c, server.url);
	expect_revoked(s.access);
	server_remove(&server);
}

Test(auth, n24_a_warm_session_lives_on_without_postgres)
{
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

static void
expect_unavailable(int status)
{
	cr_expect_eq(status, 503);
	cr_expect_str_eq(caller_code(&c), "unavailable");
	cr_expect_not_null(caller_header(&c, "Retry-After"));
}

Test(auth, n24_with_neither_store_everything_is_503)
{
	char body[256];
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	caller_use_redis(&c, "unix:///nonexistent/redis.sock");
	expect_unavailable(caller_verify(&c, s.access));
	expect_unavailable(caller_call(&c, "GET", "/me", s.access, NULL));
	expect_unavailable(logout(s.access, NULL));
	expect_unavailable(caller_refresh(&c, s.refresh, &s));
	snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD "\"}", s.username);
	expect_unavailable(caller_call(&c, "POST", "/auth/login", NULL, body));
	expect_unavailable(caller_call(&c, "POST", "/auth/register", NULL,
	    "{\"username\":\"n24\",\"password\":\"" PASSWORD "\"}"));
}

Test(auth, a_poisoned_entry_is_asked_again)
{
	static const char *const values[] = {"", "x", "a b c",
	    "01890000-0000-7000-8000-000000000001 0 admin root"};
	caller_register(&c, &s);
	cr_assert_eq(caller_verify(&c, s.access), 204);
	char jti[ID_TEXT];
	memcpy(jti, c.req.who.jti, sizeof jti);
	for (size_t i = 0; i < 4; i++) {
		redisContext *r = redisConnectUnix(
		    getenv("TEST_REDIS_URL") + strlen("unix://"));
		freeReplyObject(redisCommand(
		    r, "SET sess:{%s}:%s %s", s.user_id, jti, values[i]));
		redisFree(r);
		cr_expect_eq(caller_verify(&c, s.access), 204, "%zu", i);
		cr_expect_str_eq(caller_header(&c, "X-Auth-Role"), "user");
	}
}

/* ---- rights ---- */

Test(auth, the_daemons_role_reads_no_secret_and_revives_nothing)
{
	static const char *const refused[] = {
	    "SELECT rt_secret FROM auth.sessions",
	    "SELECT password_hash FROM auth.users",
	    "UPDATE auth.sessions SET revoked_at = NULL",
	    "UPDATE auth.sessions SET expires_at = 'infinity'",
	    "UPDATE auth.users SET role = 'admin'",
	    "UPDATE auth.users SET session_epoch = 0",
	    "UPDATE auth.users SET password_hash = 'x'",
	    "INSERT INTO auth.refresh_tokens (id) VALUES (gen_random_uuid())",
	    "SELECT auth.refresh_mac('', '')",
	    "SELECT auth.sessions_end(gen_random_uuid(), NULL, NULL, '')",
	    "SELECT auth.user_admin_create(gen_random_uuid(), 'x', 'x')",
	    "SELECT auth.user_admin_list()",
	    "SELECT auth.user_admin_set_password('x', 'x')",
	    "SELECT auth.user_admin_set_disabled('x', true)",
	};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		cr_expect_str_eq(auth_try("natter_app", "%s", refused[i]),
		    "42501", "%s", refused[i]);
}

Test(auth, every_function_that_looks_past_row_security_is_pinned)
{
	cr_expect_eq(
	    auth_number(
		"SELECT count(*) FROM pg_proc WHERE pronamespace ="
		" 'auth'::regnamespace AND (NOT proconfig @>"
		" '{\"search_path=pg_catalog, pg_temp\"}' OR proconfig IS NULL"
		" OR proowner <> 'natter_auth'::regrole)"),
	    0);
	cr_expect_gt(auth_number("SELECT count(*) FROM pg_proc WHERE"
				 " pronamespace = 'auth'::regnamespace AND"
				 " prosecdef"),
	    8);
}
