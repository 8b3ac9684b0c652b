/*
 * The keys of a site: which JWKs serve, and when a set is read, from servers
 * that are slow, huge, away, lying or rotating.
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/jwks.h"
#include "auth/jwt.h"
#include "auth/site_keys.h"
#include "base/buf.h"
#include "base/clock.h"
#include "jwks_server.h"
#include "site_idp.h"

#define MINUTE (60 * 1000)
#define DAY    (24 * 60 * MINUTE)

static const struct site_rules rules = {
    .algs = 1U << SITE_RS256 | 1U << SITE_ES256};
static struct evp_pkey_st *ec, *rsa;
static struct jwks_server server;
static char *one, *both; /* sets with e1, and with e1 and e2 */
static struct site_keys *keys;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	idp_share_key("SITE_KEY");
}

static void
setup(void)
{
	cr_assert_geq(sodium_init(), 0);
	ec = idp_key(IDP_P256);
	rsa = idp_shared_key("SITE_KEY");
	char *e1 = idp_jwk(ec, "e1", ""), *e2 = idp_jwk(ec, "e2", "");
	one = idp_jwks(e1, NULL);
	both = idp_jwks(e1, e2, NULL);
	free(e1);
	free(e2);
	jwks_server_start(&server, one);
	keys = site_keys_new(server.url);
}

static void
teardown(void)
{
	site_keys_free(keys);
	if (!server.is_ending)
		jwks_server_stop(&server);
	idp_key_free(ec);
	idp_key_free(rsa);
	free(one);
	free(both);
}

TestSuite(site_keys, .init = setup, .fini = teardown, .timeout = 60);

static enum err
find(const char *kid, uint64_t now_ms)
{
	const struct site_key_ask ask = {SITE_ES256, kid};
	const struct site_key *key = NULL;
	return site_keys_find(keys, &rules, &ask, now_ms, &key);
}

/* ---- JWKs ---- */

/* Reads a set of one JWK, which it frees, beside a good one: is it left? */
static bool
serves(char *jwk)
{
	char *good = idp_jwk(ec, "good", "");
	char *set = idp_jwks(jwk, good, NULL);
	struct jwks got = {0};
	cr_assert_eq(jwks_read(set, strlen(set), rules.algs, &got), OK,
	    "a bad key must not spoil the others: %s", jwk);
	bool yes = got.n == 2;
	cr_expect_eq(yes, got.why[0] == '\0', "%s", got.why);
	jwks_clear(&got);
	free(set);
	free(good);
	free(jwk);
	return yes;
}

Test(site_keys, takes_the_keys_that_are_for_us)
{
	cr_expect(serves(idp_jwk(rsa, "a", "")));
	cr_expect(serves(idp_jwk(rsa, NULL, "")));
	cr_expect(
	    serves(idp_jwk(rsa, "a", ",\"use\":\"sig\",\"alg\":\"RS256\"")));
	cr_expect(serves(idp_jwk(ec, "a", ",\"key_ops\":[\"verify\"]")));
	cr_expect(serves(idp_jwk(ec, "a", ",\"x5c\":[\"AA\"],\"ext\":true")));
}

Test(site_keys, leaves_out_the_keys_that_are_not)
{
	static const enum idp_kind kinds[] = {IDP_RSA_1024, IDP_P384};
	for (size_t i = 0; i < 2; i++) {
		struct evp_pkey_st *key = idp_key(kinds[i]);
		cr_expect_not(serves(idp_jwk(key, "a", "")));
		idp_key_free(key);
	}
	cr_expect_not(serves(idp_jwk(rsa, "a", ",\"use\":\"enc\"")));
	cr_expect_not(serves(idp_jwk(rsa, "a", ",\"use\":7")));
	cr_expect_not(serves(idp_jwk(rsa, "a", ",\"alg\":\"RS512\"")));
	cr_expect_not(serves(idp_jwk(ec, "a", ",\"alg\":\"RS256\"")));
	cr_expect_not(serves(idp_jwk(ec, "a", ",\"key_ops\":[\"sign\"]")));
	cr_expect_not(serves(idp_jwk(ec, "a", ",\"key_ops\":\"verify\"")));
	cr_expect_not(serves(idp_jwk(ec, "a", ",\"d\":\"AA\"")), "private");
	cr_expect_not(serves(idp_jwk(ec, "", "")));
	cr_expect_not(serves(idp_jwk(ec, "good", "")), "twice");
	cr_expect_not(serves(idp_jwk(ec, NULL, ",\"kid\":7")));
}

