/*
 * Runs the session functions of schema auth and turns their rows into tokens
 * and identities. Owns no state. Must not know HTTP beyond struct request.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "auth/access_token.h"
#include "auth/queries.h"
#include "auth/refresh.h"
#include "auth/session.h"
#include "auth/session_cache.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/text.h"
#include "http/request.h"

#define AGENT_MAX     512 /* bytes of the User-Agent that are kept */
#define CONTEXT_BYTES crypto_hash_sha256_BYTES

/* Tokens to make: whose, of which session, and what Postgres gave for them. */
struct grant {
	const char *user_id;
	const char *session_id;
	const char *jti;
	uint32_t generation;
	const char *mac; /* macB in hex */
	int64_t epoch;
	int64_t issued_s;
	int64_t age_s; /* since issued_s, database clock */
	const char *username;
	const char *role;
	const char *user_created_at;
};

/* Bytes as Postgres reads a bytea; NULL beyond the arena's cap. */
static const char *
bytea(struct arena *a, const unsigned char *p, size_t n)
{
	char *text = arena_alloc(a, 2 + 2 * n + 1);
	if (!text)
		return NULL;
	memcpy(text, "\\x", 2);
	(void)sodium_bin2hex(text + 2, 2 * n + 1, p, n);
	return text;
}

/*
 * Which device asks, as the refresh compares it: the device's own id where it
 * sends one, else its User-Agent. Hashed, so that the row tells nothing.
 */
static const char *
device_context(struct request *req)
{
	unsigned char hash[CONTEXT_BYTES];
	crypto_hash_sha256_state state;
	bool has_id = req->device && *req->device;
	const char *kind = has_id ? "device:" : "agent:";
	const char *value = has_id ? req->device : req->user_agent;
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(
	    &state, (const unsigned char *)kind, strlen(kind));
	(void)crypto_hash_sha256_update(
	    &state, (const unsigned char *)value, strlen(value));
	(void)crypto_hash_sha256_final(&state, hash);
	return bytea(req->arena, hash, sizeof hash);
}

/* The client's address for an inet; NULL when it is not one (a socket). */
static const char *
client_address(const struct request *req)
{
	struct in6_addr six;
	const char *ip = req->remote_addr;
	if (strncmp(ip, "::ffff:", 7) == 0 && inet_pton(AF_INET, ip + 7, &six))
		return ip + 7;
	if (inet_pton(AF_INET, ip, &six) == 1 ||
	    inet_pton(AF_INET6, ip, &six) == 1)
		return ip;
	return NULL;
}

/* The User-Agent as text that Postgres takes; NULL when there is none. */
static const char *
client_agent(struct request *req)
{
	struct buf clean = {.cap = AGENT_MAX * 4};
	size_t n = strlen(req->user_agent);
	if (n == 0)
		return NULL;
	text_append_clean(
	    &clean, req->user_agent, n < AGENT_MAX ? n : AGENT_MAX);
	const char *agent = clean.failed
				? NULL
				: arena_strndup(req->arena, clean.p,
				      text_prefix(clean.p, clean.n, AGENT_MAX));
	buf_free(&clean);
	return agent;
}

/* When to refresh: 70 to 90 % of the life, the same for the same token. */
static long
refresh_after(const char *jti, long ttl_s)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	(void)crypto_hash_sha256(hash, (const unsigned char *)jti, strlen(jti));
	return ttl_s * (700 + 200 * hash[0] / 255) / 1000;
}

static long
at_least_zero(int64_t n)
{
	return n > 0 ? (long)n : 0;
}

