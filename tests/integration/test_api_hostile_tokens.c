/*
 * Hostile access tokens through nginx: Authorization headers and bodies as an
 * attacker sends them, most of them with a MAC that is right. Numbers in the
 * names are those of the adversarial list; the exact second of a limit is the
 * unit tests', which hold the clock.
 */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "auth/access_token.h"
#include "base/arena.h"
#include "base/keyring.h"
#include "raw_http.h"
#include "ring.h"
#include "stack_shared.h"

#define HEADER "{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}"
#define PEM                                              \
	"-----BEGIN PUBLIC KEY-----\n"                   \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqwxv1Jb1\n" \
	"-----END PUBLIC KEY-----\n"

static struct stack stack;
static struct arena *arena;
static struct keyring *ring;
static struct person person;
static struct access_claims mine; /* of the person's token */
static pid_t workers[8];
static size_t n_workers;
static char ring_path[] = "/tmp/natter-ring-XXXXXX";

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	const struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};
	int fd = mkstemp(ring_path);

	(void)tests;
	if (fd < 0 || write(fd, RING_TEXT, strlen(RING_TEXT)) < 0)
		abort();
	fchmod(fd, 0400);
	close(fd);
	setenv("NATTER_KEYS_FILE", ring_path, 1);
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
	unlink(ring_path);
}

static void
setup(void)
{
	struct access_rules rules = {
	    .issuer = "natter", .audience = "chat-api"};

	stack_take(&stack);
	n_workers = stack_workers(&stack, workers, 8);
	arena = arena_new((size_t)16 << 20);
	ring = ring_of(RING_TEXT);
	rules.keys = ring;
	person_make(&stack, &person);
	cr_assert_eq(
	    access_token_verify(&rules, person.token, time(NULL), &mine), OK);
}

static void
teardown(void)
{
	struct ask ask = {.base = stack.base,
	    .path = "/api/v1/auth/verify",
	    .token = person.token};
	struct answer a;

	http_ask(&ask, &a);
	cr_expect_eq(a.status, 204, "the person's own token");
	answer_clear(&a);
	for (size_t i = 0; i < n_workers; i++)
		cr_expect(process_runs(workers[i]), "a worker died");
	keyring_free(ring);
	arena_free(arena);
}

TestSuite(hostile, .init = setup, .fini = teardown, .timeout = 120);

/* ---- making tokens, without the code under test ---- */

static const char *
base64url(const void *p, size_t n)
{
	const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
	size_t size = sodium_base64_encoded_len(n, variant);

	return sodium_bin2base64(arena_alloc(arena, size), size, p, n, variant);
}

static const char *
sign_with(const char *header, const char *claims, const void *key, size_t n_key)
{
	crypto_auth_hmacsha256_state state;
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	const char *text =
	    arena_printf(arena, "%s.%s", base64url(header, strlen(header)),
		base64url(claims, strlen(claims)));

	crypto_auth_hmacsha256_init(&state, key, n_key);
	crypto_auth_hmacsha256_update(
	    &state, (const unsigned char *)text, strlen(text));
	crypto_auth_hmacsha256_final(&state, mac);
	return arena_printf(arena, "%s.%s", text, base64url(mac, sizeof(mac)));
}

/* With the access key that natterd derives from `kid`. */
static const char *
sign(const char *kid, const char *header, const char *claims)
{
	unsigned char key[KEYRING_BYTES];
	int i = keyring_find(ring, kid);

	cr_assert_geq(i, 0);
	keyring_derive(ring, (size_t)i, KEY_FOR_ACCESS, key);
	return sign_with(header, claims, key, sizeof(key));
}

/* The person's claims as JSON, some of them replaced (NULL: as they are). */
struct change {
	const char *what;
	const char *aud, *exp, *iat, *iss, *use;
	const char *more; /* ",\"nbf\":…" */
	const char *code; /* NULL: 204 */
};

static const char *
or_own(const char *value, const char *own)
{
	return value != NULL ? value : own;
}

static const char *
claims_of(const struct change *c)
{
	int64_t now = time(NULL);

	return arena_printf(arena,
	    "{\"aud\":%s,\"exp\":%s,\"iat\":%s,\"iss\":%s,\"jti\":\"%s\""
	    ",\"sid\":\"%s\",\"sub\":\"%s\",\"ue\":%d,\"use\":%s%s}",
	    or_own(c->aud, "\"chat-api\""),
	    or_own(c->exp, arena_printf(arena, "%lld", (long long)now + 500)),
	    or_own(c->iat, arena_printf(arena, "%lld", (long long)now - 10)),
	    or_own(c->iss, "\"natter\""), mine.jti, mine.session_id,
	    mine.user_id, (int)mine.epoch, or_own(c->use, "\"access\""),
	    or_own(c->more, ""));
}

