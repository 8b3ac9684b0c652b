/*
 * Runs the session functions of schema auth and turns their rows into tokens
 * and identities. Owns no state. Must not know HTTP beyond struct request.
 */
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "auth/access_token.h"
#include "auth/client.h"
#include "auth/queries.h"
#include "auth/refresh.h"
#include "auth/session.h"
#include "auth/session_cache.h"
#include "auth/session_tokens.h"
#include "auth/session_watch.h"
#include "base/arena.h"
#include "base/config.h"
#include "http/request.h"
#include "limit/limit.h"
#include "store/cache.h"

static const char *
device_text(struct request *req)
{
	unsigned char hash[CLIENT_DEVICE];
	client_device(req, hash);
	return queries_bytea(req->arena, hash, sizeof hash);
}

void
session_bury(
    struct request *req, const char *user_id, const PGresult *r, int column)
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

/* Reads the row of SESSION_OPEN, or of SESSION_OPEN_MEMBER where `g` does not
 * have the user yet. */
static enum err
opened(struct request *req, const PGresult *r, struct session_grant *g,
    struct session_tokens *out)
{
	if (pg_rows(r) == 0)
		return request_fail(req, ERR_INVALID_CREDENTIALS,
		    "the user is disabled or gone");
	if (!pg_text(r, 0, 0))
		return ERR_USER_DISABLED; /* known, but without a session */
	if (!g->user_id)
		g->user_id = pg_text(r, 0, 8);
	g->mac = pg_text(r, 0, 0);
	g->epoch = pg_number(r, 0, 1);
	g->issued_s = pg_number(r, 0, 2);
	g->username = pg_text(r, 0, 3);
	g->role = pg_text(r, 0, 4);
	g->user_created_at = pg_text(r, 0, 5);
	session_bury(req, g->user_id, r, 6);
	return session_tokens_make(req, g, out);
}

/* The session is a member's. */
static void
name_member(const struct session_member *m, struct pg_call *call)
{
	const char *const more[] = {m->issuer, m->external_id, m->username,
	    m->name, m->address, m->rate};
	call->query = &auth_queries[AUTH_SESSION_OPEN_MEMBER];
	call->params[0] = m->new_id;
	memcpy(call->params + 9, more, sizeof more);
}

enum err
session_open(struct request *req, const struct session_ask *ask,
    struct session_tokens *out_tokens)
{
	struct refresh_token first = {
	    .form = session_form(ask->carrier), .generation = REFRESH_FIRST};
	char jti[ID_TEXT];
	unsigned char key[REFRESH_KEY];
	id_make(first.session_id);
	id_make(jti);
	refresh_key(req->services->keys, &first, key);
	const char *key_text = queries_bytea(req->arena, key, sizeof key);
	const char *device = device_text(req);
	sodium_memzero(key, sizeof key);
	if (!key_text || !device)
		return ERR_TOO_LARGE;

	size_t n = ask->n_before;
	struct pg_call calls[SESSION_BEFORE_MAX + 1] = {0};
	assert(n <= SESSION_BEFORE_MAX);
	for (size_t i = 0; i < n; i++)
		calls[i] = ask->before[i];
	calls[n++] = (struct pg_call){
	    .query = &auth_queries[AUTH_SESSION_OPEN],
	    .params = {ask->user_id, first.session_id, jti, key_text, device,
		ask->is_remembered ? "t" : "f", ask->device_name,
		client_agent(req), client_address(req)},
	};
	if (ask->member)
		name_member(ask->member, &calls[n - 1]);
	/* Signing in is seen in the user's own row. Who a member is, is known
	 * afterwards only. */
	struct cache *cache = req->services->cache;
	struct cache_write write = {
	    .users = {ask->user_id}, .n_users = ask->user_id != NULL};
	cache_write_begin(cache, req->arena, &write);
	enum err e = run(req, ask->user_id, calls, n);
	if (!e) {
		struct session_grant g = {.user_id = ask->user_id,
		    .session_id = first.session_id,
		    .jti = jti,
		    .carrier = ask->carrier,
		    .generation = REFRESH_FIRST};
		e = opened(req, calls[n - 1].result, &g, out_tokens);
		write.users[0] = g.user_id;
		write.n_users = g.user_id != NULL;
	}
	if (e != ERR_UNAVAILABLE)
		cache_write_end(cache, req->arena, &write);
	pg_calls_clear(calls, n);
	return e;
}

