/*
 * Access tokens through a real nginx: what is no token, no longer one, or one
 * of somebody else's making is 401 with a challenge on every route that wants
 * one, and is told to nobody.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "api/api.h"
#include "api_row.h"
#include "auth/access_token.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/keyring.h"
#include "promises.h"
#include "ring.h"
#include "stack.h"

#define UNKNOWN "01a202fd-d1cc-7519-9764-8d9730152d47"

static struct api_caller caller;
static struct arena *arena;
static struct keyring *ring;      /* the stack's own */
static struct access_claims mine; /* of the caller's token */

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static void
setup(void)
{
	char why[KEYRING_WHY];
	struct access_rules rules = {
	    .issuer = "natter", .audience = "chat-api"};

	api_caller_make(&caller);
	arena = arena_new((size_t)1 << 20);
	cr_assert_eq(keyring_load(getenv("NATTER_KEYS_FILE"), &ring, why), OK,
	    "%s", why);
	rules.keys = ring;
	cr_assert_eq(
	    access_token_verify(&rules, caller.person.token, time(NULL), &mine),
	    OK);
}

static void
teardown(void)
{
	api_check_workers(&caller);
	keyring_free(ring);
	arena_free(arena);
}

TestSuite(tokens, .init = setup, .fini = teardown, .timeout = 120);

/* A token signed with `keys`, of the caller's claims as changed. */
static const char *
make(const struct keyring *keys, const char *issuer, const char *audience,
    const struct access_claims *claims)
{
	struct access_rules rules = {keys, issuer, audience};
	const char *token = NULL;

	cr_assert_eq(access_token_make(&rules, claims, arena, &token), OK);
	return token;
}

static const char *
base64url(const char *text)
{
	const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
	size_t size = sodium_base64_encoded_len(strlen(text), variant);

	return sodium_bin2base64(arena_alloc(arena, size), size,
	    (const unsigned char *)text, strlen(text), variant);
}

/* The caller's own claims under another header, with this for a MAC. */
static const char *
with_header(const char *header, const char *mac)
{
	const char *claims = strchr(caller.person.token, '.') + 1;

	return arena_printf(arena, "%s.%.*s.%s", base64url(header),
	    (int)strcspn(claims, "."), claims, mac);
}

static const char *
own_mac(void)
{
	return strrchr(caller.person.token, '.') + 1;
}

/* Asks with this Authorization header (NULL: none). */
static void
expect(const char *authorization, long status, const char *code)
{
	const char *const secrets[] = {authorization, NULL};
	struct api_row r = {.line = "GET " API "/me",
	    .status = status,
	    .code = code,
	    .is_nobody = true};
	struct answer a;

	if (authorization != NULL)
		r.headers =
		    arena_printf(arena, "Authorization: %s\r\n", authorization);
	api_row_send(&caller, &r, &a);
	api_row_check(&caller, &r, &a);
	if (code != NULL)
		cr_expect_str_eq(answer_header(&a, "WWW-Authenticate"),
		    strcmp(code, "token_missing") == 0
			? "Bearer"
			: "Bearer error=\"invalid_token\"",
		    "%s", authorization);
	if (authorization != NULL && strlen(authorization) > 60)
		cr_expect_null(leak(&a, secrets), "it is told again");
	answer_clear(&a);
}

static void
expect_bearer(const char *token, long status, const char *code)
{
	expect(arena_printf(arena, "Bearer %s", token), status, code);
}

Test(tokens, only_a_bearer_token_is_looked_at)
{
	static const char *const none[] = {NULL, "", "Bearer", "Bearer ",
	    "Basic dXNlcjpwYXNzd29yZA==", "Digest username=\"x\"", "Token x",
	    "Bearerx", "x"};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		expect(none[i], 401, "token_missing");
	expect_bearer(caller.person.token, 200, NULL);
	expect(
	    arena_printf(arena, "bearer %s", caller.person.token), 200, NULL);
	expect(
	    arena_printf(arena, "BEARER %s", caller.person.token), 200, NULL);
}

