/*
 * Members of a site signing in with its tokens, against a real Postgres and a
 * JWKS server on loopback. What makes a token good or bad is test_site_token's;
 * here is what becomes of the good, and that the bad leave no trace.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/auth_world.h"
#include "../support/jwks_server.h"
#include "../support/site_idp.h"
#include "auth/throttle.h"
#include "base/clock.h"
#include "base/id.h"
#include "store/pg.h"

#define CROWD  50
#define HEADER "{\"alg\":\"ES256\",\"kid\":\"e1\"}"

static struct caller c;
static struct jwks_server server;
static struct evp_pkey_st *key;
static char *jwks;
static char sub[ID_TEXT]; /* a member whom nobody has seen */

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_exchange_test"))
		exit(1);
}

static void
setup(void)
{
	caller_open(&c, NULL);
	key = idp_key(IDP_P256);
	char *jwk = idp_jwk(key, "e1", "");
	jwks = idp_jwks(jwk, NULL);
	free(jwk);
	jwks_server_start(&server, jwks);
	caller_use_site(&c, server.url);
	id_make(sub);
}

static void
teardown(void)
{
	caller_close(&c);
	if (!server.is_ending)
		jwks_server_stop(&server);
	idp_key_free(key);
	free(jwks);
}

TestSuite(exchange, .init = setup, .fini = teardown, .timeout = 60);

static uint64_t
trips(void)
{
	return pg_round_trips(c.services.pg);
}

/* A token of the member `who`, now; `extra` are further claims. */
static char *
token_of(const char *who, const char *extra)
{
	long now = (long)time(NULL);
	char *claims = idp_text("{\"iss\":\"" SITE_ISSUER
				"\",\"aud\":\"natter\",\"sub\":\"%s\","
				"\"iat\":%ld,\"exp\":%ld%s}",
	    who, now, now + 60, extra);
	char *token = idp_sign(key, HEADER, claims);
	free(claims);
	return token;
}

static int
exchange_by(struct caller *caller, char *token)
{
	char *body = idp_text("{\"token\":\"%s\"}", token);
	int status = caller_call(caller, "POST", "/auth/exchange", NULL, body);
	free(body);
	free(token);
	return status;
}

static int
exchange(char *token)
{
	return exchange_by(&c, token);
}

static int64_t
users_of(const char *who)
{
	return auth_number(
	    "SELECT count(*) FROM auth.users WHERE external_id = '%s'", who);
}

Test(exchange, a_member_becomes_a_user_with_a_session)
{
	char access[2049];
	cr_assert_eq(
	    exchange(token_of(sub, ",\"preferred_username\":\"Ada Love\","
				   "\"name\":\"Ada Lovelace\"")),
	    200);
	cr_expect_str_eq(caller_text(&c, "user.username"), "ada-love");
	cr_expect_str_eq(caller_text(&c, "user.role"), "user");
	cr_expect_str_eq(caller_text(&c, "token_type"), "Bearer");
	cr_expect_eq(strlen(caller_text(&c, "refresh_token")), 72);
	snprintf(access, sizeof access, "%s", caller_text(&c, "access_token"));
	cr_expect_eq(caller_verify(&c, access), 204);
	cr_expect_eq(caller_call(&c, "GET", "/me", access, NULL), 200);
	cr_expect_str_eq(caller_text(&c, "display_name"), "Ada Lovelace");
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.users WHERE"
				 " issuer = '" SITE_ISSUER "'"
				 " AND external_id = '%s'"
				 " AND password_hash IS NULL"
				 " AND last_login_at IS NOT NULL",
			 sub),
	    1);
}

Test(exchange, works_whatever_registration_says)
{
	c.config.registration = (char *)"closed";
	cr_expect_eq(exchange(token_of(sub, "")), 200);
}