static const char *
make_refresh(struct request *req, const struct grant *g)
{
	struct refresh_token t = {.generation = g->generation};
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

/* Makes both tokens of a grant. */
static enum err
make_tokens(
    struct request *req, const struct grant *g, struct session_tokens *out)
{
	const struct config *config = req->services->config;
	const struct access_rules rules = {
	    req->services->keys, config->jwt_issuer, config->jwt_audience};
	struct access_claims claims = {
	    .issued_s = g->issued_s,
	    .expires_s = g->issued_s + config->access_ttl_s,
	    .epoch = g->epoch,
	};
	memcpy(claims.user_id, g->user_id, ID_TEXT);
	memcpy(claims.session_id, g->session_id, ID_TEXT);
	memcpy(claims.jti, g->jti, ID_TEXT);
	const char *access = NULL;
	enum err e = access_token_make(&rules, &claims, req->arena, &access);
	if (e)
		return request_fail(req, e, "cannot make an access token");
	struct session_tokens tokens = {
	    .access_token = access,
	    .refresh_token = make_refresh(req, g),
	    .session_id = arena_strdup(req->arena, g->session_id),
	    .expires_in = at_least_zero(config->access_ttl_s - g->age_s),
	    .refresh_in = at_least_zero(
		refresh_after(g->jti, config->access_ttl_s) - g->age_s),
	    .user_id = arena_strdup(req->arena, g->user_id),
	    .username = arena_strdup(req->arena, g->username),
	    .role = arena_strdup(req->arena, g->role),
	    .user_created_at = arena_strdup(req->arena, g->user_created_at),
	};
	if (!tokens.refresh_token || !tokens.session_id || !tokens.user_id ||
	    !tokens.username || !tokens.role || !tokens.user_created_at)
		return ERR_TOO_LARGE;
	*out = tokens;
	return OK;
}

/*
 * Tells Redis what Postgres has ended. What it cannot be told is noted for
 * the log and no failure: the commit stands, and an entry lasts 60 s.
 */
static void
bury(struct request *req, const char *user_id, const PGresult *r, int column)
{
	const struct session_ended ended = {
	    .user_id = user_id,
	    .sessions = pg_text(r, 0, column),
	    .tokens = pg_text(r, 0, column + 1),
	    .access_ttl_s = req->services->config->access_ttl_s,
	};
	enum err e =
	    session_cache_bury(req->services->redis, req->arena, &ended);
	if (e)
		(void)request_fail(
		    req, e, "redis was not told that a session ended");
}

static enum err
run(struct request *req, const char *user_id, struct pg_call *calls, size_t n)
{
	enum err e = pg_run(req->services->pg, user_id, calls, n);
	return e ? request_fail(req, e, pg_why(req->services->pg)) : OK;
}

/* Reads the row of SESSION_OPEN; `g` has the ids already. */
static enum err
opened(struct request *req, const PGresult *r, struct grant *g,
    struct session_tokens *out)
{
	if (pg_rows(r) == 0)
		return request_fail(req, ERR_INVALID_CREDENTIALS,
		    "the user is disabled or gone");
	g->mac = pg_text(r, 0, 0);
	g->epoch = pg_number(r, 0, 1);
	g->issued_s = pg_number(r, 0, 2);
	g->username = pg_text(r, 0, 3);
	g->role = pg_text(r, 0, 4);
	g->user_created_at = pg_text(r, 0, 5);
	bury(req, g->user_id, r, 6);
	return make_tokens(req, g, out);
}

enum err
session_open(struct request *req, const struct session_ask *ask,
    struct session_tokens *out_tokens)
{
	char session_id[ID_TEXT];
	char jti[ID_TEXT];
	unsigned char key[REFRESH_KEY];
	id_make(session_id);
	id_make(jti);
	refresh_key(req->services->keys, session_id, REFRESH_FIRST, key);
	const char *key_text = bytea(req->arena, key, sizeof key);
	const char *context = device_context(req);
	sodium_memzero(key, sizeof key);
	if (!key_text || !context)
		return ERR_TOO_LARGE;

	size_t n = 0;
	struct pg_call calls[2] = {0};
	if (ask->before)
		calls[n++] = *ask->before;
	calls[n++] = (struct pg_call){
	    .query = &auth_queries[AUTH_SESSION_OPEN],
	    .params = {ask->user_id, session_id, jti, key_text, context,
		ask->is_remembered ? "t" : "f", ask->device_name,
		client_agent(req), client_address(req)},
	};
	enum err e = run(req, ask->user_id, calls, n);
	if (!e) {
		struct grant g = {.user_id = ask->user_id,
		    .session_id = session_id,
		    .jti = jti,
		    .generation = REFRESH_FIRST};
		e = opened(req, calls[n - 1].result, &g, out_tokens);
	}
	pg_calls_clear(calls, n);
	return e;
}

/* What an outcome of auth.session_refresh means. */
static const struct {
	const char *outcome;
	enum err error;
	const char *why; /* for the log */
} outcomes[] = {
    {"rotated", OK, NULL},
    {"grace", OK, NULL},
    {"invalid", ERR_REFRESH_INVALID, "no such session, or not its token"},
    {"ahead", ERR_REFRESH_INVALID,
	"ALARM: a refresh token ahead of its session: restored backup, or "
	"a leaked key"},
    {"revoked", ERR_SESSION_REVOKED, "the session was ended before"},
    {"expired", ERR_REFRESH_EXPIRED, "the session is over"},
    {"reused", ERR_REFRESH_REUSED,
	"ALARM: a refresh token was used twice; the session is ended"},
};

static enum err
judge_outcome(struct request *req, const char *outcome)
{
	for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
		if (strcmp(outcome, outcomes[i].outcome) != 0)
			continue;
		if (outcomes[i].error)
			return request_fail(
			    req, outcomes[i].error, outcomes[i].why);
		return OK;
	}
	return request_fail(req, ERR_INTERNAL, "unknown outcome of a refresh");
}