/* What an outcome of auth.session_refresh or session_recognize means. */
static const struct {
	const char *outcome;
	const char *why; /* for the log */
	enum err error;
	bool is_alarm;
} outcomes[] = {
    {"rotated", NULL, OK, false},
    {"grace", NULL, OK, false},
    {"known", NULL, OK, false},
    {"invalid", "no such session, or not its token", ERR_REFRESH_INVALID,
	false},
    {"ahead",
	"ALARM: a refresh token ahead of its session: restored backup, or "
	"a leaked key",
	ERR_REFRESH_INVALID, true},
    {"revoked", "the session was ended before", ERR_SESSION_REVOKED, false},
    {"expired", "the session is over", ERR_REFRESH_EXPIRED, false},
    {"reused", "ALARM: a refresh token was used twice; the session is ended",
	ERR_REFRESH_REUSED, true},
};

static enum err
judge_outcome(struct request *req, const char *outcome)
{
	for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
		if (strcmp(outcome, outcomes[i].outcome) != 0)
			continue;
		req->is_alarm = outcomes[i].is_alarm;
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
		session_bury(req, pg_text(r, 0, 1), r, 10);
	if (e)
		return e;
	const struct session_grant g = {
	    .user_id = pg_text(r, 0, 1),
	    .session_id = token->session_id,
	    .carrier = (enum session_carrier)(token->form - 1),
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
	return session_tokens_make(req, &g, out);
}

/* The parameters of SESSION_REFRESH; false beyond the arena's cap. */
static bool
refresh_call(
    struct request *req, const struct refresh_token *token, struct pg_call *out)
{
	struct arena *a = req->arena;
	struct refresh_token successor = *token;
	unsigned char next[REFRESH_KEY];
	char jti[ID_TEXT];
	id_make(jti);
	successor.generation++;
	refresh_key(req->services->keys, &successor, next);
	sodium_memzero(&successor, sizeof successor);
	*out = (struct pg_call){
	    .query = &auth_queries[AUTH_SESSION_REFRESH],
	    .params = {token->session_id,
		arena_printf(a, "%u", (unsigned)token->generation),
		queries_bytea(a, token->mac, sizeof token->mac),
		queries_bytea(a, token->key, sizeof token->key),
		queries_bytea(a, next, sizeof next), arena_strdup(a, jti),
		device_text(req), client_address(req)},
	};
	sodium_memzero(next, sizeof next);
	for (size_t i = 0; i < 7; i++) {
		if (!out->params[i])
			return false;
	}
	return true;
}

/* Reads a token that came as tokens of its session travel. */
static enum err
read_token(
    struct request *req, const char *text, struct refresh_token *out_token)
{
	struct refresh_token token;
	enum err e = refresh_parse(req->services->keys, text, &token);
	if (e)
		return request_fail(req, e, "not a token of this key ring");
	bool is_for_body = token.form == session_form(SESSION_IN_BODY);
	req->is_alarm = !is_for_body && !req->is_by_cookie;
	if (is_for_body == req->is_by_cookie)
		return request_fail(req, ERR_REFRESH_INVALID,
		    is_for_body ? "a token of bodies came in a cookie"
				: "ALARM: a cookie's token came in a body");
	*out_token = token;
	return OK;
}

enum err
session_refresh(struct request *req, const char *refresh_token,
    struct session_tokens *out_tokens)
{
	struct refresh_token token = {0};
	enum err e = read_token(req, refresh_token, &token);
	if (!e)
		e = limit_refresh(req, token.session_id);
	if (e)
		return e;
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

/* Reads the row of SESSION_RECOGNIZE. */
static enum err
recognized(struct request *req, const PGresult *r, const char *session_id)
{
	enum err e = judge_outcome(req, pg_text(r, 0, 0));
	if (e)
		return e;
	struct identity who = {
	    .user_id = arena_strdup(req->arena, pg_text(r, 0, 1)),
	    .session_id = arena_strdup(req->arena, session_id),
	    .role = arena_strdup(req->arena, pg_text(r, 0, 2)),
	    .username = arena_strdup(req->arena, pg_text(r, 0, 3)),
	};
	if (!who.user_id || !who.session_id || !who.role || !who.username)
		return ERR_TOO_LARGE;
	req->who = who;
	return OK;
}

enum err
session_recognize(struct request *req, const char *refresh_token)
{
	struct arena *a = req->arena;
	struct refresh_token token = {0};
	enum err e = read_token(req, refresh_token, &token);
	if (e)
		return e;
	struct pg_call call = {
	    .query = &auth_queries[AUTH_SESSION_RECOGNIZE],
	    .params = {token.session_id,
		arena_printf(a, "%u", (unsigned)token.generation),
		queries_bytea(a, token.mac, sizeof token.mac),
		queries_bytea(a, token.key, sizeof token.key)},
	};
	e = ERR_TOO_LARGE;
	if (call.params[1] && call.params[2] && call.params[3])
		e = run(req, NULL, &call, 1);
	if (!e)
		e = recognized(req, call.result, token.session_id);
	pg_calls_clear(&call, 1);
	sodium_memzero(&token, sizeof token);
	return e;
}

/* Reads the row of SESSION_CHECK. */
static enum err
read_live(struct request *req, const PGresult *r,
    const struct access_claims *claims, struct session_live *out)
{
	if (pg_rows(r) == 0 || pg_number(r, 0, 0) != claims->epoch)
		return request_fail(
		    req, ERR_SESSION_REVOKED, "the session does not live");
	struct session_live live = {arena_strdup(req->arena, pg_text(r, 0, 1)),
	    arena_strdup(req->arena, pg_text(r, 0, 2))};
	if (!live.role || !live.username)
		return ERR_TOO_LARGE;
	*out = live;
	return OK;
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

/* Asks Postgres for what Redis does not know: the session, or its limits. */
static enum err
ask_postgres(struct request *req, const struct access_claims *claims,
    struct limit_door *door, enum session_memory memory,
    struct session_live *live)
{
	struct pg_call calls[2];
	struct limit_entry entry;
	bool is_known = memory == SESSION_LIVE;
	size_t n = is_known ? 0 : 1;
	calls[0] = (struct pg_call){
	    .query = &auth_queries[AUTH_SESSION_CHECK],
	    .params = {claims->user_id, claims->session_id,
		client_address(req)},
	};
	size_t n_charge = limit_calls(req, door, is_known, &calls[n]);
	enum err e = n + n_charge > 0
			 ? run(req, claims->user_id, calls, n + n_charge)
			 : OK;
	if (e == ERR_UNAVAILABLE && is_known) {
		e = identify(req, claims, live);
		return e ? e : limit_enter_alone(req, door);
	}
	if (e)
		return e;
	if (!is_known)
		e = read_live(req, calls[0].result, claims, live);
	bool remembers = !e && memory == SESSION_UNKNOWN &&
			 session_cache_entry(req->arena, claims, live, &entry);
	if (!e)
		e = identify(req, claims, live);
	if (!e)
		e = limit_enter(req, door, n_charge ? calls[n].result : NULL,
		    remembers ? &entry : NULL);
	pg_calls_clear(calls, n + n_charge);
	return e;
}

enum err
session_check(struct request *req, const struct access_claims *claims)
{
	struct limit_door door;
	struct session_live live;
	if (!session_cache_door(req->arena, claims, &door))
		return ERR_TOO_LARGE;
	door.charge = &auth_queries[AUTH_RATE_CHARGE_SESSION];
	door.proof[0] = claims->session_id;
	door.proof[1] =
	    arena_printf(req->arena, "%lld", (long long)claims->epoch);
	limit_knock(req, &door, session_is_doubted(req->services->doubt));
	enum session_memory memory =
	    session_cache_judge(req->arena, &door, claims, &live);
	if (memory == SESSION_GONE)
		return request_fail(
		    req, ERR_SESSION_REVOKED, "the session was ended");
	if (memory == SESSION_LIVE && session_is_doubted(req->services->doubt))
		memory = SESSION_AWAY; /* as good as */
	return ask_postgres(req, claims, &door, memory, &live);
}

enum err
session_end(struct request *req, enum session_scope scope)
{
	static const char *const scopes[] = {"this", "others", "all"};
	struct pg_call call = {
	    .query = &auth_queries[AUTH_SESSION_LOGOUT],
	    .params = {req->who.user_id, req->who.session_id, scopes[scope]},
	};
	enum err e = run(req, req->who.user_id, &call, 1);
	if (e)
		return e;
	if (strcmp(pg_text(call.result, 0, 0), "ended") == 0)
		session_bury(req, req->who.user_id, call.result, 1);
	else
		e = ERR_REAUTH_REQUIRED;
	pg_calls_clear(&call, 1);
	return e;
}
