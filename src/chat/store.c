/*
 * The rows of chat.stores that row level security shows a user. The only file
 * that knows the order of STORE_COLUMNS, with a role after them.
 */
#include "base/buf.h"
#include "base/id.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "chat/store.h"
#include "http/request.h"

static const struct row_column columns[] = {
    {"id", ROW_TEXT},
    {"slug", ROW_TEXT},
    {"name", ROW_TEXT},
    {"description", ROW_TEXT},
    {"is_open", ROW_FLAG},
    {"is_active", ROW_FLAG},
    {"metadata", ROW_RAW},
    {"created_at", ROW_TIME},
    {"updated_at", ROW_TIME},
    {"role", ROW_TEXT},
};
static const struct row_shape shape = ROW_SHAPE(columns, 1, -1);

enum err
stores_list(struct request *req, const char *after, long limit,
    const char *limit_text, struct buf *out, const char *out_next[static 2])
{
	struct pg_call call = {
	    .query = chat_query(CHAT_STORES_LIST),
	    .params = {req->who.user_id, after, limit_text},
	};
	return rows_page(req, &shape, &call, limit, out, out_next);
}

enum err
store_get(struct request *req, const char *name, struct buf *out)
{
	bool is_uuid = id_is_uuid(name);
	struct pg_call call = {
	    .query = chat_query(CHAT_STORE_GET),
	    .params = {req->who.user_id, is_uuid ? name : NULL,
		is_uuid ? NULL : name},
	};
	return rows_one(req, &shape, &call, out);
}
