/*
 * Lists, names and ends sessions of the signed-in user. Owns no state. Must
 * not know tokens.
 */
#include <string.h>

#include "auth/queries.h"
#include "auth/session.h"
#include "auth/session_list.h"
#include "base/arena.h"
#include "base/id.h"
#include "http/request.h"

static enum err
run(struct request *req, struct pg_call *calls, size_t n)
{
	enum err e = pg_run(req->services->pg, req->who.user_id, calls, n);
	return e ? request_fail(req, e, pg_why(req->services->pg)) : OK;
}

/* The text of a column in the arena; NULL stays NULL. */
static const char *
text(struct request *req, const PGresult *r, int row, int column)
{
	return arena_strdup(req->arena, pg_text(r, row, column));
}

static void
read_session(
    struct request *req, const PGresult *r, int row, struct session_row *out)
{
	*out = (struct session_row){
	    .id = text(req, r, row, 0),
	    .device = text(req, r, row, 1),
	    .user_agent = text(req, r, row, 2),
	    .ip_created = text(req, r, row, 3),
	    .ip_last = text(req, r, row, 4),
	    .created_at = text(req, r, row, 5),
	    .last_activity = text(req, r, row, 6),
	    .expires_at = text(req, r, row, 7),
	    .is_remembered = pg_flag(r, row, 8),
	    .is_current = strcmp(pg_text(r, row, 0), req->who.session_id) == 0,
	};
}

static void
read_notice(
    struct request *req, const PGresult *r, int row, struct notice_row *out)
{
	*out = (struct notice_row){
	    .id = text(req, r, row, 0),
	    .kind = text(req, r, row, 1),
	    .session_id = text(req, r, row, 2),
	    .device = text(req, r, row, 3),
	    .ip = text(req, r, row, 4),
	    .created_at = text(req, r, row, 5),
	};
}

/* Reads both results; ERR_TOO_LARGE beyond the arena's cap. */
static enum err
read_overview(struct request *req, const struct pg_call *calls,
    struct session_overview *out)
{
	struct session_overview o = {
	    .n_sessions = (size_t)pg_rows(calls[0].result),
	    .n_notices = (size_t)pg_rows(calls[1].result),
	};
	o.sessions = arena_array(req->arena, o.n_sessions, sizeof *o.sessions);
	o.notices = arena_array(req->arena, o.n_notices, sizeof *o.notices);
	if (!o.sessions || !o.notices)
		return ERR_TOO_LARGE;
	for (size_t i = 0; i < o.n_sessions; i++)
		read_session(req, calls[0].result, (int)i, &o.sessions[i]);
	for (size_t i = 0; i < o.n_notices; i++)
		read_notice(req, calls[1].result, (int)i, &o.notices[i]);
	*out = o;
	return OK;
}

enum err
session_list(struct request *req, struct session_overview *out_overview)
{
	struct pg_call calls[] = {
	    {.query = &auth_queries[AUTH_SESSION_LIST]},
	    {.query = &auth_queries[AUTH_NOTICE_LIST]},
	};
	enum err e = run(req, calls, 2);
	if (!e)
		e = read_overview(req, calls, out_overview);
	pg_calls_clear(calls, 2);
	return e;
}

/* Runs a statement that changes one row, or none: ERR_NOT_FOUND. */
static enum err
change_one(struct request *req, struct pg_call *call)
{
	enum err e = run(req, call, 1);
	if (!e && pg_rows(call->result) == 0)
		e = ERR_NOT_FOUND;
	pg_calls_clear(call, 1);
	return e;
}

enum err
session_rename(struct request *req, const char *id, const char *device)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_SESSION_RENAME],
	    .params = {id, device},
	};
	return id_is_uuid(id) ? change_one(req, &call) : ERR_NOT_FOUND;
}

enum err
session_dismiss(struct request *req, const char *id)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_NOTICE_DISMISS],
	    .params = {id},
	};
	return id_is_uuid(id) ? change_one(req, &call) : ERR_NOT_FOUND;
}

enum err
session_end_one(struct request *req, const char *id)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_SESSION_END_ONE],
	    .params = {req->who.user_id, req->who.session_id, id},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	enum err e = run(req, &call, 1);
	if (e)
		return e;
	const char *outcome = pg_text(call.result, 0, 0);
	if (strcmp(outcome, "missing") == 0)
		e = ERR_NOT_FOUND;
	else if (strcmp(outcome, "reauth") == 0)
		e = ERR_REAUTH_REQUIRED;
	else
		session_bury(req, req->who.user_id, call.result, 1);
	pg_calls_clear(&call, 1);
	return e;
}
