/*
 * Tokens of a site: the ones that are taken, and the hostile ones. Keys come
 * from a file here; test_site_keys.c has the servers.
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/site_key.h"
#include "auth/site_keys.h"
#include "auth/site_token.h"
#include "base/arena.h"
#include "site_idp.h"

#define NOW    1800000000
#define SECRET "0123456789abcdef0123456789abcdef"
#define ISS    "https://club.example"
#define TIMES  "\"iat\":1800000000,\"exp\":1800000300"
#define CLAIMS \
	"{\"iss\":\"" ISS "\",\"aud\":\"natter\",\"sub\":\"17\"," TIMES "}"

static struct evp_pkey_st *rsa, *ec, *other;
static char path[] = "/tmp/natter-jwks-XXXXXX";
static struct arena *arena;
static struct site_keys *keys;
static struct site_rules rules = {
    .issuer = ISS,
    .audience = "natter",
    .algs = 1U << SITE_RS256 | 1U << SITE_ES256,
    .secret = "",
    .leeway_s = 30,
    .max_age_s = 300,
};
static struct site_claims claims;
static const char *why;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	idp_share_key("SITE_KEY");
	idp_share_key("OTHER_KEY");
}

static void
write_keys(char *jwks)
{
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(jwks, f);
	fclose(f);
	free(jwks);
}

static void
setup(void)
{
	cr_assert_geq(sodium_init(), 0);
	rsa = idp_shared_key("SITE_KEY");
	ec = idp_key(IDP_P256);
	other = idp_shared_key("OTHER_KEY");
	int fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	close(fd);
	char *a = idp_jwk(rsa, "r1", ",\"use\":\"sig\",\"alg\":\"RS256\"");
	char *b = idp_jwk(ec, "e1", "");
	write_keys(idp_jwks(a, b, NULL));
	free(a);
	free(b);
	arena = arena_new(1 << 20);
	keys = site_keys_new(path);
}

static void
teardown(void)
{
	site_keys_free(keys);
	arena_free(arena);
	idp_key_free(rsa);
	idp_key_free(ec);
	idp_key_free(other);
	unlink(path);
}

TestSuite(site_token, .init = setup, .fini = teardown);

static enum err
verify_at(const char *token, int64_t now_s)
{
	const struct site_check check = {
	    .rules = &rules,
	    .keys = keys,
	    .arena = arena,
	    .wall_ms = (uint64_t)now_s * 1000,
	    .mono_ms = 1000,
	    .username_claim = "preferred_username",
	    .name_claim = "name",
	};
	arena_reset(arena, 1 << 20);
	return site_token_verify(&check, token, &claims, &why);
}

/* Verifies a token, which it frees. */
static enum err
verify(char *token)
{
	enum err e = verify_at(token, NOW);
	free(token);
	return e;
}

