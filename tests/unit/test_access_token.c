/*
 * Access tokens: what is made verifies, and everything that differs from it in
 * any way is refused. Numbers in the names are those of the adversarial list
 * of the specification. Forged tokens are built here from bytes, without the
 * code under test.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/ring.h"
#include "auth/access_token.h"
#include "base/arena.h"
#include "base/keyring.h"

#define NOW  1000000
#define USER "01890000-0000-7000-8000-000000000001"
#define SID  "01890000-0000-7000-8000-000000000002"
#define JTI  "01890000-0000-7000-8000-000000000003"

#define HEADER_OF(kid) "{\"alg\":\"HS256\",\"kid\":\"" kid "\",\"typ\":\"JWT\"}"
#define HEADER         HEADER_OF("k1")

/* Claims as libjwt writes them, each value given as JSON. */
#define CLAIMS(aud, exp, iat, iss, jti, sid, sub, ue, use)              \
	"{\"aud\":" aud ",\"exp\":" exp ",\"iat\":" iat ",\"iss\":" iss \
	",\"jti\":" jti ",\"sid\":" sid ",\"sub\":" sub ",\"ue\":" ue   \
	",\"use\":" use "}"
#define AUD     "\"chat-api\""
#define EXP     "1000500"
#define IAT     "999900"
#define ISS     "\"natter\""
#define QJTI    "\"" JTI "\""
#define QSID    "\"" SID "\""
#define QUSER   "\"" USER "\""
#define UE      "7"
#define USE     "\"access\""
#define REST    ISS, QJTI, QSID, QUSER, UE, USE
#define C_(...) CLAIMS(__VA_ARGS__)
#define GOOD    C_(AUD, EXP, IAT, REST)

static struct keyring *ring;
static struct arena *arena;
static struct access_rules rules;

static void
setup(void)
{
	cr_assert_geq(sodium_init(), 0);
	ring = ring_of(RING_TEXT);
	arena = arena_new(1 << 20);
	rules = (struct access_rules){ring, "natter", "chat-api"};
}

static void
teardown(void)
{
	arena_free(arena);
	keyring_free(ring);
}

TestSuite(access_token, .init = setup, .fini = teardown);

static char *
base64url(const void *p, size_t n)
{
	const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
	size_t size = sodium_base64_encoded_len(n, variant);
	return sodium_bin2base64(arena_alloc(arena, size), size, p, n, variant);
}

/* header.claims.MAC with any HMAC key of any length. */
static const char *
forge_with(const char *header, const char *claims, const void *key, size_t n)
{
	crypto_auth_hmacsha256_state s;
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	char *text =
	    arena_printf(arena, "%s.%s", base64url(header, strlen(header)),
		base64url(claims, strlen(claims)));
	crypto_auth_hmacsha256_init(&s, key, n);
	crypto_auth_hmacsha256_update(
	    &s, (const unsigned char *)text, strlen(text));
	crypto_auth_hmacsha256_final(&s, mac);
	return arena_printf(arena, "%s.%s", text, base64url(mac, sizeof mac));
}

/* The same with the real key of `kid`: only the content is hostile. */
static const char *
forge(const char *kid, const char *header, const char *claims)
{
	unsigned char key[KEYRING_BYTES];
	keyring_derive(
	    ring, (size_t)keyring_find(ring, kid), KEY_FOR_ACCESS, key);
	return forge_with(header, claims, key, sizeof key);
}

static enum err
verify(const char *token)
{
	struct access_claims c;
	return access_token_verify(&rules, token, NOW, &c);
}

static const struct access_claims sample = {
    .user_id = USER,
    .session_id = SID,
    .jti = JTI,
    .issued_s = NOW - 100,
    .expires_s = NOW + 500,
    .epoch = 7,
};

static const char *
make(const struct access_claims *c)
{
	const char *token = NULL;
	cr_assert_eq(access_token_make(&rules, c, arena, &token), OK);
	return token;
}