Test(tokens, garbage_is_invalid)
{
	const char *token = caller.person.token;
	size_t n = strlen(token);
	char *changed = arena_strdup(arena, token);
	static const char *const rows[] = {"x", "a.b.c", "..", "...", "null",
	    "eyJhbGciOiJIUzI1NiJ9.e30.", "\xff\xfe\xfd", "' OR 1=1 --", "{}",
	    "a b"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_bearer(rows[i], 401, "token_invalid");
	expect_bearer(caller.person.refresh, 401, "token_invalid");
	expect_bearer(arena_printf(arena, " %s", token), 401, "token_invalid");
	expect_bearer(arena_printf(arena, "%s.", token), 401, "token_invalid");
	expect_bearer(arena_printf(arena, "%s=", token), 401, "token_invalid");
	expect_bearer(
	    arena_printf(arena, "%s, %s", token, token), 401, "token_invalid");
	/* Every segment, one character at a time. */
	for (size_t i = 0; i < n; i += 7) {
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		if (changed[i] != token[i])
			expect_bearer(changed, 401, "token_invalid");
		changed[i] = token[i];
	}
	expect_bearer(changed, 200, NULL);
}

Test(tokens, a_header_that_chooses_the_algorithm_is_refused)
{
	static const char *const headers[] = {
	    "{\"alg\":\"none\",\"typ\":\"JWT\"}", "{\"alg\":\"None\"}",
	    "{\"alg\":\"\"}", "{}", "{\"alg\":\"HS512\"}",
	    "{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		expect_bearer(
		    with_header(headers[i], ""), 401, "token_invalid");
		expect_bearer(
		    with_header(headers[i], own_mac()), 401, "token_invalid");
	}
}

Test(tokens, a_signed_token_still_has_to_be_meant_for_us)
{
	struct keyring *other = ring_of(RING_TEXT);
	struct access_claims c = mine;
	int64_t now = time(NULL);

	expect_bearer(make(ring, "natter", "chat-api", &c), 200, NULL);
	expect_bearer(
	    make(other, "natter", "chat-api", &c), 401, "token_invalid");
	expect_bearer(
	    make(ring, "other", "chat-api", &c), 401, "token_invalid");
	expect_bearer(make(ring, "natter", "web", &c), 401, "token_invalid");
	c.issued_s = now - 700;
	c.expires_s = now - 1;
	expect_bearer(
	    make(ring, "natter", "chat-api", &c), 401, "token_expired");
	c.issued_s = now + 120;
	c.expires_s = now + 500;
	expect_bearer(
	    make(ring, "natter", "chat-api", &c), 401, "token_invalid");
	c.issued_s = now - 10;
	c.expires_s = now + 90000;
	expect_bearer(
	    make(ring, "natter", "chat-api", &c), 401, "token_invalid");
	c = mine;
	memcpy(c.session_id, UNKNOWN, sizeof(UNKNOWN));
	memcpy(c.jti, UNKNOWN, sizeof(UNKNOWN));
	expect_bearer(
	    make(ring, "natter", "chat-api", &c), 401, "session_revoked");
	c = mine;
	c.epoch += 1;
	memcpy(c.jti, UNKNOWN, sizeof(UNKNOWN));
	expect_bearer(
	    make(ring, "natter", "chat-api", &c), 401, "session_revoked");
	keyring_free(other);
}

/* The route's line, with something for each {…}. */
static const char *
line_of(const struct route *r)
{
	static const char *const names[] = {
	    "GET", "POST", "PATCH", "PUT", "DELETE"};
	const char *brace = strchr(r->pattern, '{');

	if (brace == NULL)
		return arena_printf(
		    arena, "%s %s", names[r->method], r->pattern);
	return arena_printf(arena, "%s %.*s%s%s", names[r->method],
	    (int)(brace - r->pattern), r->pattern, caller.person.conversation,
	    strchr(brace, '}') + 1);
}

Test(tokens, every_route_of_users_wants_one)
{
	size_t n = 0;

	for (size_t i = 0; i < api_routes.n; i++) {
		const struct route *route = &api_routes.routes[i];
		struct api_row r = {.line = line_of(route),
		    .status = 401,
		    .code = "token_missing",
		    .is_nobody = true};

		if (route->access == ACCESS_OPEN)
			continue;
		n++;
		api_row_run(&caller, &r);
		r.headers = "Authorization: Bearer a.b.c\r\n";
		r.code = "token_invalid";
		api_row_run(&caller, &r);
		/* Who may not ask is not told what is wrong with the body. */
		r.body = route->body_max > 0 ? "{\"x\":" : NULL;
		api_row_run(&caller, &r);
	}
	cr_expect_gt(n, 8);
}
