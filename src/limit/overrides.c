/*
 * Runs the administrators' statements on limits. The only file that knows the
 * order of their columns.
 */
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/json_write.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "http/request.h"
#include "limit/overrides.h"

#define FIRST "00000000-0000-0000-0000-000000000000"

static const struct row_column columns[] = {
    {"id", ROW_TEXT},
    {"role", ROW_TEXT},
    {"user_id", ROW_TEXT},
    {"username", ROW_TEXT},
    {"store_id", ROW_TEXT},
    {"store", ROW_TEXT},
    {"name", ROW_TEXT},
    {"limit", ROW_RAW},
    {"updated_at", ROW_TIME},
};
static const struct row_shape shape = ROW_SHAPE(columns, 0, -1);

enum { NAME, OWN, OF_ROLE };

const char *
overrides_source(
    const struct limits_of *whose, const char *own, const char *of_role)
{
	if (own)
		return whose->role ? "role" : whose->user_id ? "user" : "store";
	if (whose->store_id)
		return "user";
	return of_role ? "role" : "setting";
}

bool
overrides_fit(const struct limits_of *whose, enum quota q)
{
	return !whose->store_id ||
	       (q != QUOTA_API_PER_MINUTE && q != QUOTA_ADDRESS_PER_MINUTE);
}

/* What holds, and why. */
static void
write_limit(struct buf *out, const struct limits_of *whose, const PGresult *r,
    int row, int64_t setting)
{
	const char *own = pg_text(r, row, OWN);
	const char *of_role = pg_text(r, row, OF_ROLE);
	json_write_open(out, NULL, '{');
	json_write_text(out, "name", pg_text(r, row, NAME));
	if (own || of_role || whose->store_id)
		json_write_raw(out, "limit", own ? own : of_role);
	else
		json_write_number(out, "limit", setting);
	json_write_text(out, "source", overrides_source(whose, own, of_role));
	json_write_close(out, '}');
}

/* The rows are in the order of the table of quotas. */
static void
write_limits(struct request *req, struct buf *out,
    const struct limits_of *whose, const PGresult *r)
{
	struct quotas quotas;
	quotas_default(req->services->config, &quotas);
	json_write_open(out, NULL, '{');
	json_write_open(out, "overrides", '{');
	for (int i = 0; i < QUOTA__MAX; i++) {
		if (pg_text(r, i, OWN))
			json_write_raw(
			    out, pg_text(r, i, NAME), pg_text(r, i, OWN));
	}
	json_write_close(out, '}');
	json_write_open(out, "limits", '[');
	for (int i = 0; i < QUOTA__MAX; i++)
		write_limit(out, whose, r, i, quotas.own[i]);
	json_write_close(out, ']');
	json_write_close(out, '}');
}

/* Can there be such a role, user or store? */
static bool
is_fit(const struct limits_of *whose)
{
	if (whose->role)
		return strcmp(whose->role, "user") == 0 ||
		       strcmp(whose->role, "admin") == 0;
	return id_is_uuid(whose->user_id ? whose->user_id : whose->store_id);
}

static enum err
run(struct request *req, const struct limits_of *whose, struct pg_call *call,
    struct buf *out)
{
	call->params[0] = whose->role;
	call->params[1] = whose->user_id;
	call->params[2] = whose->store_id;
	enum err e = is_fit(whose) ? chat_run(req, call, 1) : ERR_NOT_FOUND;
	if (e != OK)
		return e;
	if (pg_rows(call->result) == QUOTA__MAX)
		write_limits(req, out, whose, call->result);
	else
		e = ERR_NOT_FOUND;
	pg_calls_clear(call, 1);
	return e;
}

enum err
overrides_get(
    struct request *req, const struct limits_of *whose, struct buf *out)
{
	struct pg_call call = {.query = chat_query(CHAT_ADMIN_LIMITS)};
	return run(req, whose, &call, out);
}

enum err
overrides_put(struct request *req, const struct limits_of *whose,
    const char *values, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_LIMITS_PUT),
	    .params = {NULL, NULL, NULL, values},
	};
	return run(req, whose, &call, out);
}

enum err
overrides_page(struct request *req, const char *after, long limit,
    const char *limit_text, struct buf *out, const char **out_next)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_LIMITS_LIST),
	    .params = {after ? after : FIRST, limit_text},
	};
	return rows_page(req, &shape, &call, limit, out, out_next);
}
