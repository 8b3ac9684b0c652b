/*
 * Makes the tokens of a grant and says when they end. Owns nothing; the macs
 * pass through, the keys stay in the ring.
 */
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "auth/access_token.h"
#include "auth/refresh.h"
#include "auth/session_tokens.h"
#include "base/arena.h"
#include "base/config.h"
#include "http/request.h"

/* When to refresh: 70 to 90 % of the life, the same for the same token. */
static long
refresh_after(const char *jti, long ttl_s)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	(void)crypto_hash_sha256(hash, (const unsigned char *)jti, strlen(jti));
	return ttl_s * (700 + 200 * hash[0] / 255) / 1000;
}

unsigned char
session_form(enum session_carrier carrier)
{
	_Static_assert(SESSION_IN_BRIEF_COOKIE < REFRESH_FORMS, "forms");
	return (unsigned char)(carrier + 1);
}

static long
at_least_zero(int64_t n)
{
	return n > 0 ? (long)n : 0;
}

static const char *
make_refresh(struct request *req, const struct session_grant *g)
{
	struct refresh_token t = {
	    .form = session_form(g->carrier), .generation = g->generation};
	char text[REFRESH_TEXT];
	size_t n = 0;
	memcpy(t.session_id, g->session_id, ID_TEXT);
	int rc = sodium_hex2bin(
	    t.mac, sizeof t.mac, g->mac, strlen(g->mac), NULL, &n, NULL);
	assert(rc == 0 && n == sizeof t.mac);
	refresh_make(req->services->keys, &t, text);
	const char *token = arena_strdup(req->arena, text);
	sodium_memzero(text, sizeof text);
	return token;
}

enum err
session_tokens_make(struct request *req, const struct session_grant *grant,
    struct session_tokens *out_tokens)
{
	const struct config *config = req->services->config;
	const struct access_rules rules = {
	    req->services->keys, config->jwt_issuer, config->jwt_audience};
	struct access_claims claims = {
	    .issued_s = grant->issued_s,
	    .expires_s = grant->issued_s + config->access_ttl_s,
	    .epoch = grant->epoch,
	};
	memcpy(claims.user_id, grant->user_id, ID_TEXT);
	memcpy(claims.session_id, grant->session_id, ID_TEXT);
	memcpy(claims.jti, grant->jti, ID_TEXT);
	const char *access = NULL;
	enum err e = access_token_make(&rules, &claims, req->arena, &access);
	if (e)
		return request_fail(req, e, "cannot make an access token");
	struct session_tokens tokens = {
	    .carrier = grant->carrier,
	    .access_token = access,
	    .refresh_token = make_refresh(req, grant),
	    .session_id = arena_strdup(req->arena, grant->session_id),
	    .expires_in = at_least_zero(config->access_ttl_s - grant->age_s),
	    .refresh_in = at_least_zero(
		refresh_after(grant->jti, config->access_ttl_s) - grant->age_s),
	    .user_id = arena_strdup(req->arena, grant->user_id),
	    .username = arena_strdup(req->arena, grant->username),
	    .role = arena_strdup(req->arena, grant->role),
	    .user_created_at = arena_strdup(req->arena, grant->user_created_at),
	};
	if (!tokens.refresh_token || !tokens.session_id || !tokens.user_id ||
	    !tokens.username || !tokens.role || !tokens.user_created_at)
		return ERR_TOO_LARGE;
	*out_tokens = tokens;
	return OK;
}