Test(exchange, the_same_member_is_the_same_user_under_the_sites_newest_name)
{
	char user_id[ID_TEXT], session_id[ID_TEXT];
	cr_assert_eq(exchange(token_of(sub, ",\"preferred_username\":\"grace\","
					    "\"name\":\"Grace\"")),
	    200);
	snprintf(user_id, sizeof user_id, "%s", caller_text(&c, "user.id"));
	snprintf(
	    session_id, sizeof session_id, "%s", caller_text(&c, "session_id"));
	cr_assert_eq(
	    exchange(token_of(sub, ",\"preferred_username\":\"hopper\","
				   "\"name\":\"Grace Hopper\"")),
	    200);
	cr_expect_str_eq(caller_text(&c, "user.id"), user_id);
	cr_expect_str_eq(caller_text(&c, "user.username"), "grace");
	cr_expect_str_neq(caller_text(&c, "session_id"), session_id);
	cr_assert_eq(exchange(token_of(sub, "")), 200);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.users WHERE id = '%s'"
			" AND display_name = 'Grace Hopper'",
		user_id),
	    1, "and a token without one leaves it");
}

Test(exchange, the_sites_time_zone_is_taken_where_the_user_has_none)
{
	static const struct {
		const char *claim, *want;
	} rows[] = {
	    {",\"zoneinfo\":\"Mars/Olympus\"", "-"},
	    {",\"zoneinfo\":7", "-"},
	    {"", "-"},
	    {",\"zoneinfo\":\"Asia/Tokyo\"", "Asia/Tokyo"},
	    {",\"zoneinfo\":\"Europe/Berlin\"", "Asia/Tokyo"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cr_assert_eq(exchange(token_of(sub, rows[i].claim)), 200);
		cr_expect_eq(auth_number("SELECT count(*) FROM auth.users WHERE"
					 " external_id = '%s'"
					 " AND coalesce(time_zone, '-') = '%s'",
				 sub, rows[i].want),
		    1, "%zu", i);
	}
}

Test(exchange, leaves_rows_in_the_audit_log)
{
	cr_assert_eq(exchange(token_of(sub, ",\"name\":\"Ada\"")), 200);
	cr_assert_eq(exchange(token_of(sub, ",\"name\":\"Ada L\"")), 200);
	/* The site speaks for its member: one statement finds and signs in. */
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.users u WHERE external_id ="
			" '%s' AND (SELECT string_agg(action || ' by ' ||"
			" actor_kind || ' ' || host(ip) || ' ' || request_id,"
			" ', ' ORDER BY l.id) FROM audit.log l"
			" WHERE l.user_id = u.id) ="
			" 'user.create by system 192.0.2.7 test,"
			" session.create by system 192.0.2.7 test,"
			" user.update by system 192.0.2.7 test,"
			" session.create by system 192.0.2.7 test'",
		sub),
	    1);
}