Test(site_keys, leaves_out_broken_keys)
{
	static const char *const jwks[] = {
	    "7",
	    "null",
	    "[]",
	    "\"x\"",
	    "{}",
	    "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
	    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}",
	    "{\"kty\":\"RSA\"}",
	    "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\"}",
	    "{\"kty\":\"RSA\",\"n\":7,\"e\":\"AQAB\"}",
	    "{\"kty\":\"EC\",\"crv\":\"P-256\"}",
	    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}",
	    "{\"kty\":\"EC\",\"crv\":\"P-256\","
	    "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
	    "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
	    "{\"kty\":\"EC\",\"crv\":\"P-256\","
	    "\"x\":\"__________________________________________8\","
	    "\"y\":\"__________________________________________8\"}",
	};
	for (size_t i = 0; i < sizeof jwks / sizeof *jwks; i++)
		cr_expect_not(serves(idp_text("%s", jwks[i])), "%s", jwks[i]);
	/* A modulus of 2048 bits with every kind of bad exponent. */
	char *good = idp_jwk(rsa, "a", "");
	char *e = strstr(good, "\"e\":\"AQAB\"");
	cr_assert_not_null(e);
	static const char *const exponents[] = {
	    "AQ", "AA", "Ag", "", "AQAA", "AQAB==", "AQAAAAAB"};
	for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++)
		cr_expect_not(serves(idp_text("%.*s\"e\":\"%s\"}",
				  (int)(e - good), good, exponents[i])),
		    "%s", exponents[i]);
	free(good);
}

Test(site_keys, documents_without_a_usable_key_are_refused)
{
	static const char *const texts[] = {"", "{", "null", "[]", "{}",
	    "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[{}]}",
	    "<html>captive portal</html>"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct jwks got = {0};
		cr_expect_eq(
		    jwks_read(texts[i], strlen(texts[i]), rules.algs, &got),
		    ERR_UNAVAILABLE, "%s", texts[i]);
		cr_expect_neq(got.why[0], '\0', "%s", texts[i]);
	}
}

Test(site_keys, a_set_has_32_keys_at_most)
{
	struct buf set = {0};
	buf_puts(&set, "{\"keys\":[");
	for (int i = 0; i < 40; i++) {
		char *kid = idp_text("k%d", i);
		char *jwk = idp_jwk(ec, kid, "");
		buf_printf(&set, "%s%s", i ? "," : "", jwk);
		free(jwk);
		free(kid);
	}
	buf_puts(&set, "]}");
	struct jwks got = {0};
	cr_expect_eq(jwks_read(set.p, set.n, rules.algs, &got), OK);
	cr_expect_eq(got.n, 32);
	jwks_clear(&got);
	buf_free(&set);
}

Test(site_keys, a_kind_that_is_not_configured_is_left_out)
{
	struct jwks got = {0};
	cr_expect_eq(jwks_read(one, strlen(one), 1U << SITE_RS256, &got),
	    ERR_UNAVAILABLE);
}

/* ---- when they are read ---- */

Test(site_keys, are_read_once_and_kept_for_10_minutes)
{
	for (uint64_t t = 1; t < 10 * MINUTE; t += 30 * 1000)
		cr_expect_eq(find("e1", t), OK);
	cr_expect_eq(server.hits, 1);
	cr_expect_eq(find("e1", 10 * MINUTE + 1), OK);
	cr_expect_eq(server.hits, 2);
}

Test(site_keys, a_new_kid_is_looked_for_at_once)
{
	cr_expect_eq(find("e1", 1), OK);
	server.body = both;
	cr_expect_eq(find("e2", 2000), OK);
	cr_expect_eq(server.hits, 2);
	cr_expect_eq(find("e1", 2001), OK);
}

Test(site_keys, a_withdrawn_key_is_gone_at_the_next_reading)
{
	server.body = both;
	cr_expect_eq(find("e2", 1), OK);
	server.body = one;
	cr_expect_eq(find("e2", 9 * MINUTE), OK);
	cr_expect_eq(find("e2", 11 * MINUTE), ERR_IDENTITY_INVALID);
}

Test(site_keys, made_up_kids_cost_one_reading_a_minute)
{
	cr_expect_eq(find("e1", 1), OK);
	for (uint64_t t = 2; t < 2 + 3 * MINUTE; t += 100) {
		char kid[32];
		snprintf(kid, sizeof kid, "made-up-%d", (int)t);
		cr_assert_eq(find(kid, t), ERR_IDENTITY_INVALID);
	}
	cr_expect_eq(server.hits, 1 + 3);
}

Test(site_keys, the_first_reading_answers_for_its_own_kid)
{
	cr_expect_eq(find("nobody", 1), ERR_IDENTITY_INVALID);
	cr_expect_eq(server.hits, 1, "not twice in one request");
}

