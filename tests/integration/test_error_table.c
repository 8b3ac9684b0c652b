/*
 * The table of errors that the specification gives to clients (5.6), line by
 * line through nginx: status, code, WWW-Authenticate, Retry-After, and which
 * answers take a browser's cookies back.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "stack.h"

#define PAGE    "X-Natter-Client: web", "Sec-Fetch-Site: same-origin"
#define REFRESH "/api/v1/auth/refresh"
#define LOGIN   "/api/v1/auth/login"
#define INVALID "Bearer error=\"invalid_token\""

static struct stack stack;
static struct person p;
static struct answer a;

static void
setup(void)
{
	const struct stack_options o = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_ACCESS_TTL=10",
		"CHAT_HASH_SLOTS=1", "CHAT_EXCHANGE_ISSUER=https://club",
		"CHAT_EXCHANGE_ALGORITHMS=HS256",
		"CHAT_EXCHANGE_SECRET=more than thirty-two bytes of secret",
		"CHAT_EXCHANGE_ADDRESS_RATE=1"}};

	stack_start(&stack, &o);
	person_make(&stack, &p);
}

static void
teardown(void)
{
	answer_clear(&a);
	stack_stop(&stack);
}

TestSuite(errors, .init = setup, .fini = teardown, .timeout = 120);

static const char *
header(const char *name)
{
	const char *value = answer_header(&a, name);

	return value != NULL ? value : "";
}

static void
call(struct ask ask)
{
	ask.base = stack.base;
	answer_clear(&a);
	http_ask(&ask, &a);
}

/* `challenge` "": none. */
static void
expect(long status, const char *code, const char *challenge)
{
	cr_expect_eq(a.status, status, "%s: %ld", code, a.status);
	cr_expect_str_eq(answer_text(&a, "code"), code);
	cr_expect_str_eq(header("WWW-Authenticate"), challenge, "%s", code);
	cr_expect_str_eq(header("Content-Type"), "application/problem+json");
	cr_expect_str_eq(header("Cache-Control"), "no-store", "%s", code);
	cr_expect_eq(*header("Retry-After") != '\0',
	    status == 429 || status == 503, "%s", code);
}

/* Are both cookies of the session taken back? */
static void
expect_cookies_gone(bool yes)
{
	cr_expect_eq(strstr(a.head.p, "__Host-rt=; ") != NULL, yes);
	cr_expect_eq(strstr(a.head.p, "__Host-at=; ") != NULL, yes);
}

/* Signs in by cookie; writes the Cookie header. */
static void
enter(char *out, size_t size)
{
	char json[256];
	const char *at;

	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"correct horse %s\","
	    "\"cookie\":true}",
	    p.username, p.username + strlen("person-"));
	call((struct ask){
	    .method = "POST", .path = LOGIN, .json = json, .headers = {PAGE}});
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	at = strstr(a.head.p, "__Host-rt=");
	cr_assert_not_null(at);
	snprintf(out, size, "Cookie: %.*s", (int)strcspn(at, ";"), at);
}

static void
refresh(const char *cookie)
{
	call((struct ask){.method = "POST",
	    .path = REFRESH,
	    .json = "{\"cookie\":true}",
	    .headers = {PAGE, cookie}});
}

static void
end_sessions(const char *sql)
{
	char nothing[8];

	db_value(sql, p.user_id, nothing, sizeof(nothing));
}

static bool
is_told_otherwise(void *code)
{
	call((struct ask){.path = "/api/v1/me", .token = p.token});
	return strcmp(answer_text(&a, "code"), code) != 0;
}

Test(errors, of_access_tokens)
{
	call((struct ask){.path = "/api/v1/me"});
	expect(401, "token_missing", "Bearer");
	call((struct ask){.path = "/api/v1/me", .token = "x.y.z"});
	expect(401, "token_invalid", INVALID);
	call((struct ask){.path = "/api/v1/me", .token = "nk_x"});
	expect(401, "key_invalid", INVALID);
	call((struct ask){.method = "POST",
	    .path = "/api/v1/auth/logout",
	    .token = p.token,
	    .json = "{}"});
	cr_assert_eq(a.status, 204);
	call((struct ask){.path = "/api/v1/me", .token = p.token});
	expect(401, "session_revoked", INVALID);
	cr_expect(wait_until(
	    is_told_otherwise, (void *)(uintptr_t) "session_revoked", 30000));
	expect(401, "token_expired", INVALID);
}