Test(exchange, usernames_are_made_unique_and_possible)
{
	static const struct {
		const char *claim, *want; /* NULL: the sub */
		bool is_ending_added;
	} rows[] = {
	    {"linus", "linus", false},
	    {"LINUS", "linus", true},
	    {"  linus t  ", "linus-t", false},
	    {"", NULL, false},
	    {"a\\u200bb", NULL, false},
	    {"x12345678901234567890123456789012345678901234567890123456789012"
	     "34567890",
		"x12345678901234567890123456789012345678901234567890123456",
		false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char who[ID_TEXT];
		id_make(who);
		char *extra =
		    idp_text(",\"preferred_username\":\"%s\"", rows[i].claim);
		cr_assert_eq(exchange(token_of(who, extra)), 200, "%zu: %s", i,
		    c.req.why ? c.req.why : "");
		free(extra);
		const char *got = caller_text(&c, "user.username");
		const char *want = rows[i].want ? rows[i].want : who;
		cr_expect_eq(strncmp(got, want, strlen(want)), 0, "%s", got);
		cr_expect_eq(strlen(got) - strlen(want),
		    rows[i].is_ending_added ? 7 : 0, "%s", got);
	}
}

/* A site must not be able to hand out somebody's account here. */
Test(exchange, a_username_of_our_own_is_not_taken_over)
{
	struct signed_in own;
	caller_register(&c, &own);
	char *extra = idp_text(",\"preferred_username\":\"%s\"", own.username);
	cr_assert_eq(exchange(token_of(sub, extra)), 200);
	free(extra);
	cr_expect_str_neq(caller_text(&c, "user.id"), own.user_id);
	cr_expect_str_neq(caller_text(&c, "user.username"), own.username);
}

Test(exchange, is_two_round_trips)
{
	cr_assert_eq(exchange(token_of(sub, "")), 200);
	uint64_t before = trips();
	cr_assert_eq(exchange(token_of(sub, "")), 200);
	cr_expect_eq(trips() - before, 2);
	cr_expect_eq(server.hits, 1);
}

struct member {
	pthread_t thread;
	pthread_barrier_t *gate;
	int status;
	char user_id[ID_TEXT];
};

static void *
arrive(void *arg)
{
	struct member *m = arg;
	struct caller own;
	caller_open(&own, NULL);
	caller_use_site(&own, server.url);
	cr_assert_eq(pg_connect(own.services.pg), OK);
	char *token = token_of(sub, ",\"preferred_username\":\"crowd\"");
	pthread_barrier_wait(m->gate);
	m->status = exchange_by(&own, token);
	const char *id = caller_text(&own, "user.id");
	snprintf(m->user_id, sizeof m->user_id, "%s", id ? id : "");
	caller_close(&own);
	return NULL;
}

Test(exchange, fifty_first_exchanges_at_once_make_one_user)
{
	static struct member m[CROWD];
	pthread_barrier_t gate;
	pthread_barrier_init(&gate, NULL, CROWD);
	for (int i = 0; i < CROWD; i++) {
		m[i].gate = &gate;
		cr_assert_eq(
		    pthread_create(&m[i].thread, NULL, arrive, &m[i]), 0);
	}
	for (int i = 0; i < CROWD; i++)
		pthread_join(m[i].thread, NULL);
	for (int i = 0; i < CROWD; i++) {
		cr_expect_eq(m[i].status, 200, "%d: %d", i, m[i].status);
		cr_expect_str_eq(m[i].user_id, m[0].user_id);
	}
	cr_expect_eq(users_of(sub), 1);
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.sessions WHERE"
				 " user_id = '%s' AND revoked_at IS NULL",
			 m[0].user_id),
	    10);
}

Test(exchange, fifty_new_members_of_one_name_become_fifty_users)
{
	for (int i = 0; i < CROWD; i++) {
		id_make(sub);
		cr_expect_eq(
		    exchange(token_of(sub, ",\"preferred_username\":\"anna\"")),
		    200);
	}
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.users WHERE"
				 " username LIKE 'anna%%'"),
	    CROWD);
}

/* ---- refusals ---- */

static void
expect(int status, const char *code, int got)
{
	cr_expect_eq(got, status, "%d", got);
	cr_expect_str_eq(caller_code(&c), code);
}

Test(exchange, is_off_until_a_site_is_configured)
{
	c.config.exchange_issuer = (char *)"";
	expect(403, "exchange_off", exchange(token_of(sub, "")));
	cr_expect_eq(trips(), 0);
	cr_expect_eq(server.hits, 0);
}

Test(exchange, a_bad_token_leaves_no_trace)
{
	struct evp_pkey_st *ours = key, *other = idp_key(IDP_P256);
	key = other;
	char *forged = token_of(sub, "");
	key = ours;
	idp_key_free(other);
	cr_assert_eq(pg_connect(c.services.pg), OK);
	uint64_t before = trips();
	expect(401, "identity_invalid", exchange(forged));
	cr_expect_null(caller_header(&c, "WWW-Authenticate"));
	cr_expect_not_null(c.req.why);
	cr_expect_null(strstr(c.rep.body, "signature"), "not told outside");
	cr_expect_eq(trips() - before, 1, "the address was charged");
	expect(401, "identity_invalid", exchange(strdup("")));
	expect(401, "identity_invalid", exchange(strdup("a.b")));
	cr_expect_eq(trips() - before, 1, "but not for what is no token");
	cr_expect_eq(users_of(sub), 0);
}

/* ---- too many ---- */

/* A token of the site whose last character is another one. */
static char *
spoilt(void)
{
	char *token = token_of(sub, "");
	char *last = strrchr(token, '.') + 1;
	*last = *last == 'A' ? 'B' : 'A';
	return token;
}