Test(site_keys, a_token_without_a_kid_needs_the_only_key)
{
	cr_expect_eq(find(NULL, 1), OK);
	server.body = both;
	cr_expect_eq(find(NULL, 11 * MINUTE), ERR_IDENTITY_INVALID);
	cr_expect_eq(server.hits, 2, "and asks nobody");
}

/* ---- servers ---- */

Test(site_keys, without_any_key_nobody_can_tell)
{
	jwks_server_stop(&server);
	cr_expect_eq(find("e1", 1), ERR_UNAVAILABLE);
	cr_expect_neq(site_keys_why(keys)[0], '\0');
	for (uint64_t t = 2; t < 5000; t += 100)
		cr_expect_eq(find("e1", t), ERR_UNAVAILABLE);
	cr_expect_eq(site_keys_reads(keys), 1);
	cr_expect_eq(find("e1", 5002), ERR_UNAVAILABLE);
	cr_expect_eq(site_keys_reads(keys), 2);
}

Test(site_keys, old_keys_serve_for_a_day_while_the_server_is_down)
{
	cr_expect_eq(find("e1", 1), OK);
	jwks_server_stop(&server);
	cr_expect_eq(find("e1", 11 * MINUTE), OK);
	cr_expect_eq(find("e1", 11 * MINUTE + 1000), OK);
	cr_expect_eq(site_keys_reads(keys), 2, "one attempt a minute");
	cr_expect_eq(find("e1", DAY - MINUTE), OK);
	cr_expect_eq(find("e1", DAY + MINUTE), ERR_UNAVAILABLE);
}

Test(site_keys, an_unknown_kid_while_the_server_is_down_is_no_verdict)
{
	cr_expect_eq(find("e1", 1), OK);
	jwks_server_stop(&server);
	cr_expect_eq(find("e2", 2), ERR_UNAVAILABLE);
	cr_expect_eq(find("e1", 3), OK);
}

Test(site_keys, an_answer_without_keys_does_not_drop_those_in_hand)
{
	cr_expect_eq(find("e1", 1), OK);
	server.body = "{\"keys\":[]}";
	cr_expect_eq(find("e1", 11 * MINUTE), OK);
	server.body = "<html>";
	cr_expect_eq(find("e1", 13 * MINUTE), OK);
	server.status = "503 Service Unavailable";
	cr_expect_eq(find("e1", 15 * MINUTE), OK);
	cr_expect_eq(server.hits, 4);
}

static void
expect_refused_fetch(const char *reason)
{
	struct buf text = {0};
	char why[SITE_WHY] = "";
	cr_expect_eq(jwks_fetch(server.url, &text, why), ERR_UNAVAILABLE);
	cr_expect_not_null(strstr(why, reason), "%s", why);
	cr_expect_null(text.p);
}

Test(site_keys, a_slow_server_costs_3_seconds)
{
	uint64_t began = clock_mono_ms();
	server.delay_ms = 30000;
	expect_refused_fetch("imeout");
	uint64_t took = clock_mono_ms() - began;
	cr_expect_leq(took, 4500, "%d ms", (int)took);
}

Test(site_keys, a_dripping_server_costs_3_seconds)
{
	uint64_t began = clock_mono_ms();
	server.drip_ms = 100;
	expect_refused_fetch("imeout");
	uint64_t took = clock_mono_ms() - began;
	cr_expect_leq(took, 4500, "%d ms", (int)took);
}

Test(site_keys, a_huge_answer_is_cut_off)
{
	server.padding = 1UL << 30;
	expect_refused_fetch("larger");
}

Test(site_keys, a_redirect_is_not_followed)
{
	server.status = "302 Found";
	server.headers = "Location: file:///etc/passwd\r\n";
	expect_refused_fetch("200");
	cr_expect_eq(server.hits, 1);
}

Test(site_keys, a_file_is_read_within_the_same_limit)
{
	char path[] = "/tmp/natter-jwks-XXXXXX", why[SITE_WHY] = "";
	struct buf text = {0};
	int fd = mkstemp(path);
	cr_assert_eq(write(fd, one, strlen(one)), (ssize_t)strlen(one));
	cr_expect_eq(jwks_fetch(path, &text, why), OK);
	cr_expect_eq(text.n, strlen(one));
	buf_free(&text);
	cr_assert_eq(ftruncate(fd, JWKS_BYTES_MAX + 1), 0);
	cr_expect_eq(jwks_fetch(path, &text, why), ERR_UNAVAILABLE);
	cr_assert_eq(unlink(path), 0);
	cr_expect_eq(jwks_fetch(path, &text, why), ERR_UNAVAILABLE);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_expect_eq(jwks_fetch(path, &text, why), ERR_UNAVAILABLE,
	    "a FIFO does not hold the thread");
	unlink(path);
	cr_expect_eq(jwks_fetch("/tmp", &text, why), ERR_UNAVAILABLE);
	close(fd);
}
