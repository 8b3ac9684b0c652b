/*
 * Runs the statements on auth.users. Owns no state. Must not know HTTP beyond
 * struct request, nor how a session's tokens are made.
 */
#include <sodium.h>
#include <string.h>

#include "auth/invite.h"
#include "auth/password.h"
#include "auth/password_rule.h"
#include "auth/profile.h"
#include "auth/queries.h"
#include "auth/session.h"
#include "auth/session_cache.h"
#include "auth/throttle.h"
#include "auth/user.h"
#include "base/arena.h"
#include "base/config.h"
#include "base/id.h"
#include "base/text.h"
#include "http/request.h"

/* What a sign-in is judged by; user_id is NULL for an unknown user. */
struct credentials {
	const char *bucket; /* what the throttle charged */
	const char *user_id;
	const char *hash;
	bool is_disabled;
};

/* What a new row is made of. */
struct new_user {
	const char *username;
	const char *hash;
	const char *code; /* hash of the invitation; NULL: none */
};

/*
 * May this account be made? *out_code is the invitation's hash, NULL where
 * none is needed.
 */
static enum err
admit(struct request *req, const char *code, const char **out_code)
{
	const char *mode = req->services->config->registration;
	*out_code = NULL;
	if (strcmp(mode, "open") == 0)
		return OK;
	if (strcmp(mode, "invite") == 0)
		return invite_check(req, code, out_code);
	return ERR_REGISTRATION_CLOSED;
}

/* What a failure of storing the new user means. */
static enum err
judge_constraint(struct request *req, enum err e)
{
	const char *constraint = pg_constraint(req->services->pg);
	if (e == ERR_CONFLICT && strcmp(constraint, "users_username_key") == 0)
		return ERR_USERNAME_TAKEN;
	if (e == ERR_INVALID_FIELD && strcmp(constraint, "invites_uses") == 0)
		return ERR_INVITE_INVALID;
	return e;
}

enum err
user_judge_password(struct request *req, const char *field,
    const char *username, const char *password)
{
	const char *flaw = NULL;
	enum err e = password_rule_judge(
	    req->services->config, username, password, &flaw);
	if (e)
		return request_fail(
		    req, e, "CHAT_PASSWORD_LIST cannot be read");
	return flaw ? request_refuse(req, field, flaw) : OK;
}

/* Stores the user and opens the first session, both or neither. */
static enum err
store(struct request *req, const struct user_ask *ask,
    const struct new_user *new, struct session_tokens *out)
{
	struct throttle_keys keys;
	char id[ID_TEXT];
	enum err e = throttle_keys_make(req, new->username, &keys);
	if (e)
		return e;
	id_make(id);
	const struct pg_call before[] = {
	    {.query = &auth_queries[new->code ? AUTH_USER_INSERT_INVITED
					      : AUTH_USER_INSERT],
		.params = {id, new->username, new->hash, new->code}},
	    {.query = &auth_queries[AUTH_DEVICE_REMEMBER],
		.params = {id, keys.device}},
	};
	const struct session_ask session = {
	    .user_id = id,
	    .device_name = ask->device_name,
	    .is_remembered = ask->is_remembered,
	    .carrier = ask->carrier,
	    .before = before,
	    .n_before = 2,
	};
	e = session_open(req, &session, out);
	return e ? judge_constraint(req, e) : OK;
}

enum err
user_register(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens)
{
	struct new_user new = {0};
	char hash[PASSWORD_HASH_TEXT];
	enum err e = admit(req, ask->invite, &new.code);
	if (e)
		return e;
	if (text_username(req->arena, ask->username, &new.username) != OK)
		return request_refuse(req, "username",
		    "A username has 1 to 64 characters without spaces.");
	e = user_judge_password(req, "password", new.username, ask->password);
	if (e)
		return e;
	e = password_hash(req->services->config, ask->password, hash);
	if (e)
		return request_fail(req, e, password_trouble(e));
	new.hash = hash;
	e = store(req, ask, &new, out_tokens);
	sodium_memzero(hash, sizeof hash);
	if (!e)
		profile_note_zone(req, out_tokens->user_id, ask->time_zone);
	return e;
}

/* Charges the try and finds the user; an unknown one is no error here. */
static enum err
begin(struct request *req, const char *username,
    const struct throttle_keys *keys, struct credentials *out)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_LOGIN_BEGIN],
	    .params = {username, keys->name, keys->devices, keys->address,
		keys->rate},
	};
	struct arena *a = req->arena;
	enum err e = pg_run(req->services->pg, NULL, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	long wait_s = (long)pg_number(call.result, 0, 0);
	if (wait_s > 0)
		e = throttle_refuse(req, wait_s);
	else
		*out = (struct credentials){
		    .bucket = arena_strdup(a, pg_text(call.result, 0, 1)),
		    .user_id = arena_strdup(a, pg_text(call.result, 0, 2)),
		    .hash = arena_strdup(a, pg_text(call.result, 0, 3)),
		    .is_disabled = pg_flag(call.result, 0, 4),
		};
	pg_calls_clear(&call, 1);
	return e;
}

