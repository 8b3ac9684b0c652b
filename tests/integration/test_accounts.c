/*
 * What users do about their own accounts: new passwords, sessions seen and
 * ended, notices, leaving; and who gets an account at all. Against a real
 * Postgres and a real Redis; numbers in the names are those of the adversarial
 * list of the specification.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <json-c/json.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/auth_world.h"
#include "auth/invite.h"
#include "store/pg.h"

#define NEW_PASSWORD "the red fox sleeps late"
#define DEVICE       "a-device-id-of-22-chars-or-more"

static struct caller c;
static struct signed_in s;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_accounts_test"))
		exit(1);
}

static void
setup(void)
{
	caller_open(&c, NULL);
	caller_register(&c, &s);
}

static void
teardown(void)
{
	caller_close(&c);
}

TestSuite(accounts, .init = setup, .fini = teardown, .timeout = 60);

/* Expects a status and, unless NULL, a problem's code. */
static void
expect(int status, int want, const char *code)
{
	cr_assert_eq(status, want, "%d %s", status,
	    c.rep.body_len > 0 ? c.rep.body : "");
	if (code)
		cr_expect_str_eq(caller_code(&c), code);
}

static int
login(const char *password)
{
	char body[256];
	snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\"}",
	    s.username, password);
	return caller_call(&c, "POST", "/auth/login", NULL, body);
}

static int
change(const char *token, const char *current, const char *next)
{
	char body[512];
	snprintf(body, sizeof body,
	    "{\"current_password\":\"%s\",\"new_password\":\"%s\"}", current,
	    next);
	return caller_call(&c, "POST", "/auth/password", token, body);
}

static int
reauth(const char *token, const char *password)
{
	char body[256];
	snprintf(body, sizeof body, "{\"password\":\"%s\"}", password);
	return caller_call(&c, "POST", "/auth/reauth", token, body);
}

/* One more session of the same user. */
static struct signed_in
another(void)
{
	struct signed_in other = s;
	caller_login(&c, &other);
	return other;
}

static int
on_session(const char *method, const struct signed_in *who, const char *id,
    const char *body)
{
	char path[128];
	snprintf(path, sizeof path, "/auth/sessions/%s", id);
	return caller_call(&c, method, path, who->access, body);
}

/* The sign-in was so long ago. */
static void
age(const struct signed_in *who, const char *interval)
{
	auth_sql("UPDATE auth.sessions SET auth_time = now() - interval '%s'"
		 " WHERE id = '%s'",
	    interval, who->session_id);
}

/* ---- a new password ---- */

Test(accounts, a_new_password_ends_the_other_sessions_and_keeps_this_one)
{
	struct signed_in other = another();
	cr_assert_eq(caller_verify(&c, other.access), 204); /* warm */
	cr_assert_eq(caller_verify(&c, s.access), 204);
	uint64_t before = pg_round_trips(c.services.pg);
	expect(change(s.access, PASSWORD, NEW_PASSWORD), 204, NULL);
	cr_expect_eq(pg_round_trips(c.services.pg) - before, 2);
	cr_expect_eq(caller_verify(&c, s.access), 204);
	expect(caller_verify(&c, other.access), 401, "session_revoked");
	expect(
	    caller_refresh(&c, other.refresh, &other), 401, "session_revoked");
	expect(caller_refresh(&c, s.refresh, &s), 200, NULL);
	expect(login(PASSWORD), 401, "invalid_credentials");
	expect(login(NEW_PASSWORD), 200, NULL);
}

