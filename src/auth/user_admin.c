/*
 * Runs the administrators' statements on users and their sessions. Owns no
 * state.
 */
#include <string.h>

#include "auth/queries.h"
#include "auth/session.h"
#include "auth/user_admin.h"
#include "base/id.h"
#include "http/request.h"

/* Runs the call about user `id` and tells Redis what it ended. */
static enum err
run(struct request *req, const char *id, struct pg_call *call)
{
	struct pg *pg = req->services->pg;
	enum err e = pg_run(pg, req->who.user_id, call, 1);
	if (e)
		return request_fail(req, e, pg_why(pg));
	const char *outcome = pg_text(call->result, 0, 0);
	if (strcmp(outcome, "missing") == 0)
		e = ERR_NOT_FOUND;
	else if (strcmp(outcome, "self") == 0)
		e = ERR_CONFLICT;
	else if (strcmp(outcome, "reauth") == 0)
		e = ERR_REAUTH_REQUIRED;
	else
		session_bury(req, id, call->result, 1);
	pg_calls_clear(call, 1);
	if (e == ERR_CONFLICT)
		req->detail = "Nobody does this to themselves here.";
	return e;
}

enum err
user_admin_patch(struct request *req, const char *id, const char *role,
    const char *is_disabled)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_ADMIN_USER_PATCH],
	    .params = {id, req->who.session_id, role, is_disabled},
	};
	return id_is_uuid(id) ? run(req, id, &call) : ERR_NOT_FOUND;
}

enum err
user_admin_delete(struct request *req, const char *id)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_ADMIN_USER_DELETE],
	    .params = {id, req->who.session_id},
	};
	return id_is_uuid(id) ? run(req, id, &call) : ERR_NOT_FOUND;
}

enum err
user_admin_end_sessions(
    struct request *req, const char *id, const char *session)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_ADMIN_SESSIONS_END],
	    .params = {id, session},
	};
	if (!id_is_uuid(id) || (session && !id_is_uuid(session)))
		return ERR_NOT_FOUND;
	return run(req, id, &call);
}