Test(exchange, failures_of_an_address_are_throttled)
{
	c.config.exchange_address_rate = 4;
	c.ip = "198.51.100.9";
	for (int i = 0; i < 4; i++)
		expect(401, "identity_invalid", exchange(spoilt()));
	uint64_t before = trips();
	expect(429, "rate_limited", exchange(spoilt()));
	cr_expect_eq(trips() - before, 1);
	const char *wait = caller_header(&c, "Retry-After");
	cr_assert_not_null(wait);
	cr_expect(atol(wait) >= 1 && atol(wait) <= 15, "%s", wait);
	expect(429, "rate_limited", exchange(token_of(sub, "")));
	cr_expect_eq(users_of(sub), 0);
	c.ip = "198.51.100.10";
	cr_expect_eq(exchange(token_of(sub, "")), 200);
	c.ip = "198.51.100.9";
	expect(429, "rate_limited", exchange(token_of(sub, "")));
	const char *bucket;
	cr_assert_eq(throttle_exchange_key(&c.req, &bucket), OK);
	auth_sql("UPDATE auth.login_throttle SET ready_at = ready_at -"
		 " interval '1 minute' WHERE kind = 'address' AND key = '%s'",
	    bucket);
	cr_expect_eq(exchange(token_of(sub, "")), 200);
}

Test(exchange, what_succeeds_is_not_counted)
{
	c.config.exchange_address_rate = 2;
	c.ip = "2001:db8:7:7::1";
	for (int i = 0; i < 9; i++)
		cr_assert_eq(exchange(token_of(sub, "")), 200, "%d", i);
	expect(401, "identity_invalid", exchange(spoilt()));
	c.ip = "2001:db8:7:7:8::1"; /* the same /64 */
	expect(401, "identity_invalid", exchange(spoilt()));
	expect(429, "rate_limited", exchange(spoilt()));
}

Test(exchange, a_keys_outage_uses_up_nobodys_tries)
{
	c.config.exchange_address_rate = 2;
	c.ip = "198.51.100.11";
	jwks_server_stop(&server);
	for (int i = 0; i < 5; i++)
		expect(503, "unavailable", exchange(token_of(sub, "")));
}

Test(exchange, can_go_without_a_throttle)
{
	c.config.exchange_address_rate = 0;
	for (int i = 0; i < 5; i++)
		expect(401, "identity_invalid", exchange(spoilt()));
	cr_expect_eq(trips(), 0);
	cr_assert_eq(pg_connect(c.services.pg), OK);
	uint64_t before = trips();
	cr_expect_eq(exchange(token_of(sub, "")), 200);
	cr_expect_eq(trips() - before, 1);
}

/* ---- in a browser ---- */

static int
exchange_by_cookie(void)
{
	char *token = token_of(sub, "");
	char *body = idp_text("{\"token\":\"%s\",\"cookie\":true}", token);
	int status = caller_call(&c, "POST", "/auth/exchange", NULL, body);
	free(body);
	free(token);
	return status;
}

Test(exchange, a_browser_gets_cookies)
{
	static const char *const names[] = {
	    "__Host-rt=", "__Host-at=", "__Host-did="};
	size_t n = 0;
	c.natter_client = "web";
	c.sec_fetch_site = "same-origin";
	cr_assert_eq(exchange_by_cookie(), 200);
	cr_expect_null(caller_text(&c, "refresh_token"));
	cr_expect_not_null(caller_text(&c, "access_token"));
	for (size_t i = 0; i < c.rep.n_headers; i++) {
		for (size_t k = 0; k < 3; k++)
			n += strncmp(c.rep.headers[i].value, names[k],
				 strlen(names[k])) == 0;
	}
	cr_expect_eq(n, 3);
}

Test(exchange, n32_a_page_of_another_site_cannot_sign_its_user_in)
{
	c.natter_client = "web";
	c.sec_fetch_site = "cross-site";
	expect(403, "csrf_failed", exchange_by_cookie());
	c.sec_fetch_site = "same-origin";
	c.natter_client = NULL;
	expect(403, "csrf_failed", exchange_by_cookie());
	cr_expect_eq(users_of(sub), 0);
	cr_expect_eq(trips(), 0);
}

