/*
 * Sessions in a browser's cookies, against a real Postgres and a real Redis,
 * called as the front calls. The cookie jar is the test's own, so that it can
 * do what no browser would.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/auth_world.h"
#include "api/api.h"
#include "auth/refresh.h"
#include "store/pg.h"
#include "store/redis.h"

#define SET "Set-Cookie"
#define RT  "__Host-rt"
#define AT  "__Host-at"
#define DID "__Host-did"
#define APP "https://app.example.com"

static struct caller c;

/* What a browser keeps of the answers. */
static struct {
	char rt[128], at[2049], did[64];
	char header[4096];
} jar;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_browser_test"))
		exit(1);
}

static void
setup(void)
{
	caller_open(&c, NULL);
	c.sec_fetch_site = "same-origin";
	c.natter_client = "web";
	c.config.origins = (char *)APP;
	memset(&jar, 0, sizeof jar);
}

static void
teardown(void)
{
	caller_close(&c);
}

TestSuite(browser, .init = setup, .fini = teardown);

/* The Set-Cookie of a name in the last answer, NULL when there is none. */
static const char *
given(const char *name)
{
	for (size_t i = 0; i < c.rep.n_headers; i++) {
		const char *value = c.rep.headers[i].value;
		size_t n = strlen(name);
		if (strcmp(c.rep.headers[i].name, SET) == 0 &&
		    strncmp(value, name, n) == 0 && value[n] == '=')
			return value;
	}
	return NULL;
}

static size_t
count_given(void)
{
	size_t n = 0;
	for (size_t i = 0; i < c.rep.n_headers; i++)
		n += strcmp(c.rep.headers[i].name, SET) == 0;
	return n;
}

static void
keep(const char *name, char *to, size_t room)
{
	const char *text = given(name);
	if (text)
		snprintf(to, room, "%.*s",
		    (int)strcspn(text + strlen(name) + 1, ";"),
		    text + strlen(name) + 1);
}

static size_t
add(size_t n, const char *name, const char *value)
{
	if (!*value)
		return n;
	return n + (size_t)snprintf(jar.header + n, sizeof jar.header - n,
		       "%s%s=%s", n ? "; " : "", name, value);
}

/* Keeps what the last answer gave and sends it with the next calls. */
static void
use_jar(void)
{
	keep(RT, jar.rt, sizeof jar.rt);
	keep(AT, jar.at, sizeof jar.at);
	keep(DID, jar.did, sizeof jar.did);
	jar.header[0] = '\0';
	size_t n = add(0, "theme", "\"dark, wide\"");
	n = add(n, RT, jar.rt);
	n = add(n, AT, jar.at);
	(void)add(n, DID, jar.did);
	c.cookie = jar.header;
}

static int
enter(const char *path, const char *username, const char *more)
{
	char body[256];
	snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD
	    "\",\"cookie\":true%s}",
	    username, more);
	int status = caller_call(&c, "POST", path, NULL, body);
	use_jar();
	return status;
}

/* A new user, signed in by cookie; the name. */
static const char *
enter_new(const char *more)
{
	static char username[64];
	char id[ID_TEXT];
	id_make(id);
	snprintf(username, sizeof username, "b-%s", id);
	cr_assert_eq(
	    enter("/auth/register", username, more), 201, "%s", c.rep.body);
	return username;
}

static int
refresh(void)
{
	int status =
	    caller_call(&c, "POST", "/auth/refresh", NULL, "{\"cookie\":true}");
	use_jar();
	return status;
}

static int
page(void)
{
	return caller_call(&c, "GET", "/auth/verify", NULL, NULL);
}

static uint64_t
trips(void)
{
	return pg_round_trips(c.services.pg);
}

static void
expect_code(int status, int want, const char *code)
{
	cr_expect_eq(status, want, "%d", status);
	cr_expect_str_eq(caller_code(&c), code);
}