Test(accounts, a_new_password_takes_the_old_one_and_one_that_is_hard_to_guess)
{
	static const struct {
		const char *current, *next;
		int status;
		const char *code;
	} rows[] = {
	    {"wrong horse", NEW_PASSWORD, 401, "invalid_credentials"},
	    {PASSWORD, "eleven char", 422, "invalid_field"},
	    {PASSWORD, "Password2024!", 422, "invalid_field"},
	    {PASSWORD, "", 422, "invalid_field"},
	    {PASSWORD, PASSWORD, 422, "invalid_field"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		expect(change(s.access, rows[i].current, rows[i].next),
		    rows[i].status, rows[i].code);
		if (rows[i].status == 422)
			cr_expect_str_eq(
			    caller_text(&c, "field"), "new_password");
	}
	expect(change(NULL, PASSWORD, NEW_PASSWORD), 401, "token_missing");
	cr_expect_eq(login(PASSWORD), 200);
}

Test(accounts, a_stolen_token_guesses_no_faster)
{
	for (int i = 0; i < 5; i++)
		expect(change(s.access, "wrong horse", NEW_PASSWORD), 401,
		    "invalid_credentials");
	expect(reauth(s.access, PASSWORD), 429, "login_throttled");
	cr_expect_not_null(caller_header(&c, "Retry-After"));
	cr_expect_eq(login(PASSWORD), 200, "the owner is not locked out");
}

Test(accounts, a_new_password_forgets_failures_and_devices)
{
	c.device = DEVICE;
	cr_assert_eq(login(PASSWORD), 200);
	c.device = "";
	for (int i = 0; i < 5; i++)
		cr_assert_eq(login("wrong horse"), 401);
	cr_assert_eq(login(PASSWORD), 429);
	expect(change(s.access, PASSWORD, NEW_PASSWORD), 204, NULL);
	cr_expect_eq(login(NEW_PASSWORD), 200);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.login_throttle WHERE"
			" user_id = '%s'",
		s.user_id),
	    0);
}

Test(accounts, an_imported_hash_becomes_one_of_ours_at_the_first_sign_in)
{
	static const char *const hashes[] = {
	    "pbkdf2_sha256$100000$seasalt2$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs=",
	    "$2y$10$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/Mn4cvGaTcuTstEHTfJsdx6xN2",
	};
	for (size_t i = 0; i < 2; i++) {
		auth_sql("UPDATE auth.users SET password_hash = '%s'"
			 " WHERE id = '%s'",
		    hashes[i], s.user_id);
		expect(login("wrong horse battery"), 401, NULL);
		uint64_t before = pg_round_trips(c.services.pg);
		expect(login(PASSWORD), 200, NULL);
		cr_expect_eq(pg_round_trips(c.services.pg) - before, 2);
		cr_expect_eq(
		    auth_number("SELECT count(*) FROM auth.users WHERE id = "
				"'%s' AND password_hash LIKE '$argon2id$%%'",
			s.user_id),
		    1);
		expect(login(PASSWORD), 200, NULL);
	}
}

/* ---- sessions ---- */

Test(accounts, lists_the_live_sessions_of_the_caller_alone)
{
	struct signed_in stranger, other;
	c.agent = "Firefox/1";
	other = another();
	caller_register(&c, &stranger);
	auth_sql("UPDATE auth.sessions SET last_activity = now() - interval"
		 " '1 hour' WHERE id = '%s'",
	    other.session_id);
	struct signed_in ended = another(), stale = another();
	cr_assert_eq(
	    caller_call(&c, "POST", "/auth/logout", ended.access, NULL), 204);
	auth_sql("UPDATE auth.sessions SET idle_expires_at = now() WHERE id ="
		 " '%s'",
	    stale.session_id);
	uint64_t before = pg_round_trips(c.services.pg);
	expect(caller_call(&c, "GET", "/auth/sessions", s.access, NULL), 200,
	    NULL);
	cr_expect_leq(pg_round_trips(c.services.pg) - before, 2);
	struct json_object *data = json_object_object_get(c.answer, "data");
	cr_assert_eq(json_object_array_length(data), 2);
	struct json_object *first = json_object_array_get_idx(data, 0);
	struct json_object *second = json_object_array_get_idx(data, 1);
#define TEXT(o, name) \
	json_object_get_string(json_object_object_get((o), (name)))
	cr_expect_str_eq(TEXT(first, "id"), s.session_id);
	cr_expect(json_object_get_boolean(
	    json_object_object_get(first, "is_current")));
	cr_expect_str_eq(TEXT(second, "id"), other.session_id);
	cr_expect_not(json_object_get_boolean(
	    json_object_object_get(second, "is_current")));
	cr_expect_str_eq(TEXT(second, "user_agent"), "Firefox/1");
	cr_expect_str_eq(TEXT(second, "ip"), "192.0.2.7");
	cr_expect_eq(strlen(TEXT(second, "expires_at")),
	    strlen("2026-01-02T03:04:05.678901Z"));
	cr_expect_eq(json_object_array_length(
			 json_object_object_get(c.answer, "notices")),
	    0);
}