static enum err
signed_claims(const char *json)
{
	return verify(
	    idp_sign(rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", json));
}

static enum err
signed_header(struct evp_pkey_st *key, const char *json)
{
	return verify(idp_sign(key, json, CLAIMS));
}

Test(site_token, takes_what_the_sites_keys_sign)
{
	cr_expect_eq(
	    signed_header(rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}"), OK);
	cr_expect_str_eq(claims.external_id, "17");
	cr_expect_null(claims.username);
	cr_expect_null(claims.name);
	cr_expect_eq(
	    signed_header(ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}"), OK);
	cr_expect_eq(signed_header(rsa, "{\"alg\":\"RS256\"}"), OK,
	    "the only key of its kind");
	cr_expect_eq(signed_header(rsa,
			 "{\"typ\":\"JWT\",\"kid\":\"r1\",\"alg\":\"RS256\","
			 "\"x5t\":\"abc\"}"),
	    OK);
	cr_expect_eq(signed_header(rsa, "{\"typ\":\"at+jwt\",\"kid\":\"r1\","
					"\"alg\":\"RS256\"}"),
	    OK);
	cr_expect_eq(site_keys_reads(keys), 1);
}

/* Of 600 signatures about four have an r or s that begins with zeros. */
Test(site_token, takes_every_es256_signature)
{
	for (int i = 0; i < 600; i++)
		cr_assert_eq(
		    signed_header(ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}"),
		    OK);
}

Test(site_token, n15_headers_that_lie_or_demand_are_refused)
{
	static const char *const headers[] = {
	    "{\"kid\":\"r1\"}",
	    "{\"alg\":\"none\",\"kid\":\"r1\"}",
	    "{\"alg\":\"None\",\"kid\":\"r1\"}",
	    "{\"alg\":\"rs256\",\"kid\":\"r1\"}",
	    "{\"alg\":\"RS512\",\"kid\":\"r1\"}",
	    "{\"alg\":\"PS256\",\"kid\":\"r1\"}",
	    "{\"alg\":\"HS256\",\"kid\":\"r1\"}",
	    "{\"alg\":\"ES256\",\"kid\":\"r1\"}",
	    "{\"alg\":\"RS256 \",\"kid\":\"r1\"}",
	    "{\"alg\":\"\",\"kid\":\"r1\"}",
	    "{\"alg\":null,\"kid\":\"r1\"}",
	    "{\"alg\":[\"RS256\"],\"kid\":\"r1\"}",
	    "{\"alg\":\"RS256\",\"alg\":\"RS256\",\"kid\":\"r1\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"e1\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"\"}",
	    "{\"alg\":\"RS256\",\"kid\":null}",
	    "{\"alg\":\"RS256\",\"kid\":7}",
	    "{\"alg\":\"RS256\",\"kid\":\"R1\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"../../dev/null\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"/etc/passwd\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\\u0000\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"' OR 1=1 --\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":[\"exp\"]}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"crit\":[]}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"b64\":false}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"jku\":\"http://x/\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"jwk\":{}}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"x5u\":\"http://x/\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"x5c\":[]}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"zip\":\"DEF\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"logout+jwt\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"dpop+jwt\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":7}",
	    "[]",
	    "null",
	    "\"RS256\"",
	    "{",
	};
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		cr_expect_eq(signed_header(rsa, headers[i]),
		    ERR_IDENTITY_INVALID, "%s", headers[i]);
		cr_expect_not_null(why, "%s", headers[i]);
	}
}

Test(site_token, a_kid_longer_than_any_is_refused)
{
	char kid[SITE_KID_MAX + 2] = "";
	memset(kid, 'a', SITE_KID_MAX + 1);
	char *header = idp_text("{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid);
	cr_expect_eq(signed_header(rsa, header), ERR_IDENTITY_INVALID);
	cr_expect_eq(site_keys_reads(keys), 0, "before any key is looked for");
	free(header);
}

Test(site_token, n16_a_public_key_is_no_secret)
{
	char *pem = idp_public_pem(rsa);
	static const char *const headers[] = {
	    "{\"alg\":\"HS256\",\"kid\":\"r1\"}",
	    "{\"alg\":\"RS256\",\"kid\":\"r1\"}",
	    "{\"alg\":\"HS256\"}",
	};
	for (size_t i = 0; i < 3; i++)
		cr_expect_eq(verify(idp_mac(pem, headers[i], CLAIMS)),
		    ERR_IDENTITY_INVALID, "%s", headers[i]);
	cr_expect_eq(verify(idp_mac("", headers[0], CLAIMS)),
	    ERR_IDENTITY_INVALID, "an empty secret");
	free(pem);
}

Test(site_token, a_secret_takes_hs256_alone)
{
	static const char hs[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
	struct site_rules saved = rules;
	rules.algs = 1U << SITE_HS256;
	rules.secret = SECRET;
	cr_expect_eq(verify(idp_mac(SECRET, hs, CLAIMS)), OK);
	cr_expect_eq(
	    verify(idp_mac(SECRET "x", hs, CLAIMS)), ERR_IDENTITY_INVALID);
	cr_expect_eq(verify(idp_mac(SECRET, "{\"alg\":\"none\"}", CLAIMS)),
	    ERR_IDENTITY_INVALID);
	cr_expect_eq(verify(idp_mac(SECRET, "{\"alg\":\"RS256\"}", CLAIMS)),
	    ERR_IDENTITY_INVALID);
	cr_expect_eq(
	    signed_header(rsa, "{\"alg\":\"RS256\"}"), ERR_IDENTITY_INVALID);
	cr_expect_eq(site_keys_reads(keys), 0);
	rules = saved;
}

Test(site_token, somebody_elses_key_signs_nothing)
{
	cr_expect_eq(signed_header(other, "{\"alg\":\"RS256\",\"kid\":\"r1\"}"),
	    ERR_IDENTITY_INVALID);
	cr_expect_eq(
	    signed_header(other, "{\"alg\":\"RS256\"}"), ERR_IDENTITY_INVALID);
	cr_expect_eq(signed_header(ec, "{\"alg\":\"RS256\",\"kid\":\"r1\"}"),
	    ERR_IDENTITY_INVALID);
}

Test(site_token, es256_signatures_of_zeros_are_refused)
{
	unsigned char zeros[64] = {0};
	static const char header[] = "{\"alg\":\"ES256\",\"kid\":\"e1\"}";
	char *good = idp_sign(ec, header, CLAIMS);
	size_t two = (size_t)(strrchr(good, '.') - good);
	for (size_t n = 62; n <= 64; n++) {
		char *s = idp_base64url(zeros, n);
		cr_expect_eq(verify(idp_text("%.*s.%s", (int)two, good, s)),
		    ERR_IDENTITY_INVALID, "%zu", n);
		free(s);
	}
	free(good);
}

Test(site_token, n10_a_changed_character_anywhere_is_refused)
{
	char *token =
	    idp_sign(rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", CLAIMS);
	cr_assert_eq(verify_at(token, NOW), OK);
	for (char *p = token; *p; p++) {
		char was = *p;
		*p = was == 'A' ? 'B' : 'A';
		cr_expect_eq(verify_at(token, NOW), ERR_IDENTITY_INVALID,
		    "at %td", p - token);
		*p = was;
	}
	free(token);
}

Test(site_token, n20_texts_that_are_no_tokens)
{
	static const char *const texts[] = {"", ".", "..", "...", "a", "a.b",
	    "a.b.c", "AA..AA", "AA.AA.", ".AA.AA", "AA.AA.AA.AA", "nk_x",
	    "{\"alg\":\"none\"}", "\xff\xfe"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		cr_expect_eq(verify_at(texts[i], NOW), ERR_IDENTITY_INVALID,
		    "%s", texts[i]);
	char *padded = idp_text("{\"alg\":\"RS256\",\"kid\":\"r1\","
				"\"pad\":\"%7000s\"}",
	    "");
	cr_expect_eq(signed_header(rsa, padded), ERR_IDENTITY_INVALID,
	    "more than 8 KiB");
	free(padded);
	size_t huge = 9U << 20;
	char *nine = malloc(huge + 1);
	memset(nine, 'A', huge);
	nine[huge] = '\0';
	cr_expect_eq(verify(nine), ERR_IDENTITY_INVALID);
}

/* What differs from CLAIMS, as a whole. */
Test(site_token, n19_claims_must_be_the_configured_ones)
{
#define SUB      ",\"sub\":\"17\"," TIMES "}"
#define ONE(aud) "{\"iss\":\"" ISS "\",\"aud\":" aud SUB
#define WHO(sub) \
	"{\"iss\":\"" ISS "\",\"aud\":\"natter\",\"sub\":" sub "," TIMES "}"
	static const struct {
		const char *json;
		enum err want;
	} rows[] = {
	    {CLAIMS, OK},
	    {ONE("[\"natter\"]"), OK},
	    {ONE("[\"x\",\"natter\",\"y\"]"), OK},
	    {ONE("\"Natter\""), ERR_IDENTITY_INVALID},
	    {ONE("\"natter2\""), ERR_IDENTITY_INVALID},
	    {ONE("[]"), ERR_IDENTITY_INVALID},
	    {ONE("[\"x\"]"), ERR_IDENTITY_INVALID},
	    {ONE("[\"natter\",7]"), ERR_IDENTITY_INVALID},
	    {ONE("[[\"natter\"]]"), ERR_IDENTITY_INVALID},
	    {ONE("{\"natter\":1}"), ERR_IDENTITY_INVALID},
	    {ONE("null"), ERR_IDENTITY_INVALID},
	    {"{\"iss\":\"" ISS "\"" SUB, ERR_IDENTITY_INVALID},
	    {"{\"iss\":\"" ISS "/\",\"aud\":\"natter\"" SUB,
		ERR_IDENTITY_INVALID},
	    {"{\"iss\":[\"" ISS "\"],\"aud\":\"natter\"" SUB,
		ERR_IDENTITY_INVALID},
	    {"{\"aud\":\"natter\"" SUB, ERR_IDENTITY_INVALID},
	    {"{\"iss\":\"evil\",\"iss\":\"" ISS "\",\"aud\":\"natter\"" SUB,
		ERR_IDENTITY_INVALID},
	    {"{\"iss\":\"" ISS "\",\"aud\":\"natter\",\"sub\":\"1\"" SUB,
		ERR_IDENTITY_INVALID},
	    {"{\"iss\":\"" ISS "\",\"aud\":\"natter\",\"su\\u0062\":\"1\"" SUB,
		ERR_IDENTITY_INVALID},
	    {WHO("\"\""), ERR_IDENTITY_INVALID},
	    {WHO("17"), ERR_IDENTITY_INVALID},
	    {WHO("null"), ERR_IDENTITY_INVALID},
	    {WHO("\"a\\nb\""), ERR_IDENTITY_INVALID},
	    {WHO("\"a\\u0000b\""), ERR_IDENTITY_INVALID},
	    {WHO("\"Zo\xc3\xab|42 @x\""), OK},
	    {"{\"iss\":\"" ISS "\",\"aud\":\"natter\"," TIMES "}",
		ERR_IDENTITY_INVALID},
	    {"[" CLAIMS "]", ERR_IDENTITY_INVALID},
	    {CLAIMS CLAIMS, ERR_IDENTITY_INVALID},
	    {"", ERR_IDENTITY_INVALID},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(signed_claims(rows[i].json), rows[i].want,
		    "%zu: %s: %s", i, rows[i].json, why ? why : "");
}

Test(site_token, an_external_id_has_255_characters_at_most)
{
	for (int n = 255; n <= 256; n++) {
		char sub[600] = "";
		for (int i = 0; i < n; i++)
			strcat(sub, "\xc3\xab");
		char *json =
		    idp_text("{\"iss\":\"" ISS
			     "\",\"aud\":\"natter\",\"sub\":\"%s\"," TIMES "}",
			sub);
		cr_expect_eq(signed_claims(json),
		    n == 255 ? OK : ERR_IDENTITY_INVALID, "%d", n);
		free(json);
	}
}

Test(site_token, n17_n18_times_are_numbers_that_fit_the_clock)
{
	static const struct {
		const char *times;
		enum err want;
	} rows[] = {
	    {"\"iat\":1800000000,\"exp\":1800000300", OK},
	    {"\"iat\":1800000030,\"exp\":1800000300", OK},
	    {"\"iat\":1800000031,\"exp\":1800000300", ERR_IDENTITY_INVALID},
	    {"\"iat\":1799999670,\"exp\":1800000300", OK},
	    {"\"iat\":1799999669,\"exp\":1800000300", ERR_IDENTITY_EXPIRED},
	    {"\"iat\":1799999900,\"exp\":1799999971", OK},
	    {"\"iat\":1799999900,\"exp\":1799999970", ERR_IDENTITY_EXPIRED},
	    {"\"iat\":1800000000,\"exp\":4000000000", OK},
	    {"\"iat\":1800000000,\"exp\":1800000000", ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000010,\"exp\":1800000000", ERR_IDENTITY_INVALID},
	    {"\"iat\":\"1800000000\",\"exp\":1800000300", ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":\"1800000300\"", ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000.5,\"exp\":1800000300", ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":1.8e12", ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":99999999999999999999999",
		ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":9223372036854775807",
		ERR_IDENTITY_INVALID},
	    {"\"iat\":-1,\"exp\":1800000300", ERR_IDENTITY_INVALID},
	    {"\"iat\":null,\"exp\":1800000300", ERR_IDENTITY_INVALID},
	    {"\"exp\":1800000300", ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000", ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":1800000300,\"nbf\":1800000030", OK},
	    {"\"iat\":1800000000,\"exp\":1800000300,\"nbf\":1800000031",
		ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":1800000300,\"nbf\":1e12",
		ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":1800000300,\"nbf\":\"0\"",
		ERR_IDENTITY_INVALID},
	    {"\"iat\":1800000000,\"exp\":1800000300,\"exp\":9999999999",
		ERR_IDENTITY_INVALID},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *json =
		    idp_text("{\"iss\":\"" ISS
			     "\",\"aud\":\"natter\",\"sub\":\"17\",%s}",
			rows[i].times);
		cr_expect_eq(signed_claims(json), rows[i].want, "%s: %s",
		    rows[i].times, why ? why : "");
		free(json);
	}
}

Test(site_token, names_for_people_are_taken_where_they_are_text)
{
	static const struct {
		const char *extra;
		const char *username, *name;
	} rows[] = {
	    {"\"preferred_username\":\"Ada L\",\"name\":\"Ada Lovelace\"",
		"Ada L", "Ada Lovelace"},
	    {"\"preferred_username\":7,\"name\":[\"x\"]", NULL, NULL},
	    {"\"preferred_username\":\"\",\"name\":\"\"", NULL, NULL},
	    {"\"preferred_username\":\"a\\tb\",\"name\":\"\\u0007\"", NULL,
		NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *json = idp_text(
		    "{\"iss\":\"" ISS
		    "\",\"aud\":\"natter\",\"sub\":\"17\"," TIMES ",%s}",
		    rows[i].extra);
		cr_assert_eq(signed_claims(json), OK);
		free(json);
		cr_expect(rows[i].username
			      ? claims.username &&
				    !strcmp(claims.username, rows[i].username)
			      : !claims.username,
		    "%zu", i);
		cr_expect(rows[i].name ? claims.name &&
					     !strcmp(claims.name, rows[i].name)
				       : !claims.name,
		    "%zu", i);
	}
}