static void
expect_taken_back(void)
{
	cr_expect_str_eq(given(RT) ? given(RT) : "",
	    RT "=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
	cr_expect_str_eq(given(AT) ? given(AT) : "",
	    AT "=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
	cr_expect_null(given(DID), "the device keeps its id");
}

static int64_t
generation(const char *session_id)
{
	return auth_number(
	    "SELECT rt_gen FROM auth.sessions WHERE id = '%s'", session_id);
}

/* ---- signing in ---- */

Test(browser, signing_in_gives_three_cookies_and_no_refresh_token)
{
	enter_new("");
	cr_expect_eq(count_given(), 3);
	cr_expect_null(caller_text(&c, "refresh_token"));
	cr_expect_not_null(caller_text(&c, "session_id"));
	cr_expect_str_eq(caller_text(&c, "access_token"), jar.at);
	cr_expect_eq(strlen(jar.rt), 72);
	cr_expect_eq(strlen(jar.did), 22);
	cr_expect_null(strstr(c.rep.body, jar.rt));
	cr_expect_not_null(strstr(given(RT),
	    "; Path=/; Max-Age=1209600; Secure; HttpOnly; SameSite=Strict"));
	cr_expect_not_null(strstr(given(AT),
	    "; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"));
	cr_expect_not_null(strstr(given(DID),
	    "; Path=/; Max-Age=34560000; Secure; HttpOnly; SameSite=Strict"));
}

Test(browser, cookies_of_a_brief_session_go_with_the_browser)
{
	enter_new(",\"remember\":false");
	for (int i = 0; i < 2; i++) {
		cr_expect_not_null(strstr(given(RT), "; Path=/; Secure;"));
		cr_expect_not_null(strstr(given(AT), "; Path=/; Secure;"));
		cr_expect_not_null(strstr(given(DID), "; Max-Age=34560000;"));
		cr_expect_eq(refresh(), 200);
	}
}

Test(browser, the_device_keeps_its_id_over_sign_ins)
{
	char name[64], first[64];
	snprintf(name, sizeof name, "%s", enter_new(""));
	snprintf(first, sizeof first, "%s", jar.did);
	cr_expect_eq(enter("/auth/login", name, ""), 200);
	cr_expect_str_eq(jar.did, first);
	c.cookie = DID "=not-of-our-making";
	memset(&jar, 0, sizeof jar);
	cr_expect_eq(enter("/auth/login", name, ""), 200);
	cr_expect_eq(strlen(jar.did), 22);
	cr_expect_str_neq(jar.did, first);
}

Test(browser, without_cookie_true_no_cookie_is_given)
{
	struct signed_in s;
	caller_register(&c, &s);
	cr_expect_eq(count_given(), 0);
	cr_expect_eq(caller_refresh(&c, s.refresh, &s), 200);
	cr_expect_eq(count_given(), 0);
	cr_expect_eq(caller_call(&c, "POST", "/auth/login", NULL,
			 "{\"username\":\"x\",\"password\":\"y\","
			 "\"cookie\":\"yes\"}"),
	    422);
	cr_expect_str_eq(caller_text(&c, "field"), "cookie");
}

/* ---- refreshing ---- */

Test(browser, a_cookie_is_exchanged_in_one_round_trip)
{
	char first[128];
	enter_new("");
	snprintf(first, sizeof first, "%s", jar.rt);
	uint64_t before = trips();
	cr_assert_eq(refresh(), 200);
	cr_expect_eq(trips() - before, 1);
	cr_expect_eq(count_given(), 3);
	cr_expect_null(caller_text(&c, "refresh_token"));
	cr_expect_str_neq(jar.rt, first);
	cr_expect_str_eq(caller_text(&c, "access_token"), jar.at);
	cr_expect_eq(refresh(), 200);
}

Test(browser, n1_two_tabs_get_the_same_cookies)
{
	char rt[128], at[2049];
	enter_new("");
	char before[4096];
	snprintf(before, sizeof before, "%s", jar.header);
	cr_assert_eq(refresh(), 200);
	snprintf(rt, sizeof rt, "%s", jar.rt);
	snprintf(at, sizeof at, "%s", jar.at);
	c.cookie = before;
	cr_assert_eq(refresh(), 200);
	cr_expect_str_eq(jar.rt, rt);
	cr_expect_str_eq(jar.at, at);
}

Test(browser, n7_the_parent_from_another_browser_ends_the_session)
{
	char stolen[256];
	enter_new("");
	snprintf(stolen, sizeof stolen, RT "=%s; " DID "=%022d", jar.rt, 7);
	cr_assert_eq(refresh(), 200);
	c.cookie = stolen;
	expect_code(refresh(), 401, "refresh_reused");
	expect_taken_back();
}

Test(browser, one_mode_per_session)
{
	struct signed_in s;
	char body[256], cookie[256];
	enter_new("");
	char session[ID_TEXT];
	snprintf(session, sizeof session, "%s", caller_text(&c, "session_id"));
	/* Out of the cookie, by whatever way, it is worth nothing. */
	snprintf(body, sizeof body, "{\"refresh_token\":\"%s\"}", jar.rt);
	uint64_t before = trips();
	expect_code(caller_call(&c, "POST", "/auth/refresh", NULL, body), 401,
	    "refresh_invalid");
	cr_expect_eq(trips(), before);
	cr_expect_eq(generation(session), 0);
	cr_expect_eq(refresh(), 200, "and the session is unharmed");
	/* A body's token does not become a cookie's either. */
	caller_register(&c, &s);
	snprintf(cookie, sizeof cookie, RT "=%s", s.refresh);
	c.cookie = cookie;
	expect_code(
	    caller_call(&c, "POST", "/auth/refresh", NULL, "{\"cookie\":true}"),
	    401, "refresh_invalid");
	cr_expect_eq(generation(s.session_id), 0);
}

Test(browser, a_token_is_in_the_body_or_in_the_cookie)
{
	char body[256];
	enter_new("");
	snprintf(body, sizeof body,
	    "{\"cookie\":true,\"refresh_token\":\"%s\"}", jar.rt);
	cr_expect_eq(caller_call(&c, "POST", "/auth/refresh", NULL, body), 422);
	cr_expect_str_eq(caller_text(&c, "field"), "refresh_token");
	cr_expect_eq(caller_call(&c, "POST", "/auth/refresh", NULL, "{}"), 422);
	cr_expect_eq(caller_call(&c, "POST", "/auth/refresh", NULL,
			 "{\"cookie\":false}"),
	    422);
	cr_expect_eq(refresh(), 200);
}

Test(browser, n10_a_bad_cookie_costs_nothing_and_is_taken_back)
{
	static const char *const cookies[] = {NULL, "", "theme=dark", RT "=",
	    RT "=x", RT "=a; " RT "=b", RT "=\"quoted\"",
	    RT "=AQHs4wB2Y3h6fXN0dXZ3eHl6e3x9fn8wMTIzNDU2Nzg5Ojs8PT4/QEFCQ0"};
	for (size_t i = 0; i < sizeof cookies / sizeof *cookies; i++) {
		c.cookie = cookies[i];
		uint64_t before = trips();
		expect_code(caller_call(&c, "POST", "/auth/refresh", NULL,
				"{\"cookie\":true}"),
		    401, "refresh_invalid");
		cr_expect_eq(trips(), before);
		expect_taken_back();
	}
}

Test(browser, every_terminal_401_takes_the_cookies_back)
{
	static const struct {
		const char *set, *code;
	} rows[] = {
	    {"revoked_at = now()", "session_revoked"},
	    {"idle_expires_at = now()", "refresh_expired"},
	    {"rt_gen = 5", "refresh_reused"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		c.cookie = NULL;
		enter_new("");
		auth_sql("UPDATE auth.sessions SET %s WHERE id = '%s'",
		    rows[i].set, caller_text(&c, "session_id"));
		expect_code(refresh(), 401, rows[i].code);
		expect_taken_back();
	}
}

Test(browser, n24_an_outage_takes_nothing_back)
{
	enter_new("");
	caller_use_postgres(&c, "host=/nonexistent user=natter_app");
	expect_code(refresh(), 503, "unavailable");
	cr_expect_eq(count_given(), 0);
	caller_use_postgres(&c, c.app_url);
	cr_expect_eq(refresh(), 200);
}

/* ---- other sites ---- */

Test(browser, n32_a_page_of_another_site_cannot_use_the_cookies)
{
	static const struct {
		const char *site, *origin, *client;
		int want;
	} rows[] = {
	    {"cross-site", "https://evil.example", "web", 403},
	    {"same-site", "https://blog.example.com", "web", 403},
	    {"none", NULL, "web", 403},
	    {NULL, NULL, "web", 403},
	    {NULL, "null", "web", 403},
	    {"same-origin", NULL, NULL, 403},
	    {NULL, APP, "web", 200},
	    {"same-site", APP, "web", 200},
	};
	enter_new("");
	char session[ID_TEXT];
	snprintf(session, sizeof session, "%s", caller_text(&c, "session_id"));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t before = generation(session);
		c.sec_fetch_site = rows[i].site;
		c.origin = rows[i].origin;
		c.natter_client = rows[i].client;
		int status = refresh();
		cr_expect_eq(status, rows[i].want, "%zu: %d", i, status);
		cr_expect_eq(generation(session) - before, rows[i].want == 200,
		    "%zu", i);
		if (rows[i].want == 200)
			continue;
		cr_expect_str_eq(caller_code(&c), "csrf_failed");
		cr_expect_eq(count_given(), 0, "nothing is lost either");
		expect_code(caller_call(&c, "POST", "/auth/logout", NULL, "{}"),
		    403, "csrf_failed");
	}
}

Test(browser, n32_a_page_of_another_site_cannot_sign_its_user_in)
{
	char name[64];
	snprintf(name, sizeof name, "%s", enter_new(""));
	c.sec_fetch_site = "cross-site";
	c.origin = "https://evil.example";
	uint64_t before = trips();
	expect_code(enter("/auth/login", name, ""), 403, "csrf_failed");
	expect_code(enter("/auth/register", "csrf", ""), 403, "csrf_failed");
	cr_expect_eq(trips(), before, "and nothing is hashed");
}

Test(browser, a_form_cannot_log_anybody_out)
{
	enter_new("");
	/* api_route lets an empty body be of any type. */
	cr_assert_eq(page(), 204);
	c.req.method = HTTP_POST;
	c.req.path = "/api/v1/auth/logout";
	c.req.content_type = "application/x-www-form-urlencoded";
	c.rep = (struct reply){0};
	cr_assert_eq(api_route(&c.req, &c.rep, 0), OK);
	api_handle(&c.req, &c.rep);
	cr_expect_eq(c.rep.status, 403);
	cr_expect_eq(page(), 204);
}

/* ---- page loads ---- */

Test(browser, a_page_load_is_known_by_its_cookie_at_verify_alone)
{
	static const char *const others[] = {"/me", "/conversations"};
	char name[64];
	snprintf(name, sizeof name, "%s", enter_new(""));
	c.natter_client = NULL;
	c.sec_fetch_site = "cross-site"; /* a link from elsewhere */
	cr_assert_eq(page(), 204);
	cr_expect_str_eq(caller_header(&c, "X-Auth-User"), name);
	for (size_t i = 0; i < 2; i++)
		expect_code(caller_call(&c, "GET", others[i], NULL, NULL), 401,
		    "token_missing");
}

Test(browser, a_warm_page_load_asks_redis_once_and_postgres_never)
{
	enter_new("");
	cr_assert_eq(page(), 204);
	uint64_t pg = trips(), redis = redis_round_trips(c.services.redis);
	cr_assert_eq(page(), 204);
	cr_expect_eq(trips(), pg);
	cr_expect_eq(redis_round_trips(c.services.redis) - redis, 1);
}

Test(browser, a_bearer_counts_before_the_cookie_and_foreign_schemes_do_not)
{
	char first[64], token[2049];
	snprintf(first, sizeof first, "%s", enter_new(""));
	snprintf(token, sizeof token, "%s", jar.at);
	c.cookie = NULL;
	enter_new("");
	cr_assert_eq(caller_call(&c, "GET", "/auth/verify", token, NULL), 204);
	cr_expect_str_eq(caller_header(&c, "X-Auth-User"), first);
	expect_code(caller_call(&c, "GET", "/auth/verify", "x.y.z", NULL), 401,
	    "token_invalid");
	(void)page();
	c.req.authorization = "Basic dXNlcjpwYXNz";
	c.rep = (struct reply){0};
	api_handle(&c.req, &c.rep);
	cr_expect_eq(c.rep.status, 204);
}

Test(browser, a_refresh_token_opens_no_page_and_a_page_token_refreshes_nothing)
{
	char cookie[4096];
	enter_new("");
	snprintf(cookie, sizeof cookie, AT "=%s", jar.rt);
	c.cookie = cookie;
	expect_code(page(), 401, "token_invalid");
	snprintf(cookie, sizeof cookie, RT "=%s", jar.at);
	c.cookie = cookie;
	expect_code(
	    caller_call(&c, "POST", "/auth/refresh", NULL, "{\"cookie\":true}"),
	    401, "refresh_invalid");
}

/* ---- leaving ---- */

Test(browser, leaving_needs_the_refresh_cookie_alone_and_clears_all)
{
	enter_new("");
	cr_assert_eq(page(), 204);
	uint64_t before = trips();
	cr_expect_eq(caller_call(&c, "POST", "/auth/logout", NULL, NULL), 204);
	cr_expect_eq(trips() - before, 2);
	expect_taken_back();
	expect_code(page(), 401, "session_revoked");
	expect_code(caller_call(&c, "POST", "/auth/logout", NULL, "{}"), 401,
	    "session_revoked");
	expect_taken_back();
	expect_code(refresh(), 401, "session_revoked");
}

Test(browser, leaving_by_bearer_clears_the_cookies_of_that_session)
{
	struct signed_in s;
	enter_new("");
	caller_register(&c, &s);
	cr_expect_eq(
	    caller_call(&c, "POST", "/auth/logout", s.access, NULL), 204);
	cr_expect_eq(count_given(), 0, "the browser's is another session");
	cr_expect_eq(
	    caller_call(&c, "POST", "/auth/logout", jar.at, NULL), 204);
	expect_taken_back();
}

Test(browser, leaving_after_a_lost_answer_works_and_with_older_tokens_does_not)
{
	char first[4096], second[4096];
	enter_new("");
	snprintf(first, sizeof first, "%s", jar.header);
	cr_assert_eq(refresh(), 200);
	snprintf(second, sizeof second, "%s", jar.header);
	cr_assert_eq(refresh(), 200);
	c.cookie = first;
	expect_code(caller_call(&c, "POST", "/auth/logout", NULL, NULL), 401,
	    "refresh_invalid");
	c.cookie = second;
	cr_expect_eq(caller_call(&c, "POST", "/auth/logout", NULL, NULL), 204);
}

Test(browser, ending_the_others_keeps_the_cookies)
{
	char name[64], other[2049];
	snprintf(name, sizeof name, "%s", enter_new(""));
	snprintf(other, sizeof other, "%s", jar.at);
	cr_assert_eq(enter("/auth/login", name, ""), 200);
	cr_expect_eq(caller_call(&c, "POST", "/auth/logout", NULL,
			 "{\"scope\":\"others\"}"),
	    204);
	cr_expect_eq(count_given(), 0);
	cr_expect_eq(page(), 204);
	cr_expect_eq(caller_call(&c, "GET", "/auth/verify", other, NULL), 401);
}

/* ---- guesses ---- */

static int
guess(const char *username, const char *password)
{
	char body[256];
	snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"%s\",\"cookie\":true}",
	    username, password);
	return caller_call(&c, "POST", "/auth/login", NULL, body);
}

/* Guesses from browsers that nobody knows, until even the right one waits. */
static void
use_up_tries(const char *username)
{
	c.cookie = NULL;
	for (int i = 0; i < 5; i++)
		cr_assert_eq(guess(username, "wrong horse battery"), 401);
	cr_assert_eq(guess(username, PASSWORD), 429);
	cr_expect_str_eq(caller_code(&c), "login_throttled");
}

Test(browser, n28_a_browser_that_signed_in_before_waits_for_no_stranger)
{
	const char *username = enter_new("");
	use_up_tries(username);
	c.cookie = jar.header;
	cr_expect_eq(guess(username, PASSWORD), 200);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(guess(username, "wrong horse battery"), 401);
	cr_expect_eq(guess(username, PASSWORD), 429, "it has a bucket too");
}

Test(browser, n28_an_id_that_never_signed_in_is_a_stranger)
{
	const char *username = enter_new("");
	use_up_tries(username);
	c.cookie = DID "=AAAAAAAAAAAAAAAAAAAAAA";
	cr_expect_eq(guess(username, PASSWORD), 429);
}

Test(browser, n28_a_browser_is_known_for_its_own_user_alone)
{
	char first[64];
	snprintf(first, sizeof first, "%s", enter_new(""));
	memset(&jar, 0, sizeof jar);
	c.cookie = NULL;
	(void)enter_new("");
	use_up_tries(first);
	c.cookie = jar.header;
	cr_expect_eq(guess(first, PASSWORD), 429);
}

Test(browser, n28_a_new_password_keeps_the_browser_known)
{
	char access[2049];
	const char *username = enter_new("");
	snprintf(access, sizeof access, "%s", jar.at);
	cr_assert_eq(caller_call(&c, "POST", "/auth/password", access,
			 "{\"current_password\":\"" PASSWORD
			 "\",\"new_password\":\"the red fox sleeps late\"}"),
	    204);
	c.cookie = NULL;
	for (int i = 0; i < 5; i++)
		cr_assert_eq(guess(username, "wrong horse battery"), 401);
	cr_assert_eq(guess(username, "the red fox sleeps late"), 429);
	c.cookie = jar.header;
	cr_expect_eq(guess(username, "the red fox sleeps late"), 200);
}