Test(accounts, names_a_session)
{
	struct signed_in stranger, other = another();
	expect(on_session("PATCH", &s, other.session_id,
		   "{\"device\":\"Zo\xc3\xab's phone\"}"),
	    204, NULL);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.sessions WHERE id ="
			" '%s' AND device_name = 'Zo\xc3\xab''s phone'",
		other.session_id),
	    1);
	expect(on_session("PATCH", &s, other.session_id, "{\"device\":null}"),
	    204, NULL);
	expect(on_session("PATCH", &s, other.session_id, "{}"), 422,
	    "invalid_field");
	expect(on_session("PATCH", &s, other.session_id, "{\"device\":\"\"}"),
	    422, "invalid_field");
	expect(on_session("PATCH", &s, "nonsense", "{\"device\":\"x\"}"), 404,
	    "not_found");
	caller_register(&c, &stranger);
	expect(on_session("PATCH", &stranger, other.session_id,
		   "{\"device\":\"mine\"}"),
	    404, "not_found");
}

Test(accounts, n21_ending_one_session_reaches_its_next_request_alone)
{
	struct signed_in a = another(), b = another();
	cr_assert_eq(caller_verify(&c, a.access), 204); /* warm */
	expect(on_session("DELETE", &s, a.session_id, NULL), 204, NULL);
	expect(caller_verify(&c, a.access), 401, "session_revoked");
	expect(caller_refresh(&c, a.refresh, &a), 401, "session_revoked");
	cr_expect_eq(caller_verify(&c, b.access), 204);
	cr_expect_eq(caller_verify(&c, s.access), 204);
	expect(on_session("DELETE", &s, a.session_id, NULL), 404, "not_found");
}

Test(accounts, nobody_ends_a_strangers_session)
{
	struct signed_in stranger;
	caller_register(&c, &stranger);
	expect(on_session("DELETE", &stranger, s.session_id, NULL), 404,
	    "not_found");
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(accounts, ending_another_session_takes_a_fresh_proof)
{
	struct signed_in a = another();
	age(&s, "16 min");
	expect(on_session("DELETE", &s, a.session_id, NULL), 403,
	    "reauth_required");
	cr_expect_eq(caller_verify(&c, a.access), 204);
	expect(reauth(s.access, "wrong horse"), 401, "invalid_credentials");
	expect(on_session("DELETE", &s, a.session_id, NULL), 403, NULL);
	expect(reauth(s.access, PASSWORD), 204, NULL);
	expect(on_session("DELETE", &s, a.session_id, NULL), 204, NULL);
	age(&s, "1 day");
	expect(on_session("DELETE", &s, s.session_id, NULL), 204, NULL);
	expect(caller_verify(&c, s.access), 401, "session_revoked");
}

/* ---- notices ---- */

Test(accounts, tells_of_a_refresh_token_that_was_used_twice)
{
	char path[128];
	struct signed_in a = another(), b = a;
	cr_assert_eq(caller_refresh(&c, a.refresh, &b), 200);
	c.agent = "thief/1";
	expect(caller_refresh(&c, a.refresh, &a), 401, "refresh_reused");
	expect(caller_call(&c, "GET", "/auth/sessions", s.access, NULL), 200,
	    NULL);
	struct json_object *notices =
	    json_object_object_get(c.answer, "notices");
	cr_assert_eq(json_object_array_length(notices), 1);
	struct json_object *notice = json_object_array_get_idx(notices, 0);
	cr_expect_str_eq(TEXT(notice, "kind"), "refresh_reused");
	cr_expect_str_eq(TEXT(notice, "session_id"), a.session_id);
	snprintf(path, sizeof path, "/auth/notices/%s", TEXT(notice, "id"));
	struct signed_in stranger;
	caller_register(&c, &stranger);
	expect(caller_call(&c, "DELETE", path, stranger.access, NULL), 404,
	    "not_found");
	expect(caller_call(&c, "DELETE", path, s.access, NULL), 204, NULL);
	expect(caller_call(&c, "DELETE", path, s.access, NULL), 404, NULL);
}

Test(accounts, keeps_the_newest_20_notices)
{
	for (int i = 0; i < 22; i++)
		auth_sql("SELECT auth.notice_add('%s', 'password_changed',"
			 " NULL)",
		    s.user_id);
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.notices WHERE"
				 " user_id = '%s'",
			 s.user_id),
	    20);
}