Test(errors, of_refresh_tokens_are_final_and_take_the_cookies_back)
{
	char first[256], cookie[256];

	refresh("Cookie: __Host-rt=garbage");
	expect(401, "refresh_invalid", "");
	expect_cookies_gone(true);

	enter(first, sizeof(first));
	refresh(first);
	cr_assert_eq(a.status, 200);
	snprintf(cookie, sizeof(cookie), "Cookie: %.*s",
	    (int)strcspn(strstr(a.head.p, "__Host-rt="), ";"),
	    strstr(a.head.p, "__Host-rt="));
	refresh(cookie);
	cr_assert_eq(a.status, 200);
	refresh(first);
	expect(401, "refresh_reused", "");
	expect_cookies_gone(true);
	refresh(cookie);
	expect(401, "session_revoked", INVALID);
	expect_cookies_gone(true);

	enter(cookie, sizeof(cookie));
	end_sessions("UPDATE auth.sessions SET idle_expires_at = created_at"
		     " WHERE user_id = $1 RETURNING 1");
	refresh(cookie);
	expect(401, "refresh_expired", "");
	expect_cookies_gone(true);
}

Test(errors, of_passwords_are_the_same_for_everybody)
{
	char json[256], known[1024];

	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"wrong horse battery\"}",
	    p.username);
	call((struct ask){.method = "POST", .path = LOGIN, .json = json});
	expect(401, "invalid_credentials", "");
	snprintf(known, sizeof(known), "%s", answer_text(&a, "detail"));
	call((struct ask){.method = "POST",
	    .path = LOGIN,
	    .json = "{\"username\":\"nobody-here\",\"password\":\"x\"}"});
	expect(401, "invalid_credentials", "");
	cr_expect_str_eq(answer_text(&a, "detail"), known);
	for (int i = 0; i < 4; i++)
		call((struct ask){
		    .method = "POST", .path = LOGIN, .json = json});
	call((struct ask){.method = "POST", .path = LOGIN, .json = json});
	expect(429, "login_throttled", "");
	cr_expect(atoi(header("Retry-After")) >= 25 &&
		  atoi(header("Retry-After")) <= 30);
}

Test(errors, that_forbid)
{
	char cookie[256];

	enter(cookie, sizeof(cookie));
	call((struct ask){.method = "POST",
	    .path = REFRESH,
	    .json = "{\"cookie\":true}",
	    .headers = {"Sec-Fetch-Site: cross-site", cookie}});
	expect(403, "csrf_failed", "");
	expect_cookies_gone(false);
	end_sessions("UPDATE auth.sessions SET auth_time = now() - interval"
		     " '16 minutes' WHERE user_id = $1 RETURNING 1");
	call((struct ask){
	    .method = "DELETE", .path = "/api/v1/me", .token = p.token});
	expect(403, "reauth_required", "");
}

Test(errors, of_limits)
{
	static const char *const tokens[] = {
	    "{\"token\":\"eyJhbGciOiJIUzI1NiJ9.e30.AAAA\"}",
	    "{\"token\":\"eyJhbGciOiJIUzI1NiJ9.e30.BBBB\"}"};

	for (int i = 0; i < 2; i++)
		call((struct ask){.method = "POST",
		    .path = "/api/v1/auth/exchange",
		    .json = tokens[i]});
	expect(429, "rate_limited", "");
	cr_expect(atoi(header("Retry-After")) >= 1 &&
		  atoi(header("Retry-After")) <= 60);
}

/* Its Retry-After is one of 1, 2 and 3. */
static unsigned
wait_bit(void)
{
	int s = atoi(header("Retry-After"));

	cr_expect(s >= 1 && s <= 3, "%d", s);
	return 1U << s;
}

Test(errors, of_a_server_that_cannot_come_jittered)
{
	char path[128], cookie[256];
	unsigned seen = 0;
	int fd;

	enter(cookie, sizeof(cookie));
	snprintf(path, sizeof(path), "%s/hash-0.lock", stack.dir);
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0666);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	call((struct ask){.method = "POST",
	    .path = LOGIN,
	    .json = "{\"username\":\"x\",\"password\":\"y\"}"});
	expect(503, "busy", "");
	(void)wait_bit();
	close(fd);
	stack_end_natterd(&stack, SIGTERM);
	for (int i = 0; i < 40; i++) {
		refresh(cookie);
		expect(503, "unavailable", "");
		expect_cookies_gone(false);
		seen |= wait_bit();
	}
	cr_expect_eq(seen, 14U, "nginx's own differ, too: %x", seen);
}

Test(unable, n24_without_postgres_503_comes_jittered)
{
	const struct stack_options o = {
	    .database_url = "postgresql://natter_app@/natter?host=/nonexistent",
	    .may_be_unready = true};
	unsigned seen = 0;

	stack_start(&stack, &o);
	for (int i = 0; i < 40; i++) {
		call((struct ask){.method = "POST",
		    .path = LOGIN,
		    .json = "{\"username\":\"x\",\"password\":\"y\"}"});
		expect(503, "unavailable", "");
		seen |= wait_bit();
	}
	cr_expect_eq(seen, 14U, "%x", seen);
	teardown();
}