static const char *
own_claims(void)
{
	return claims_of(&(struct change){NULL});
}

/* ---- sending them ---- */

static void
expect(const char *token, const char *code, const char *what)
{
	static const char *const paths[] = {
	    "/api/v1/auth/verify", "/api/v1/me"};

	for (size_t i = 0; i < 2; i++) {
		struct ask ask = {
		    .base = stack.base, .path = paths[i], .token = token};
		struct answer a;

		http_ask(&ask, &a);
		cr_expect_eq(a.status,
		    code != NULL ? 401
		    : i == 0     ? 204
				 : 200,
		    "%s: %ld %s", what, a.status, a.body.p);
		cr_expect_str_eq(answer_text(&a, "code"),
		    code != NULL ? code : "", "%s", what);
		answer_clear(&a);
	}
}

static void
expect_rows(const struct change *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect(sign("k1", HEADER, claims_of(&rows[i])), rows[i].code,
		    rows[i].what);
}

#define EXPECT_ROWS(rows) expect_rows(rows, sizeof(rows) / sizeof((rows)[0]))

Test(hostile, a_true_one_is_taken)
{
	expect(sign("k1", HEADER, own_claims()), NULL, "own");
	expect(sign("k0", "{\"alg\":\"HS256\",\"kid\":\"k0\",\"typ\":\"JWT\"}",
		   own_claims()),
	    NULL, "the previous key's");
}

Test(hostile, n15_the_header_is_ours_or_it_is_refused)
{
	static const char *const headers[] = {
	    "{\"alg\":\"none\",\"kid\":\"k1\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"None\",\"kid\":\"k1\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"hs256\",\"kid\":\"k1\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS512\",\"kid\":\"k1\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"kid\":\"k1\","
	    "\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"jku\":\"https://evil.example/jwks\","
	    "\"kid\":\"k1\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"kid\":\"k0\",\"typ\":\"JWT\"}", /* another's
								   */
	    "{\"alg\":\"HS256\",\"kid\":\"k9\",\"typ\":\"JWT\"}",
	    "{\"kid\":\"k1\",\"alg\":\"HS256\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{}", "[]", "null", ""};
	const char *claims = own_claims();

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		const char *token = sign("k1", headers[i], claims);

		expect(token, "token_invalid", headers[i]);
		/* Without its MAC, as `none` wants it. */
		expect(arena_printf(arena, "%.*s",
			   (int)(strrchr(token, '.') - token) + 1, token),
		    "token_invalid", headers[i]);
		/* With no key at all, as /dev/null would be. */
		expect(sign_with(headers[i], claims, "", 0), "token_invalid",
		    headers[i]);
	}
}

Test(hostile, n16_a_mac_by_a_public_key_is_none)
{
	static const char *const headers[] = {HEADER,
	    "{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}"};

	for (size_t i = 0; i < 3; i++)
		expect(sign_with(headers[i], own_claims(), PEM, strlen(PEM)),
		    "token_invalid", headers[i]);
}

Test(hostile, n17_the_end_is_a_number_and_near)
{
	const char *now = arena_printf(arena, "%lld", (long long)time(NULL));
	const struct change rows[] = {
	    {.what = "exp is now", .exp = now, .code = "token_expired"},
	    {.what = "exp is a string",
		.exp =
		    arena_printf(arena, "\"%lld\"", (long long)time(NULL) + 9),
		.code = "token_invalid"},
	    {.what = "exp is a real",
		.exp =
		    arena_printf(arena, "%lld.5", (long long)time(NULL) + 99),
		.code = "token_invalid"},
	    {.what = "exp is null", .exp = "null", .code = "token_invalid"},
	    {.what = "exp in 10 years",
		.exp = arena_printf(
		    arena, "%lld", (long long)time(NULL) + 315360000),
		.code = "token_invalid"},
	    {.what = "nbf 1e12",
		.more = ",\"nbf\":1000000000000",
		.code = "token_invalid"},
	};
	char *claims;

	usleep(200000); /* whoever's clock it is, `now` has begun */
	EXPECT_ROWS(rows);
	claims = arena_strdup(arena, own_claims());
	memcpy(strstr(claims, "\"exp\""), "\"exq\"", 5);
	expect(sign("k1", HEADER, claims), "token_invalid", "no exp");
}