Test(exchange, an_old_token_is_expired)
{
	long now = (long)time(NULL);
	char *claims =
	    idp_text("{\"iss\":\"" SITE_ISSUER "\",\"aud\":[\"x\",\"natter\"],"
		     "\"sub\":\"%s\",\"iat\":%ld,\"exp\":%ld}",
		sub, now - 100, now - 31);
	expect(
	    401, "identity_expired", exchange(idp_sign(key, HEADER, claims)));
	free(claims);
	cr_expect_eq(users_of(sub), 0);
}

Test(exchange, our_own_access_tokens_are_no_identities)
{
	struct signed_in own;
	caller_register(&c, &own);
	expect(401, "identity_invalid", exchange(strdup(own.access)));
	expect(401, "identity_invalid", exchange(strdup(own.refresh)));
}

Test(exchange, a_sites_token_is_no_access_token)
{
	char *token = token_of(sub, "");
	cr_expect_eq(caller_verify(&c, token), 401);
	cr_expect_str_eq(caller_code(&c), "token_invalid");
	free(token);
}

Test(exchange, a_disabled_member_is_refused_and_told)
{
	char access[2049];
	cr_assert_eq(exchange(token_of(sub, ",\"name\":\"Before\"")), 200);
	snprintf(access, sizeof access, "%s", caller_text(&c, "access_token"));
	auth_sql("SELECT * FROM auth.user_admin_set_disabled('%s', true)",
	    caller_text(&c, "user.username"));
	expect(403, "user_disabled",
	    exchange(token_of(sub, ",\"name\":\"After\"")));
	cr_expect_eq(caller_verify(&c, access), 401);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.users WHERE"
			" external_id = '%s' AND display_name = 'Before'",
		sub),
	    1);
}

Test(exchange, without_the_sites_keys_it_is_unavailable)
{
	jwks_server_stop(&server);
	expect(503, "unavailable", exchange(token_of(sub, "")));
	cr_expect_not_null(caller_header(&c, "Retry-After"));
	cr_expect_not_null(c.req.why);
	cr_expect_eq(users_of(sub), 0);
}

Test(exchange, without_postgres_it_is_unavailable)
{
	caller_use_postgres(&c, "host=/nonexistent");
	expect(503, "unavailable", exchange(token_of(sub, "")));
	cr_expect_not_null(caller_header(&c, "Retry-After"));
}

Test(exchange, names_the_field_that_is_wrong)
{
	static const struct {
		const char *body, *field;
	} rows[] = {
	    {"{}", "token"},
	    {"{\"token\":7}", "token"},
	    {"{\"token\":null}", "token"},
	    {"{\"token\":\"x\",\"device\":\"\"}", "device"},
	    {"{\"token\":\"x\",\"remember\":1}", "remember"},
	    {"{\"token\":\"x\",\"role\":\"admin\"}", "role"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cr_expect_eq(caller_call(&c, "POST", "/auth/exchange", NULL,
				 rows[i].body),
		    422);
		cr_expect_str_eq(caller_text(&c, "field"), rows[i].field);
	}
	cr_expect_eq(trips(), 0);
}

Test(exchange, a_body_larger_than_any_token_is_refused_unread)
{
	char *body = idp_text("{\"token\":\"%20000s\"}", "");
	cr_expect_eq(
	    caller_call(&c, "POST", "/auth/exchange", NULL, body), 413);
	free(body);
}

Test(exchange, keeps_what_the_client_says_of_the_session)
{
	char *token = token_of(sub, "");
	char *body = idp_text("{\"token\":\"%s\",\"device\":\"Club page\","
			      "\"remember\":false}",
	    token);
	cr_assert_eq(
	    caller_call(&c, "POST", "/auth/exchange", NULL, body), 200);
	cr_expect_eq(
	    auth_number("SELECT count(*) FROM auth.sessions WHERE id = '%s'"
			" AND device_name = 'Club page'"
			" AND NOT is_remembered",
		caller_text(&c, "session_id")),
	    1);
	free(body);
	free(token);
}

Test(exchange, the_daemon_cannot_make_members_itself)
{
	cr_expect_str_eq(
	    auth_try("natter_app", "SELECT auth.user_of_site(gen_random_uuid(),"
				   " 'x', 'y', 'z', NULL)"),
	    "", "through the function alone");
	cr_expect_str_eq(
	    auth_try("natter_app",
		"UPDATE auth.users SET external_id = 'x', issuer = 'y'"),
	    "42501");
}
