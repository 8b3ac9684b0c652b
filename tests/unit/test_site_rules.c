/*
 * The settings about a site's tokens: which can work, and which are refused
 * before the daemon starts.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "auth/site_rules.h"
#include "base/config.h"

#define SECRET "0123456789abcdef0123456789abcdef"

static enum err
judge(const char *algorithms, const char *jwks, const char *secret)
{
	const struct config config = {
	    .exchange_issuer = (char *)"https://club.example",
	    .exchange_audience = (char *)"natter",
	    .exchange_algorithms = (char *)(uintptr_t)algorithms,
	    .exchange_jwks = (char *)(uintptr_t)jwks,
	    .exchange_secret = (char *)(uintptr_t)secret,
	    .exchange_leeway_s = 30,
	    .exchange_max_age_s = 300,
	};
	struct site_rules rules;
	char why[SITE_WHY] = "";
	enum err e = site_rules_read(&config, &rules, why);
	cr_expect_eq(e == OK, why[0] == '\0', "%s", why);
	return e;
}

Test(site_rules, keys_must_fit_how_tokens_are_signed)
{
	static const struct {
		const char *algorithms, *jwks, *secret;
		enum err want;
	} rows[] = {
	    {"RS256", "/etc/natter/jwks.json", "", OK},
	    {"RS256 ES256", "/etc/natter/jwks.json", "", OK},
	    {"ES256, RS256", "/etc/natter/jwks.json", "", OK},
	    {"HS256", "", SECRET, OK},
	    {"HS256", "", "short", ERR_INVALID_FIELD},
	    {"HS256", "", "", ERR_INVALID_FIELD},
	    {"HS256", "/x", SECRET, ERR_INVALID_FIELD},
	    {"HS256 RS256", "/x", SECRET, ERR_INVALID_FIELD},
	    {"RS256", "/x", SECRET, ERR_INVALID_FIELD},
	    {"RS256", "", "", ERR_INVALID_FIELD},
	    {"", "/x", "", ERR_INVALID_FIELD},
	    {"none", "/x", "", ERR_INVALID_FIELD},
	    {"rs256", "/x", "", ERR_INVALID_FIELD},
	    {"RS2567", "/x", "", ERR_INVALID_FIELD},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(
		    judge(rows[i].algorithms, rows[i].jwks, rows[i].secret),
		    rows[i].want, "%zu", i);
}

Test(site_rules, a_url_is_https_unless_it_is_this_host)
{
	static const struct {
		const char *url;
		enum err want;
	} rows[] = {
	    {"https://club.example/jwks.json", OK},
	    {"https://127.0.0.1/jwks.json", OK},
	    {"http://127.0.0.1:8080/jwks.json", OK},
	    {"http://127.1.2.3/jwks.json", OK},
	    {"http://[::1]:8080/jwks.json", OK},
	    {"http://localhost/jwks.json", OK},
	    {"http://club.example/jwks.json", ERR_INVALID_FIELD},
	    {"http://127.0.0.1.club.example/", ERR_INVALID_FIELD},
	    {"http://127.0.0.1@club.example/", ERR_INVALID_FIELD},
	    {"http://localhost.club.example/", ERR_INVALID_FIELD},
	    {"http://10.0.0.1/", ERR_INVALID_FIELD},
	    {"http://[::2]/", ERR_INVALID_FIELD},
	    {"https://user:password@club.example/", ERR_INVALID_FIELD},
	    {"ftp://club.example/jwks.json", ERR_INVALID_FIELD},
	    {"file:///etc/passwd", ERR_INVALID_FIELD},
	    {"gopher://127.0.0.1/", ERR_INVALID_FIELD},
	    {"://", ERR_INVALID_FIELD},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(judge("RS256", rows[i].url, ""), rows[i].want,
		    "%s", rows[i].url);
}

Test(site_rules, without_an_issuer_it_is_off)
{
	char empty[] = "", why[SITE_WHY] = "";
	const struct config config = {.exchange_issuer = empty,
	    .exchange_audience = empty,
	    .exchange_algorithms = empty,
	    .exchange_jwks = empty,
	    .exchange_secret = empty};
	struct site_rules rules;
	cr_expect_eq(site_rules_read(&config, &rules, why), ERR_EXCHANGE_OFF);
}