Test(access_token, what_is_made_verifies_and_says_the_same)
{
	struct access_claims c;
	const char *token = make(&sample);
	cr_assert_eq(access_token_verify(&rules, token, NOW, &c), OK);
	cr_expect_str_eq(c.user_id, USER);
	cr_expect_str_eq(c.session_id, SID);
	cr_expect_str_eq(c.jti, JTI);
	cr_expect_eq(c.issued_s, NOW - 100);
	cr_expect_eq(c.expires_s, NOW + 500);
	cr_expect_eq(c.epoch, 7);
}

Test(access_token, is_the_same_bytes_for_the_same_claims)
{
	cr_expect_str_eq(make(&sample), make(&sample));
	cr_expect_str_eq(make(&sample), forge("k1", HEADER, GOOD));
}

Test(access_token, accepts_every_key_of_the_ring_and_no_other)
{
	unsigned char stranger[KEYRING_BYTES] = {1};
	cr_expect_eq(verify(forge("k0", HEADER_OF("k0"), GOOD)), OK);
	cr_expect_eq(verify(forge("k1", HEADER_OF("k1"), GOOD)), OK);
	cr_expect_eq(verify(forge("k2", HEADER_OF("k2"), GOOD)), OK);
	cr_expect_eq(
	    verify(forge_with(HEADER, GOOD, stranger, sizeof stranger)),
	    ERR_TOKEN_INVALID);
}

struct hostile {
	const char *what;
	const char *header;
	const char *claims;
	enum err want;
};

#define BAD ERR_TOKEN_INVALID

