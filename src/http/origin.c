/*
 * CSRF and CORS. Owns the lists of headers that pages may send and read.
 */
#include <stddef.h>
#include <string.h>

#include "base/config.h"
#include "http/openai_error.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/request.h"

/* What the API's clients send, besides what every page may. */
#define MAY_SEND                                         \
	"Authorization, Content-Type, X-Natter-Client, " \
	"X-Natter-Device, Idempotency-Key, Last-Event-ID"
/* What they read, besides what every page may. */
#define MAY_READ                                                         \
	"Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, "   \
	"Retry-After, "                                                  \
	"WWW-Authenticate, X-Request-Id, "                               \
	"X-Natter-Conversation-Id, X-Natter-Message-Id, "                \
	"openai-processing-ms, openai-version, x-should-retry, "         \
	"X-RateLimit-Limit-Requests, X-RateLimit-Limit-Tokens, "         \
	"X-RateLimit-Remaining-Requests, X-RateLimit-Remaining-Tokens, " \
	"X-RateLimit-Reset-Requests, X-RateLimit-Reset-Tokens"
/* How long a browser remembers, in seconds: a change is seen soon. */
#define REMEMBER_S "600"

#define TOKEN_CHARACTERS                                  \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU" \
	"VWXYZ0123456789!#$%&'*+-.^_`|~"
#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789.-"

/* The length of a host at `p`: a name, an IPv4 or a bracketed IPv6 address. */
static size_t
host_length(const char *p)
{
	if (*p != '[')
		return strspn(p, HOST_CHARACTERS);
	size_t n = strspn(p + 1, "0123456789abcdef:.");
	return n > 0 && p[1 + n] == ']' ? n + 2 : 0;
}

/* Is [p, p + n) one origin? */
static bool
is_origin(const char *p, size_t n)
{
	const char *end = p + n;
	bool is_plain = strncmp(p, "http://", 7) == 0;
	if (!is_plain && strncmp(p, "https://", 8) != 0)
		return false;
	p += is_plain ? 7 : 8;
	size_t host = host_length(p);
	p += host;
	if (host == 0 || p == end)
		return host > 0;
	size_t port = strspn(p + 1, "0123456789");
	if (*p != ':' || port == 0 || port > 5 || p + 1 + port != end)
		return false;
	/* Browsers leave the usual port out: it would never match. */
	const char *usual = is_plain ? ":80" : ":443";
	return strlen(usual) != 1 + port || memcmp(p, usual, 1 + port) != 0;
}

/* Takes the next word off `*list`; false at its end. */
static bool
next_word(const char **list, const char **out_word, size_t *out_n)
{
	const char *p = *list + strspn(*list, " ");
	size_t n = strcspn(p, " ");
	*out_word = p;
	*out_n = n;
	*list = p + n;
	return n > 0;
}

bool
origin_list_is_fit(const char *list)
{
	const char *word;
	size_t n;
	while (next_word(&list, &word, &n)) {
		if (!is_origin(word, n))
			return false;
	}
	return true;
}

bool
origin_is_allowed(const struct config *config, const char *origin)
{
	const char *list = config->origins ? config->origins : "";
	const char *word;
	size_t n;
	while (next_word(&list, &word, &n)) {
		if (strlen(origin) == n && memcmp(word, origin, n) == 0)
			return true;
	}
	return false;
}

enum err
origin_check(struct request *req)
{
	const char *why = NULL;
	if (req->method != HTTP_POST || !request_is_json(req))
		why = "cookies without POST of application/json";
	else if (!*req->natter_client)
		why = "cookies without X-Natter-Client";
	else if (strcmp(req->sec_fetch_site, "same-origin") != 0 &&
		 !origin_is_allowed(req->services->config, req->origin))
		why = "cookies from a page of another origin";
	return why ? request_fail(req, ERR_CSRF_FAILED, why) : OK;
}

bool
origin_is_preflight(const struct request *req)
{
	return strcmp(req->method_name, "OPTIONS") == 0 && *req->cors_method &&
	       origin_is_allowed(req->services->config, req->origin);
}

/* Names of headers with commas between them? */
static bool
is_list(const char *names)
{
	return *names && names[strspn(names, TOKEN_CHARACTERS ", ")] == '\0';
}

void
origin_permit(const struct request *req, struct reply *rep, const char *allow)
{
	bool is_free = openai_is_asked(req) && is_list(req->cors_headers);
	reply_header(rep, "Access-Control-Allow-Methods", allow);
	reply_header(rep, "Access-Control-Allow-Headers",
	    is_free ? req->cors_headers : MAY_SEND);
	reply_header(rep, "Access-Control-Max-Age", REMEMBER_S);
}

void
origin_allow(const struct config *config, const char *origin, struct reply *rep)
{
	if (!config->origins || !*config->origins)
		return;
	/* Also on what strangers get: a cache must not mix them up. */
	reply_header(rep, "Vary", "Origin");
	if (!origin_is_allowed(config, origin))
		return;
	reply_header(rep, "Access-Control-Allow-Origin", origin);
	reply_header(rep, "Access-Control-Allow-Credentials", "true");
	reply_header(rep, "Access-Control-Expose-Headers", MAY_READ);
}
