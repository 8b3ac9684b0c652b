/*
 * Reads the audit log. Owns no state; which rows may be seen is decided by row
 * level security and by audit.admin_list.
 */
#include <string.h>

#include "auth/audit.h"
#include "auth/queries.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "http/request.h"
#include "store/pg.h"

#define NEWEST "ffffffff-ffff-ffff-ffff-ffffffffffff"

/* The columns of both statements. */
enum column {
	ID,
	AT,
	ACTION,
	ACTOR,
	ACTOR_ID,
	OPERATOR,
	USER_ID,
	OBJECT,
	OBJECT_ID,
	REQUEST_ID,
	IP,
	DETAILS,
};

static void
write_row(struct buf *out, const PGresult *r, int row)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", pg_text(r, row, ID));
	json_write_time(out, "at", pg_text(r, row, AT));
	json_write_text(out, "action", pg_text(r, row, ACTION));
	json_write_text(out, "actor", pg_text(r, row, ACTOR));
	json_write_text(out, "actor_id", pg_text(r, row, ACTOR_ID));
	json_write_text(out, "operator", pg_text(r, row, OPERATOR));
	json_write_text(out, "user_id", pg_text(r, row, USER_ID));
	json_write_text(out, "object", pg_text(r, row, OBJECT));
	json_write_text(out, "object_id", pg_text(r, row, OBJECT_ID));
	json_write_text(out, "request_id", pg_text(r, row, REQUEST_ID));
	json_write_text(out, "ip", pg_text(r, row, IP));
	json_write_raw(out, "details", pg_text(r, row, DETAILS));
	json_write_close(out, '}');
}

/* Runs a list that was asked for one row more than shown. */
static enum err
run_list(struct request *req, struct pg_call *call, long limit, struct buf *out,
    const char **out_next)
{
	const char *next = NULL;
	enum err e = pg_run(req->services->pg, req->who.user_id, call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	int n = pg_rows(call->result);
	if (n > limit) {
		n = (int)limit;
		next =
		    arena_strdup(req->arena, pg_text(call->result, n - 1, ID));
		if (!next)
			e = ERR_TOO_LARGE;
	}
	json_write_open(out, NULL, '[');
	for (int i = 0; !e && i < n; i++)
		write_row(out, call->result, i);
	json_write_close(out, ']');
	pg_calls_clear(call, 1);
	if (!e)
		*out_next = next;
	return e;
}

enum err
audit_list_own(struct request *req, const struct audit_ask *ask,
    struct buf *out, const char **out_next)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_AUDIT_OWN],
	    .params = {req->who.user_id, ask->before ? ask->before : NEWEST,
		arena_printf(req->arena, "%ld", ask->limit + 1)},
	};
	if (!call.params[2])
		return ERR_TOO_LARGE;
	return run_list(req, &call, ask->limit, out, out_next);
}

enum err
audit_list_all(struct request *req, const struct audit_ask *ask,
    struct buf *out, const char **out_next)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_AUDIT_ALL],
	    .params = {ask->user_id, ask->action, ask->from, ask->to,
		ask->before, arena_printf(req->arena, "%ld", ask->limit + 1)},
	};
	if (!call.params[5])
		return ERR_TOO_LARGE;
	return run_list(req, &call, ask->limit, out, out_next);
}

enum err
audit_note_export(struct request *req, const char *what, const char *id)
{
	struct pg_call call = {
	    .query = &auth_queries[AUTH_AUDIT_EXPORT],
	    .params = {what, id},
	};
	enum err e = pg_run(req->services->pg, req->who.user_id, &call, 1);
	pg_calls_clear(&call, 1);
	return e == OK ? OK : request_fail(req, e, pg_why(req->services->pg));
}