/* Properly signed with k1: only the content is wrong. */
static const struct hostile hostile[] = {
    /* 15 */
    {"alg none", "{\"alg\":\"none\",\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD,
	BAD},
    {"alg None", "{\"alg\":\"None\",\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD,
	BAD},
    {"alg hs256", "{\"alg\":\"hs256\",\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD,
	BAD},
    {"alg HS512", "{\"alg\":\"HS512\",\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD,
	BAD},
    {"alg RS256", "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD,
	BAD},
    {"no alg", "{\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD, BAD},
    {"no kid", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", GOOD, BAD},
    {"no typ", "{\"alg\":\"HS256\",\"kid\":\"k1\"}", GOOD, BAD},
    {"typ at+jwt", "{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}",
	GOOD, BAD},
    {"crit",
	"{\"alg\":\"HS256\",\"crit\":[\"x\"],\"kid\":\"k1\",\"typ\":\"JWT\"}",
	GOOD, BAD},
    {"jku",
	"{\"alg\":\"HS256\",\"jku\":\"http://x/\",\"kid\":\"k1\",\"typ\":"
	"\"JWT\"}",
	GOOD, BAD},
    {"another order", "{\"typ\":\"JWT\",\"alg\":\"HS256\",\"kid\":\"k1\"}",
	GOOD, BAD},
    {"white space", "{\"alg\": \"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD,
	BAD},
    {"kid is a path", HEADER_OF("../../dev/null"), GOOD, BAD},
    {"kid of another key", HEADER_OF("k0"), GOOD, BAD},
    {"kid of no key", HEADER_OF("k9"), GOOD, BAD},
    {"kid is empty", HEADER_OF(""), GOOD, BAD},
    {"kid in another case", HEADER_OF("K1"), GOOD, BAD},
    {"header is no JSON", "x", GOOD, BAD},
    /* 17 */
    {"exp is now", HEADER, C_(AUD, "1000000", IAT, REST), ERR_TOKEN_EXPIRED},
    {"exp was", HEADER, C_(AUD, "999950", IAT, REST), ERR_TOKEN_EXPIRED},
    {"exp is a string", HEADER, C_(AUD, "\"1000500\"", IAT, REST), BAD},
    {"exp is a real", HEADER, C_(AUD, "1000500.0", IAT, REST), BAD},
    {"exp is true", HEADER, C_(AUD, "true", IAT, REST), BAD},
    {"exp is null", HEADER, C_(AUD, "null", IAT, REST), BAD},
    {"exp in 10 years", HEADER, C_(AUD, "316360000", IAT, REST), BAD},
    {"exp is huge", HEADER, C_(AUD, "99999999999999999999999", IAT, REST), BAD},
    {"exp is negative", HEADER, C_(AUD, "-1", IAT, REST), BAD},
    {"exp before iat", HEADER, C_(AUD, "999899", IAT, REST), BAD},
    {"life over an hour", HEADER, C_(AUD, "1003501", IAT, REST), BAD},
    {"nbf 1e12", HEADER,
	"{\"aud\":" AUD ",\"exp\":" EXP ",\"iat\":" IAT ",\"iss\":" ISS
	",\"jti\":" QJTI ",\"nbf\":1e12,\"sid\":" QSID ",\"sub\":" QUSER
	",\"ue\":7,\"use\":" USE "}",
	BAD},
    /* 18 */
    {"iat +31 s", HEADER, C_(AUD, "1000600", "1000031", REST), BAD},
    {"iat is a string", HEADER, C_(AUD, EXP, "\"999900\"", REST), BAD},
    {"iat is negative", HEADER, C_(AUD, EXP, "-1", REST), BAD},
    /* 19 */
    {"another aud", HEADER, C_("\"other\"", EXP, IAT, REST), BAD},
    {"aud is an array", HEADER, C_("[\"chat-api\"]", EXP, IAT, REST), BAD},
    {"aud ends early", HEADER, C_("\"chat-api\\u0000x\"", EXP, IAT, REST), BAD},
    {"another iss", HEADER,
	C_(AUD, EXP, IAT, "\"evil\"", QJTI, QSID, QUSER, UE, USE), BAD},
    {"iss is a number", HEADER,
	C_(AUD, EXP, IAT, "1", QJTI, QSID, QUSER, UE, USE), BAD},
    {"use csrf", HEADER,
	C_(AUD, EXP, IAT, ISS, QJTI, QSID, QUSER, UE, "\"csrf\""), BAD},
    {"jti is no id", HEADER,
	C_(AUD, EXP, IAT, ISS, "\"x\"", QSID, QUSER, UE, USE), BAD},
    {"jti in upper case", HEADER,
	C_(AUD, EXP, IAT, ISS, "\"01890000-0000-7000-8000-00000000000A\"", QSID,
	    QUSER, UE, USE),
	BAD},
    {"sid is a number", HEADER,
	C_(AUD, EXP, IAT, ISS, QJTI, "1", QUSER, UE, USE), BAD},
    {"sub holds a key's separator", HEADER,
	C_(AUD, EXP, IAT, ISS, QJTI, QSID,
	    "\"01890000-0000-7000-8000-000000000001}:x\"", UE, USE),
	BAD},
    {"ue is a string", HEADER,
	C_(AUD, EXP, IAT, ISS, QJTI, QSID, QUSER, "\"7\"", USE), BAD},
    {"ue is negative", HEADER,
	C_(AUD, EXP, IAT, ISS, QJTI, QSID, QUSER, "-1", USE), BAD},
    {"no ue", HEADER,
	"{\"aud\":" AUD ",\"exp\":" EXP ",\"iat\":" IAT ",\"iss\":" ISS
	",\"jti\":" QJTI ",\"sid\":" QSID ",\"sub\":" QUSER ",\"use\":" USE "}",
	BAD},
    {"no exp", HEADER,
	"{\"aud\":" AUD ",\"iat\":" IAT ",\"iss\":" ISS ",\"jti\":" QJTI
	",\"sid\":" QSID ",\"sub\":" QUSER ",\"ue\":7,\"use\":" USE "}",
	BAD},
    {"nine claims, one of them strange", HEADER,
	"{\"aud\":" AUD ",\"exp\":" EXP ",\"iat\":" IAT ",\"iss\":" ISS
	",\"jti\":" QJTI ",\"sid\":" QSID ",\"sub\":" QUSER
	",\"ue\":7,\"role\":\"admin\"}",
	BAD},
    {"a tenth claim", HEADER,
	"{\"aud\":" AUD ",\"exp\":" EXP ",\"iat\":" IAT ",\"iss\":" ISS
	",\"jti\":" QJTI ",\"role\":\"admin\",\"sid\":" QSID ",\"sub\":" QUSER
	",\"ue\":7,\"use\":" USE "}",
	BAD},
    {"claims are an array", HEADER, "[1,2,3,4,5,6,7,8,9]", BAD},
    {"claims are a string", HEADER, "\"claims\"", BAD},
    {"claims are empty", HEADER, "{}", BAD},
    {"claims are no JSON", HEADER, "{\"aud\":", BAD},
    {"claims and more", HEADER, GOOD "x", BAD},
};

Test(access_token, n15_to_n19_refuses_hostile_content_with_a_true_mac)
{
	size_t n = sizeof hostile / sizeof *hostile;
	cr_assert_geq(n, 30);
	for (size_t i = 0; i < n; i++) {
		const struct hostile *h = &hostile[i];
		enum err e = verify(forge("k1", h->header, h->claims));
		cr_expect_eq(e, h->want, "%s: %s", h->what, err_code(e));
	}
}

Test(access_token, n16_refuses_a_mac_by_a_public_key)
{
	static const char pem[] = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZI\n"
				  "-----END PUBLIC KEY-----\n";
	cr_expect_eq(
	    verify(forge_with(HEADER, GOOD, pem, sizeof pem - 1)), BAD);
	cr_expect_eq(verify(forge_with(HEADER, GOOD, "", 0)), BAD);
}

Test(access_token, n17_life_of_exactly_an_hour_is_accepted)
{
	cr_expect_eq(
	    verify(forge("k1", HEADER, C_(AUD, "1003500", IAT, REST))), OK);
}

Test(access_token, n17_dies_at_the_second_of_exp)
{
	struct access_claims c;
	const char *token = make(&sample);
	cr_expect_eq(
	    access_token_verify(&rules, token, sample.expires_s - 1, &c), OK);
	cr_expect_eq(access_token_verify(&rules, token, sample.expires_s, &c),
	    ERR_TOKEN_EXPIRED);
}

Test(access_token, n18_iat_may_be_30_s_ahead)
{
	cr_expect_eq(
	    verify(forge("k1", HEADER, C_(AUD, "1000600", "1000029", REST))),
	    OK);
	cr_expect_eq(
	    verify(forge("k1", HEADER, C_(AUD, "1000600", "1000030", REST))),
	    OK);
}

static const char *
segment(const char *token, int i)
{
	char *copy = arena_strdup(arena, token);
	char *s = NULL;
	for (int k = 0; k <= i; k++)
		s = strsep(&copy, ".");
	return s;
}

Test(access_token, n20_refuses_every_wrong_shape)
{
	const char *t = make(&sample);
	const char *h = segment(t, 0), *c = segment(t, 1), *m = segment(t, 2);
	const char *const shapes[] = {
	    "",
	    ".",
	    "..",
	    "...",
	    "a.b.c",
	    h,
	    arena_printf(arena, "%s.%s", h, c),
	    arena_printf(arena, "%s.%s.", h, c),
	    arena_printf(arena, "%s..%s", h, m),
	    arena_printf(arena, ".%s.%s", c, m),
	    arena_printf(arena, "%s.%s.%s.", h, c, m),
	    arena_printf(arena, "%s.%s.%s.%s", h, c, m, m),
	    arena_printf(arena, " %s", t),
	    arena_printf(arena, "%s ", t),
	    arena_printf(arena, "%s\n", t),
	    arena_printf(arena, "%s=", t),
	    arena_printf(arena, "%s.%s=.%s", h, c, m),
	    arena_printf(arena, "%s.%s.%.42s", h, c, m),
	    arena_printf(arena, "%s.%s.%sA", h, c, m),
	    arena_printf(arena, "%s.%s.%.42s+", h, c, m),
	    arena_printf(arena, "%s. %s.%s", h, c, m),
	    arena_printf(arena, "%s.%s\x80.%s", h, c, m),
	    arena_printf(arena, "%s.%s.%s", c, h, m),
	};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		cr_expect_eq(verify(shapes[i]), BAD, "%zu: %s", i, shapes[i]);
}

Test(access_token, n20_refuses_any_changed_character)
{
	const char *t = make(&sample);
	for (size_t i = 0; t[i]; i++) {
		char *copy = arena_strdup(arena, t);
		copy[i] = t[i] == 'A' ? 'B' : 'A';
		cr_expect_neq(verify(copy), OK, "character %zu", i);
	}
}

/* 43 characters carry 258 bits, two more than the MAC has. */
Test(access_token, has_one_spelling)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
				       "nopqrstuvwxyz0123456789-_";
	const char *t = make(&sample);
	size_t n = strlen(t);
	int accepted = 0;
	for (size_t i = 0; alphabet[i]; i++) {
		char *copy = arena_strdup(arena, t);
		copy[n - 1] = alphabet[i];
		accepted += verify(copy) == OK;
	}
	cr_expect_eq(accepted, 1);
}

Test(access_token, n20_reads_no_further_than_2048_bytes)
{
	const size_t n = 9 << 20;
	char *huge = malloc(n + 1);
	cr_assert_not_null(huge);
	memset(huge, 'a', n);
	huge[n] = '\0';
	cr_expect_eq(verify(huge), BAD);
	huge[100] = huge[200] = '.';
	cr_expect_eq(verify(huge), BAD);
	/* Of the right shape as far as it is read. */
	const char *header = segment(make(&sample), 0);
	memset(huge, 'A', n);
	memcpy(huge, header, strlen(header));
	huge[strlen(header)] = '.';
	huge[ACCESS_TOKEN_MAX - 43] = '.';
	cr_expect_eq(verify(huge), BAD);
	free(huge);
}

Test(access_token, is_never_made_longer_than_it_may_be)
{
	char issuer[2000];
	const char *token = NULL;
	memset(issuer, 'i', sizeof issuer - 1);
	issuer[sizeof issuer - 1] = '\0';
	rules.issuer = issuer;
	cr_expect_eq(
	    access_token_make(&rules, &sample, arena, &token), ERR_INTERNAL);
	cr_expect_null(token);
}

Test(access_token, other_installations_tokens_are_refused)
{
	const char *token = make(&sample);
	rules.issuer = "other";
	cr_expect_eq(verify(token), BAD);
	rules.issuer = "natter";
	rules.audience = "other";
	cr_expect_eq(verify(token), BAD);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* The allocation to fail, counted down from here; negative: none. */
static int fail_after = -1;

void *
malloc(size_t n)
{
	static void *(*real)(size_t);
	if (!real)
		real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	if (fail_after >= 0 && fail_after-- == 0)
		return NULL;
	return real(n);
}

/* libjwt 1.10.2 reports success when it cannot copy the key. */
Test(access_token, n20_a_failed_allocation_admits_nobody)
{
	unsigned char stranger[KEYRING_BYTES] = {1};
	const char *bad = forge_with(HEADER, GOOD, stranger, sizeof stranger);
	int unavailable = 0;
	for (int i = 0; i < 200; i++) {
		struct access_claims c;
		fail_after = i;
		enum err e = access_token_verify(&rules, bad, NOW, &c);
		fail_after = -1;
		unavailable += e == ERR_UNAVAILABLE;
		cr_expect(e == BAD || e == ERR_UNAVAILABLE, "allocation %d", i);
	}
	cr_expect_geq(unavailable, 2, "the failures were not felt");
}
#endif