Test(hostile, n18_the_beginning_may_be_30_s_ahead)
{
	long long now = time(NULL);
	const struct change rows[] = {
	    {.what = "iat +29 s", .iat = arena_printf(arena, "%lld", now + 29)},
	    {.what = "iat +60 s",
		.iat = arena_printf(arena, "%lld", now + 60),
		.code = "token_invalid"},
	    {.what = "iat is a string",
		.iat = "\"1\"",
		.code = "token_invalid"},
	};

	EXPECT_ROWS(rows);
}

Test(hostile, n19_it_is_meant_for_us)
{
	static const struct change rows[] = {
	    {.what = "aud", .aud = "\"web\"", .code = "token_invalid"},
	    {.what = "array", .aud = "[\"chat-api\"]", .code = "token_invalid"},
	    {.what = "iss", .iss = "\"evil\"", .code = "token_invalid"},
	    {.what = "csrf", .use = "\"csrf\"", .code = "token_invalid"},
	    {.what = "no aud", .aud = "null", .code = "token_invalid"},
	};

	EXPECT_ROWS(rows);
}

Test(hostile, n20_what_is_not_three_segments_is_no_token)
{
	const char *token = sign("k1", HEADER, own_claims());
	const char *claims = strchr(token, '.'), *mac = strrchr(token, '.');
	const char *const rows[] = {"..", ".", "...", "....",
	    arena_printf(arena, "%s.x", token),
	    arena_printf(arena, "x.%s", token),
	    arena_printf(arena, ".%s", token),
	    arena_printf(arena, "..%s", token),
	    arena_printf(arena, ".%s", claims + 1), /* no header */
	    arena_printf(arena, "%.*s.%s", (int)(claims - token), token, mac),
	    arena_printf(arena, "%.*s", (int)(mac - token) + 1, token),
	    arena_printf(arena, "%s==", token),
	    arena_printf(arena, "%s\xc3\xa9", token)};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(rows[i], "token_invalid", rows[i]);
}

/* A token of so many bytes, right but for its length. */
static char *
long_token(size_t n)
{
	const char *token = sign("k1", HEADER, own_claims());
	size_t head = strcspn(token, ".") + 1;
	char *text = malloc(n + 1);

	cr_assert(text != NULL && n > strlen(token));
	memcpy(text, token, head);
	memset(text + head, 'A', n - head);
	memcpy(text + n - 44, strrchr(token, '.'), 44);
	text[n] = '\0';
	return text;
}

/* As Authorization: natterd sees what nginx lets through, and says no. */
Test(hostile, n20_long_tokens_in_headers)
{
	static const size_t sizes[] = {2049, 8000, 15000};

	for (size_t i = 0; i < 3; i++) {
		char *token = long_token(sizes[i]);
		struct ask ask = {
		    .base = stack.base, .path = "/api/v1/me", .token = token};
		struct answer a;

		http_ask(&ask, &a);
		cr_expect(a.status == 401 || a.status == 431, "%zu: %ld %s",
		    sizes[i], a.status, a.body.p);
		answer_clear(&a);
		free(token);
	}
}

Test(hostile, n20_a_token_of_9_mb_in_a_header_or_a_body)
{
	static const char *const heads[] = {
	    "GET /api/v1/me HTTP/1.1\r\nAuthorization: Bearer ",
	    "GET /api/v1/auth/verify HTTP/1.1\r\nCookie: __Host-at="};
	char *token = long_token((size_t)9 << 20);
	const char *const paths[] = {"/api/v1/auth/refresh",
	    "/api/v1/auth/exchange", "/api/v1/auth/login"};

	for (size_t i = 0; i < 2; i++) {
		struct buf b = {0};
		struct answer a;

		buf_printf(&b, "%s%s\r\nHost: x\r\nConnection: close\r\n\r\n",
		    heads[i], token);
		raw_ask(stack.port, b.p, b.n, &a);
		/* nginx's own refusal, or its hanging up while we still send.
		 */
		cr_expect(a.status == 400 || a.status == 0, "%ld", a.status);
		answer_clear(&a);
		buf_free(&b);
	}
	for (size_t i = 0; i < 3; i++) {
		struct buf b = {0};
		struct ask ask = {
		    .method = "POST", .base = stack.base, .path = paths[i]};
		struct answer a;

		/* More than nginx takes, and more than natterd does. */
		for (size_t n = (size_t)9 << 20; n > (size_t)1 << 20; n /= 8) {
			buf_clear(&b);
			buf_printf(
			    &b, "{\"refresh_token\":\"%.*s\"}", (int)n, token);
			ask.json = b.p;
			http_ask(&ask, &a);
			cr_expect(
			    a.status == 413 || a.status == 0, "%ld", a.status);
			answer_clear(&a);
		}
		buf_free(&b);
	}
	free(token);
}
