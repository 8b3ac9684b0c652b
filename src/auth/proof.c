/*
 * Verifies the password of who is signed in. Owns no state. Must not know how
 * sessions are made.
 */
#include <sodium.h>
#include <string.h>

#include "auth/password.h"
#include "auth/proof.h"
#include "auth/queries.h"
#include "auth/session.h"
#include "auth/throttle.h"
#include "auth/user.h"
#include "base/arena.h"
#include "http/request.h"

/* What a proof is judged by. */
struct claim {
	const char *bucket; /* what the throttle charged */
	const char *username;
	const char *hash; /* NULL: the user has no password */
};

static enum err
run(struct request *req, struct pg_call *call)
{
	enum err e = pg_run(req->services->pg, req->who.user_id, call, 1);
	return e ? request_fail(req, e, pg_why(req->services->pg)) : OK;
}

/* Charges the try and finds the hash. */
static enum err
begin(struct request *req, struct claim *out)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_PROOF_BEGIN],
	    .params = {req->who.user_id, req->who.session_id},
	};
	struct arena *a = req->arena;
	enum err e = run(req, &call);
	if (e)
		return e;
	if (pg_rows(call.result) == 0)
		e = ERR_SESSION_REVOKED; /* deleted just now */
	else if (pg_number(call.result, 0, 0) > 0)
		e = throttle_refuse(req, (long)pg_number(call.result, 0, 0));
	else
		*out = (struct claim){
		    .bucket = arena_strdup(a, pg_text(call.result, 0, 1)),
		    .username = arena_strdup(a, pg_text(call.result, 0, 2)),
		    .hash = arena_strdup(a, pg_text(call.result, 0, 3)),
		};
	pg_calls_clear(&call, 1);
	return e;
}

static enum err
prove(struct request *req, const char *password, const struct claim *claim,
    bool *out_needs_rehash)
{
	enum err e = password_verify(
	    req->services->config, password, claim->hash, out_needs_rehash);
	if (e && e != ERR_INVALID_CREDENTIALS)
		throttle_undo(req, claim->bucket);
	if (e)
		return request_fail(req, e,
		    e != ERR_INVALID_CREDENTIALS
			? password_trouble(e)
			: "the password was not proven");
	return OK;
}

enum err
proof_renew(struct request *req, const char *password)
{
	struct claim claim = {0};
	char hash[PASSWORD_HASH_TEXT];
	bool needs_rehash = false, has_hash = false;
	enum err e = begin(req, &claim);
	if (!e)
		e = prove(req, password, &claim, &needs_rehash);
	if (e)
		return e;
	if (needs_rehash)
		has_hash =
		    password_hash(req->services->config, password, hash) == OK;
	struct pg_call call = {
	    .query = &auth_queries[AUTH_PROOF_DONE],
	    .params = {req->who.user_id, req->who.session_id, claim.bucket,
		claim.hash, has_hash ? hash : NULL},
	};
	e = run(req, &call);
	if (!e && !pg_flag(call.result, 0, 0))
		e = request_fail(req, ERR_INVALID_CREDENTIALS,
		    "the password changed meanwhile");
	pg_calls_clear(&call, 1);
	sodium_memzero(hash, sizeof hash);
	return e;
}

/* Stores the new hash; the other sessions end. */
static enum err
store(struct request *req, const struct claim *claim, const char *hash)
{
	struct throttle_keys keys;
	enum err e = throttle_keys_make(req, claim->username, &keys);
	if (e)
		return e;
	struct pg_call call = {
	    .query = &auth_queries[AUTH_PASSWORD_CHANGE],
	    .params = {req->who.user_id, req->who.session_id, keys.device,
		claim->hash, hash},
	};
	e = run(req, &call);
	if (!e && pg_rows(call.result) == 0)
		e = request_fail(req, ERR_INVALID_CREDENTIALS,
		    "the password changed meanwhile");
	else if (!e)
		session_bury(req, req->who.user_id, call.result, 0);
	pg_calls_clear(&call, 1);
	return e;
}

enum err
proof_change_password(
    struct request *req, const char *current, const char *next)
{
	struct claim claim = {0};
	char hash[PASSWORD_HASH_TEXT];
	bool needs_rehash = false;
	enum err e = begin(req, &claim);
	if (!e)
		e = prove(req, current, &claim, &needs_rehash);
	if (!e && strcmp(current, next) == 0)
		e = request_refuse(
		    req, "new_password", "It is the password that you have.");
	if (!e)
		e = user_judge_password(
		    req, "new_password", claim.username, next);
	if (e == ERR_INVALID_FIELD) /* the proof was good */
		throttle_undo(req, claim.bucket);
	if (e)
		return e;
	e = password_hash(req->services->config, next, hash);
	if (e) {
		throttle_undo(req, claim.bucket);
		return request_fail(req, e, password_trouble(e));
	}
	e = store(req, &claim, hash);
	sodium_memzero(hash, sizeof hash);
	return e;
}
