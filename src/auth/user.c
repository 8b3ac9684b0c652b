/*
 * Runs the statements on auth.users. Owns no state. Must not know HTTP beyond
 * struct request, nor how a session's tokens are made.
 */
#include <sodium.h>
#include <string.h>

#include "auth/password.h"
#include "auth/queries.h"
#include "auth/session.h"
#include "auth/user.h"
#include "base/arena.h"
#include "base/config.h"
#include "base/id.h"
#include "base/text.h"
#include "http/request.h"

/* What checking a password takes; all NULL for an unknown user. */
struct credentials {
	const char *user_id;
	const char *hash;
	bool is_disabled;
};

static bool
is_open(const struct config *config)
{
	return strcmp(config->registration, "open") == 0;
}

/* Why a hash could not be made or checked, for the log. */
static const char *
hash_trouble(enum err e)
{
	if (e == ERR_BUSY)
		return "no hash slot came free (CHAT_HASH_SLOTS), or there is "
		       "no memory for a hash";
	return "cannot hash: is CHAT_RUN_DIR a folder that can be written to?";
}

enum err
user_register(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens)
{
	const struct config *config = req->services->config;
	const char *username = NULL;
	char id[ID_TEXT];
	char hash[PASSWORD_HASH_TEXT];
	if (!is_open(config))
		return ERR_REGISTRATION_CLOSED;
	if (text_username(req->arena, ask->username, &username) != OK)
		return request_refuse(req, "username",
		    "A username has 1 to 64 characters without spaces.");
	enum err e = password_hash(config, ask->password, hash);
	if (e)
		return request_fail(req, e, hash_trouble(e));

	id_make(id);
	const struct pg_call insert = {
	    .query = &auth_queries[AUTH_USER_INSERT],
	    .params = {id, username, hash},
	};
	const struct session_ask session = {
	    .user_id = id,
	    .device_name = ask->device_name,
	    .is_remembered = ask->is_remembered,
	    .carrier = ask->carrier,
	    .before = &insert,
	};
	e = session_open(req, &session, out_tokens);
	sodium_memzero(hash, sizeof hash);
	if (e == ERR_CONFLICT &&
	    strcmp(pg_constraint(req->services->pg), "users_username_key") == 0)
		return ERR_USERNAME_TAKEN;
	return e;
}

/* Finds the user; an unknown one is no error here. */
static enum err
find(struct request *req, const char *username, struct credentials *out)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_USER_FOR_LOGIN],
	    .params = {username},
	};
	enum err e = pg_run(req->services->pg, NULL, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	struct credentials found = {0};
	if (pg_rows(call.result) > 0) {
		found.user_id =
		    arena_strdup(req->arena, pg_text(call.result, 0, 0));
		found.hash =
		    arena_strdup(req->arena, pg_text(call.result, 0, 1));
		found.is_disabled = pg_flag(call.result, 0, 2);
	}
	pg_calls_clear(&call, 1);
	*out = found;
	return OK;
}

/* Opens the session of a proven user, storing a fresh hash on the way. */
static enum err
open_proven(struct request *req, const struct user_ask *ask,
    const struct credentials *who, const char *new_hash,
    struct session_tokens *out)
{
	const struct pg_call rehash = {
	    .query = &auth_queries[AUTH_USER_REHASH],
	    .params = {who->user_id, who->hash, new_hash},
	};
	const struct session_ask session = {
	    .user_id = who->user_id,
	    .device_name = ask->device_name,
	    .is_remembered = ask->is_remembered,
	    .carrier = ask->carrier,
	    .before = new_hash ? &rehash : NULL,
	};
	return session_open(req, &session, out);
}

enum err
user_sign_in(struct request *req, const struct user_ask *ask,
    struct session_tokens *out_tokens)
{
	const struct config *config = req->services->config;
	struct credentials who = {0};
	const char *username = NULL;
	bool needs_rehash = false;
	/* A name that nobody can have is nobody's: the same work for it. */
	enum err e = text_username(req->arena, ask->username, &username);
	e = find(req, e ? "" : username, &who);
	if (e)
		return e;
	e = password_verify(config, ask->password, who.hash, &needs_rehash);
	if (e)
		return request_fail(req, e,
		    e != ERR_INVALID_CREDENTIALS ? hash_trouble(e)
		    : !who.user_id               ? "no such user"
				   : "the password was not proven");
	if (who.is_disabled)
		return request_fail(
		    req, ERR_INVALID_CREDENTIALS, "the user is disabled");

	char hash[PASSWORD_HASH_TEXT];
	const char *new_hash = NULL;
	/* A hash that cannot be made now is made at the next sign-in. */
	if (needs_rehash && password_hash(config, ask->password, hash) == OK)
		new_hash = hash;
	e = open_proven(req, ask, &who, new_hash, out_tokens);
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
		};
	else
		e = ERR_NOT_FOUND;
	pg_calls_clear(&call, 1);
	return e;
}