/*
 * Verifies the password. A try that could not be made is given back: who keeps
 * the server busy must not use up other people's.
 */
static enum err
prove(struct request *req, const char *password, const struct credentials *who,
    bool *out_needs_rehash)
{
	enum err e = password_verify(
	    req->services->config, password, who->hash, out_needs_rehash);
	if (e && e != ERR_INVALID_CREDENTIALS)
		throttle_undo(req, who->bucket);
	if (e)
		return request_fail(req, e,
		    e != ERR_INVALID_CREDENTIALS ? password_trouble(e)
		    : !who->user_id              ? "no such user"
				    : "the password was not proven");
	if (who->is_disabled)
		return request_fail(
		    req, ERR_INVALID_CREDENTIALS, "the user is disabled");
	return OK;
}

/* Opens the session of a proven user; the password may change meanwhile. */
static enum err
open_proven(struct request *req, const struct session_ask *session,
    struct session_tokens *out)
{
	enum err e = session_open(req, session, out);
	if (e == ERR_INVALID_FIELD && strcmp(pg_constraint(req->services->pg),
					  "users_password_proven") == 0)
		return ERR_INVALID_CREDENTIALS;
	return e;
}

enum err
user_sign_in(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens)
{
	struct credentials who = {0};
	struct throttle_keys keys;
	const char *username = NULL;
	bool needs_rehash = false;
	/* A name that nobody can have is nobody's: the same work for it. */
	if (text_username(req->arena, ask->username, &username) != OK)
		username = "";
	enum err e = throttle_keys_make(req, username, &keys);
	if (!e)
		e = begin(req, username, &keys, &who);
	if (!e)
		e = prove(req, ask->password, &who, &needs_rehash);
	if (e)
		return e;

	char hash[PASSWORD_HASH_TEXT];
	const char *new_hash = NULL;
	/* A hash that cannot be made now is made at the next sign-in. */
	if (needs_rehash &&
	    password_hash(req->services->config, ask->password, hash) == OK)
		new_hash = hash;
	const struct pg_call done = {
	    .query = &auth_queries[AUTH_LOGIN_DONE],
	    .params = {who.user_id, who.bucket, keys.address, keys.rate,
		keys.device, who.hash, new_hash},
	};
	const struct session_ask session = {
	    .user_id = who.user_id,
	    .device_name = ask->device_name,
	    .is_remembered = ask->is_remembered,
	    .carrier = ask->carrier,
	    .before = &done,
	    .n_before = 1,
	};
	e = open_proven(req, &session, out_tokens);
	sodium_memzero(hash, sizeof hash);
	return e;
}

enum err
user_read(struct request *req, struct user *out_user)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_USER_READ],
	    .params = {req->who.user_id},
	};
	enum err e = pg_run(req->services->pg, req->who.user_id, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	const PGresult *r = call.result;
	if (pg_rows(r) > 0)
		*out_user = (struct user){
		    .id = arena_strdup(req->arena, pg_text(r, 0, 0)),
		    .username = arena_strdup(req->arena, pg_text(r, 0, 1)),
		    .display_name = arena_strdup(req->arena, pg_text(r, 0, 2)),
		    .role = arena_strdup(req->arena, pg_text(r, 0, 3)),
		    .created_at = arena_strdup(req->arena, pg_text(r, 0, 4)),
		    .last_login_at = arena_strdup(req->arena, pg_text(r, 0, 5)),
		    .time_zone = arena_strdup(req->arena, pg_text(r, 0, 6)),
		    .locale = arena_strdup(req->arena, pg_text(r, 0, 7)),
		};
	else
		e = ERR_NOT_FOUND;
	pg_calls_clear(&call, 1);
	return e;
}

/* What Redis is not told here, session_watch_bury tells it. */
static void
bury(struct request *req, const char *user_id, const PGresult *r)
{
	session_bury(req, user_id, r, 1);
	enum err e =
	    session_cache_distrust(req->services->redis, req->arena, user_id);
	if (e)
		(void)request_fail(
		    req, e, "redis was not told that a user was deleted");
}

enum err
user_delete(struct request *req)
{
	const char *user_id = req->who.user_id;
	struct pg_call call = {
	    .query = &auth_queries[AUTH_USER_DELETE],
	    .params = {user_id, req->who.session_id},
	};
	enum err e = pg_run(req->services->pg, user_id, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	if (strcmp(pg_text(call.result, 0, 0), "deleted") == 0)
		bury(req, user_id, call.result);
	else
		e = ERR_REAUTH_REQUIRED;
	pg_calls_clear(&call, 1);
	return e;
}