/* ---- leaving ---- */

Test(accounts, n21_leaving_takes_a_fresh_proof_and_ends_everything)
{
	struct signed_in other = another();
	cr_assert_eq(caller_verify(&c, other.access), 204);
	age(&s, "16 min");
	expect(caller_call(&c, "DELETE", "/me", s.access, NULL), 403,
	    "reauth_required");
	expect(reauth(s.access, PASSWORD), 204, NULL);
	expect(caller_call(&c, "DELETE", "/me", s.access, NULL), 204, NULL);
	expect(caller_verify(&c, s.access), 401, "session_revoked");
	expect(caller_verify(&c, other.access), 401, "session_revoked");
	expect(login(PASSWORD), 401, "invalid_credentials");
	cr_expect_eq(auth_number("SELECT (SELECT count(*) FROM auth.users"
				 " WHERE id = '%s') + (SELECT count(*) FROM"
				 " auth.sessions WHERE user_id = '%s')",
			 s.user_id, s.user_id),
	    0);
}

/* ---- invitations ---- */

#define CODE "k3v9p-w2x7q-8m4tz-h6n5r"

/* Makes an invitation with CODE for this test alone. */
static void
invite(const char *code, int uses, const char *life)
{
	unsigned char hash[INVITE_HASH];
	char hex[2 * INVITE_HASH + 1];
	invite_hash(code, hash);
	(void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
	auth_sql("INSERT INTO auth.invites (id, code_hash, uses_max,"
		 " expires_at) VALUES (gen_random_uuid(), '\\x%s', %d,"
		 " now() + interval '%s')",
	    hex, uses, life);
}

static int
enrol(const char *invite_json)
{
	char id[ID_TEXT], body[512];
	id_make(id);
	snprintf(body, sizeof body,
	    "{\"username\":\"i-%s\",\"password\":\"" PASSWORD "\"%s}", id,
	    invite_json);
	return caller_call(&c, "POST", "/auth/register", NULL, body);
}

Test(accounts, an_invitation_makes_as_many_accounts_as_it_says)
{
	c.config.registration = (char *)"invite";
	invite(CODE, 2, "1 day");
	uint64_t before = pg_round_trips(c.services.pg);
	expect(enrol(",\"invite\":\"" CODE "\""), 201, NULL);
	cr_expect_eq(pg_round_trips(c.services.pg) - before, 2);
	expect(enrol(",\"invite\":\" K3V9P W2X7Q 8M4TZ H6N5R \""), 201, NULL);
	expect(enrol(",\"invite\":\"" CODE "\""), 403, "invite_invalid");
}

Test(accounts, without_a_good_invitation_nothing_is_hashed)
{
	char missing[] = "/nonexistent";
	invite("over-over-over", 1, "-1 s");
	c.config.registration = (char *)"invite";
	c.config.run_dir = missing; /* hashing would fail otherwise */
	expect(enrol(""), 403, "invite_invalid");
	expect(enrol(",\"invite\":null"), 403, "invite_invalid");
	expect(enrol(",\"invite\":\"\""), 403, "invite_invalid");
	expect(enrol(",\"invite\":\"xxxxx-xxxxx\""), 403, "invite_invalid");
	expect(enrol(",\"invite\":\"over-over-over\""), 403, "invite_invalid");
	expect(enrol(",\"invite\":7"), 422, "invalid_field");
	c.config.run_dir = c.run_dir;
}

Test(accounts, a_taken_username_uses_no_invitation)
{
	char body[256];
	invite("taken-taken", 1, "1 day");
	c.config.registration = (char *)"invite";
	snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD
	    "\",\"invite\":\"taken-taken\"}",
	    s.username);
	expect(caller_call(&c, "POST", "/auth/register", NULL, body), 409,
	    "username_taken");
	expect(enrol(",\"invite\":\"taken-taken\""), 201, NULL);
}

