/*
 * From an Authorization header, or where that is allowed a cookie, to an
 * identity: the token first, which costs no round trip, then its session. Owns
 * no state.
 */
#include <string.h>
#include <strings.h>

#include "auth/access.h"
#include "auth/access_token.h"
#include "auth/api_key.h"
#include "auth/browser.h"
#include "auth/session.h"
#include "base/clock.h"
#include "base/config.h"
#include "http/request.h"
#include "limit/limit.h"

/* The token of `Bearer <token>`, or NULL when the scheme is another. */
static const char *
bearer(const char *authorization)
{
	static const char scheme[] = "Bearer ";
	size_t n = sizeof scheme - 1;
	if (strncasecmp(authorization, scheme, n) != 0)
		return NULL;
	return authorization + n;
}

/* Who has this token; NULL is nobody. */
static enum err
identify(struct request *req, const char *token)
{
	const struct config *config = req->services->config;
	const struct access_rules rules = {
	    req->services->keys, config->jwt_issuer, config->jwt_audience};
	if (!token)
		return ERR_TOKEN_MISSING;
	if (api_key_is(token))
		return api_key_check(req, token);
	struct access_claims claims;
	uint64_t now_ms = clock_agreed_ms(req->services->clock);
	enum err e = access_token_verify(
	    &rules, token, (int64_t)(now_ms / 1000), &claims);
	if (e)
		return e;
	return session_check(req, &claims);
}

enum err
access_authenticate(struct request *req)
{
	return identify(req, bearer(req->authorization));
}

/*
 * A page's pictures and scripts are asked for by the hundred, so that who they
 * are for is not limited. Whoever shows what nobody was given is charged by
 * address; with no token at all, or an old one, it is anybody's browser.
 */
static enum err
charge_forger(struct request *req, enum err e)
{
	return limit_stranger(req) == ERR_RATE_LIMITED ? ERR_RATE_LIMITED : e;
}

enum err
access_authenticate_page(struct request *req)
{
	const char *token = bearer(req->authorization);
	enum err e = identify(req, token ? token : browser_access_token(req));
	return e == ERR_TOKEN_INVALID ? charge_forger(req, e) : e;
}

enum err
access_authenticate_leaving(struct request *req)
{
	const char *token = browser_refresh_token(req);
	if (*req->authorization || !token)
		return access_authenticate(req);
	enum err e = limit_open(req);
	if (!e)
		e = browser_enter(req);
	return e ? e : session_recognize(req, token);
}