/* Reads the row of SESSION_REFRESH. */
static enum err
refreshed(struct request *req, const PGresult *r,
    const struct refresh_token *token, struct session_tokens *out)
{
	enum err e = judge_outcome(req, pg_text(r, 0, 0));
	if (e == ERR_REFRESH_REUSED)
		bury(req, pg_text(r, 0, 1), r, 10);
	if (e)
		return e;
	const struct grant g = {
	    .user_id = pg_text(r, 0, 1),
	    .session_id = token->session_id,
	    .generation = token->generation + 1,
	    .mac = pg_text(r, 0, 2),
	    .epoch = pg_number(r, 0, 3),
	    .jti = pg_text(r, 0, 4),
	    .issued_s = pg_number(r, 0, 5),
	    .age_s = pg_number(r, 0, 6),
	    .username = pg_text(r, 0, 7),
	    .role = pg_text(r, 0, 8),
	    .user_created_at = pg_text(r, 0, 9),
	};
	return make_tokens(req, &g, out);
}

/* The parameters of SESSION_REFRESH; false beyond the arena's cap. */
static bool
refresh_call(
    struct request *req, const struct refresh_token *token, struct pg_call *out)
{
	struct arena *a = req->arena;
	unsigned char next[REFRESH_KEY];
	char jti[ID_TEXT];
	id_make(jti);
	refresh_key(req->services->keys, token->session_id,
	    token->generation + 1, next);
	*out = (struct pg_call){
	    .query = &auth_queries[AUTH_SESSION_REFRESH],
	    .params = {token->session_id,
		arena_printf(a, "%u", (unsigned)token->generation),
		bytea(a, token->mac, sizeof token->mac),
		bytea(a, token->key, sizeof token->key),
		bytea(a, next, sizeof next), arena_strdup(a, jti),
		device_context(req), client_address(req)},
	};
	sodium_memzero(next, sizeof next);
	for (size_t i = 0; i < 7; i++) {
		if (!out->params[i])
			return false;
	}
	return true;
}

enum err
session_refresh(struct request *req, const char *refresh_token,
    struct session_tokens *out_tokens)
{
	struct refresh_token token;
	enum err e = refresh_parse(req->services->keys, refresh_token, &token);
	if (e)
		return request_fail(req, e, "not a token of this key ring");
	struct pg_call call;
	if (!refresh_call(req, &token, &call))
		return ERR_TOO_LARGE;
	e = run(req, NULL, &call, 1);
	if (!e)
		e = refreshed(req, call.result, &token, out_tokens);
	pg_calls_clear(&call, 1);
	sodium_memzero(&token, sizeof token);
	return e;
}

/* Asks Postgres whether the session lives. */
static enum err
look_up(struct request *req, const struct access_claims *claims,
    struct session_live *out)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_SESSION_CHECK],
	    .params = {claims->user_id, claims->session_id,
		client_address(req)},
	};
	enum err e = run(req, NULL, &call, 1);
	if (!e && (pg_rows(call.result) == 0 ||
		      pg_number(call.result, 0, 0) != claims->epoch))
		e = request_fail(
		    req, ERR_SESSION_REVOKED, "the session does not live");
	if (!e) {
		struct session_live live = {
		    arena_strdup(req->arena, pg_text(call.result, 0, 1)),
		    arena_strdup(req->arena, pg_text(call.result, 0, 2))};
		if (live.role && live.username)
			*out = live;
		else
			e = ERR_TOO_LARGE;
	}
	pg_calls_clear(&call, 1);
	return e;
}

static enum err
identify(struct request *req, const struct access_claims *claims,
    const struct session_live *live)
{
	struct identity who = {
	    .user_id = arena_strdup(req->arena, claims->user_id),
	    .session_id = arena_strdup(req->arena, claims->session_id),
	    .role = live->role,
	    .jti = arena_strdup(req->arena, claims->jti),
	    .username = live->username,
	};
	if (!who.user_id || !who.session_id || !who.jti)
		return ERR_TOO_LARGE;
	req->who = who;
	return OK;
}

enum err
session_check(struct request *req, const struct access_claims *claims)
{
	struct redis *redis = req->services->redis;
	struct session_live live;
	enum session_memory memory =
	    session_cache_look(redis, req->arena, claims, &live);
	if (memory == SESSION_GONE)
		return request_fail(
		    req, ERR_SESSION_REVOKED, "the session was ended");
	if (memory != SESSION_LIVE) {
		enum err e = look_up(req, claims, &live);
		if (e)
			return e;
	}
	if (memory == SESSION_UNKNOWN)
		session_cache_keep(redis, req->arena, claims, &live);
	return identify(req, claims, &live);
}

enum err
session_end(struct request *req, enum session_scope scope)
{
	static const char *const scopes[] = {"this", "others", "all"};
	struct pg_call call = {
	    .query = &auth_queries[AUTH_SESSION_REVOKE],
	    .params = {req->who.user_id, req->who.session_id, scopes[scope],
		"logout"},
	};
	enum err e = run(req, req->who.user_id, &call, 1);
	if (!e && pg_rows(call.result) > 0)
		bury(req, req->who.user_id, call.result, 0);
	pg_calls_clear(&call, 1);
	return e;
}
