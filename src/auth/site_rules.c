/*
 * Reads the settings about a site's tokens and refuses those that cannot work.
 * Owns nothing. Must not know tokens or keys.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "auth/site_rules.h"
#include "base/config.h"

static const char *const alg_names[SITE_ALG__MAX] = {
    [SITE_RS256] = "RS256",
    [SITE_ES256] = "ES256",
    [SITE_HS256] = "HS256",
};

const char *
site_alg_name(enum site_alg alg)
{
	return alg_names[alg];
}

enum site_alg
site_alg_named(const char *name, size_t n)
{
	int alg = 0;
	while (alg < SITE_ALG__MAX && (strlen(alg_names[alg]) != n ||
					  memcmp(alg_names[alg], name, n) != 0))
		alg++;
	return (enum site_alg)alg;
}

bool
site_is_url(const char *source)
{
	return strstr(source, "://") != NULL;
}

PRINTF_LIKE(2, 3)
static enum err
refuse(char why[static SITE_WHY], const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(why, SITE_WHY, fmt, ap);
	va_end(ap);
	return ERR_INVALID_FIELD;
}

/* CHAT_EXCHANGE_ALGORITHMS: words with blanks between. */
static enum err
read_algs(const char *words, unsigned *out, char why[static SITE_WHY])
{
	unsigned algs = 0;
	for (const char *p = words; *(p += strspn(p, " ,"));) {
		size_t n = strcspn(p, " ,");
		enum site_alg alg = site_alg_named(p, n);
		if (alg == SITE_ALG__MAX)
			return refuse(why,
			    "CHAT_EXCHANGE_ALGORITHMS: there are RS256, ES256 "
			    "and HS256");
		algs |= 1U << alg;
		p += n;
	}
	if (algs == 0)
		return refuse(why, "CHAT_EXCHANGE_ALGORITHMS names none");
	/* A public key must never be able to serve as a secret. */
	if (algs & 1U << SITE_HS256 && algs != 1U << SITE_HS256)
		return refuse(why,
		    "CHAT_EXCHANGE_ALGORITHMS: HS256 stands alone: a shared "
		    "secret and public keys are not mixed");
	*out = algs;
	return OK;
}

static bool
is_loopback(const char *host)
{
	struct in_addr four;
	struct in6_addr six;
	char bare[64];
	size_t n = strlen(host);
	if (strcmp(host, "localhost") == 0)
		return true; /* libcurl asks no name server for it */
	if (inet_pton(AF_INET, host, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	if (n < 3 || n >= sizeof bare || host[0] != '[')
		return false;
	(void)snprintf(bare, sizeof bare, "%.*s", (int)n - 2, host + 1);
	return inet_pton(AF_INET6, bare, &six) == 1 &&
	       IN6_IS_ADDR_LOOPBACK(&six);
}

/* A part of a URL, which the caller frees with curl_free; "" without it. */
static char *
part(CURLU *url, CURLUPart which)
{
	char *text = NULL;
	if (curl_url_get(url, which, &text, 0) != CURLUE_OK)
		return NULL;
	return text;
}

/* With the parser of the library that will fetch it: nobody is fooled. */
static enum err
check_url(const char *text, char why[static SITE_WHY])
{
	CURLU *url = curl_url();
	if (!url)
		return refuse(why, "out of memory");
	enum err e = OK;
	bool is_url = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;
	char *scheme = is_url ? part(url, CURLUPART_SCHEME) : NULL;
	char *host = is_url ? part(url, CURLUPART_HOST) : NULL;
	char *user = is_url ? part(url, CURLUPART_USER) : NULL;
	if (!scheme || !host)
		e = refuse(why, "CHAT_EXCHANGE_JWKS is not a URL");
	else if (user)
		e = refuse(why, "CHAT_EXCHANGE_JWKS must not hold a password");
	else if (strcmp(scheme, "https") != 0 &&
		 (strcmp(scheme, "http") != 0 || !is_loopback(host)))
		e = refuse(why,
		    "CHAT_EXCHANGE_JWKS must be https:// (http:// for this "
		    "host alone)");
	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	curl_url_cleanup(url);
	return e;
}

/* Where the keys come from must fit how tokens are signed. */
static enum err
check_keys(const struct config *c, unsigned algs, char why[static SITE_WHY])
{
	bool has_jwks = c->exchange_jwks[0] != '\0';
	size_t n = strlen(c->exchange_secret);
	if (algs == 1U << SITE_HS256) {
		if (has_jwks)
			return refuse(why,
			    "CHAT_EXCHANGE_JWKS has no use with HS256: its key "
			    "is CHAT_EXCHANGE_SECRET");
		return n >= SITE_SECRET_MIN
			   ? OK
			   : refuse(why,
				 "CHAT_EXCHANGE_SECRET needs at least %d bytes",
				 SITE_SECRET_MIN);
	}
	if (n > 0)
		return refuse(why, "CHAT_EXCHANGE_SECRET has no use without "
				   "CHAT_EXCHANGE_ALGORITHMS=HS256");
	if (!has_jwks)
		return refuse(why, "CHAT_EXCHANGE_JWKS is not set");
	return site_is_url(c->exchange_jwks) ? check_url(c->exchange_jwks, why)
					     : OK;
}

enum err
site_rules_read(
    const struct config *c, struct site_rules *out, char why[static SITE_WHY])
{
	struct site_rules rules = {
	    .issuer = c->exchange_issuer,
	    .audience = c->exchange_audience,
	    .secret = c->exchange_secret,
	    .leeway_s = c->exchange_leeway_s,
	    .max_age_s = c->exchange_max_age_s,
	};
	if (!*rules.issuer)
		return ERR_EXCHANGE_OFF;
	if (strlen(rules.issuer) > SITE_TEXT_MAX)
		return refuse(why, "CHAT_EXCHANGE_ISSUER is too long");
	if (!*rules.audience)
		return refuse(why, "CHAT_EXCHANGE_AUDIENCE is not set");
	enum err e = read_algs(c->exchange_algorithms, &rules.algs, why);
	if (!e)
		e = check_keys(c, rules.algs, why);
	if (!e)
		*out = rules;
	return e;
}