#define RACERS 8

static struct caller racers[RACERS];

static void *
race(void *arg)
{
	struct caller *me = arg;
	char id[ID_TEXT], body[256];
	id_make(id);
	snprintf(body, sizeof body,
	    "{\"username\":\"r-%s\",\"password\":\"" PASSWORD
	    "\",\"invite\":\"race-race\"}",
	    id);
	(void)caller_call(me, "POST", "/auth/register", NULL, body);
	return NULL;
}

Test(accounts, one_invitation_makes_one_account_however_many_race_for_it)
{
	pthread_t threads[RACERS];
	int made = 0, refused = 0;
	invite("race-race", 1, "1 day");
	for (int i = 0; i < RACERS; i++) {
		caller_open(&racers[i], NULL);
		racers[i].config.registration = (char *)"invite";
	}
	for (int i = 0; i < RACERS; i++)
		pthread_create(&threads[i], NULL, race, &racers[i]);
	for (int i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < RACERS; i++) {
		made += racers[i].rep.status == 201;
		refused += racers[i].rep.status == 403;
		caller_close(&racers[i]);
	}
	cr_expect_eq(made, 1);
	cr_expect_eq(refused, RACERS - 1);
}

/* ---- rights ---- */

Test(accounts, the_daemons_role_reaches_none_of_it_by_hand)
{
	static const char *const refused[] = {
	    "SELECT key FROM auth.login_throttle",
	    "DELETE FROM auth.login_throttle",
	    "SELECT code_hash FROM auth.invites",
	    "INSERT INTO auth.notices (user_id) VALUES (gen_random_uuid())",
	    "UPDATE auth.notices SET kind = 'password_changed'",
	    "SELECT auth.throttle_take('', NULL, 'account')",
	    "SELECT auth.throttle_take_address('', 1)",
	    "SELECT auth.notice_add(gen_random_uuid(), '', NULL)",
	    "SELECT auth.session_is_fresh(gen_random_uuid(),"
	    " gen_random_uuid())",
	    "SELECT auth.invite_admin_create(gen_random_uuid(), '', 1, 1, '')",
	    "SELECT auth.invite_admin_list()",
	    "SELECT auth.invite_admin_delete(gen_random_uuid())",
	    "SELECT auth.user_admin_unlock('x')",
	    "SELECT auth.user_admin_delete('x')",
	};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		cr_expect_str_eq(auth_try("natter_app", "%s", refused[i]),
		    "42501", "%s", refused[i]);
}

/* ---- leaving ---- */

static int
leave(const struct signed_in *who, const char *scope)
{
	char body[64];
	snprintf(body, sizeof body, "{\"scope\":\"%s\"}", scope);
	return caller_call(&c, "POST", "/auth/logout", who->access, body);
}

Test(accounts, the_others_end_after_a_fresh_proof_only)
{
	struct signed_in other = another();
	age(&s, "16 minutes");
	expect(leave(&s, "others"), 403, "reauth_required");
	cr_expect_eq(caller_verify(&c, other.access), 204);
	expect(on_session("DELETE", &s, other.session_id, NULL), 403,
	    "reauth_required");
	expect(reauth(s.access, PASSWORD), 204, NULL);
	expect(leave(&s, "others"), 204, NULL);
	cr_expect_eq(caller_verify(&c, other.access), 401);
	cr_expect_eq(caller_verify(&c, s.access), 204);
}

Test(accounts, all_end_without_any_proof)
{
	struct signed_in other = another();
	age(&s, "16 minutes");
	expect(leave(&s, "all"), 204, NULL);
	cr_expect_eq(caller_verify(&c, other.access), 401);
	cr_expect_eq(caller_verify(&c, s.access), 401);
}
