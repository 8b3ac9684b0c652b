/*
 * The rows of chat.analytics and chat.analytics_daily. The only file that
 * knows the order of their columns.
 */
#include "base/buf.h"
#include "chat/analytics.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "http/request.h"

static const struct row_column columns[] = {
    {"day", ROW_TEXT},
    {"category", ROW_TEXT},
    {"name", ROW_TEXT},
    {"events", ROW_RAW},
    {"total", ROW_RAW},
    {"least", ROW_RAW},
    {"greatest", ROW_RAW},
};
static const struct row_shape shape = ROW_SHAPE(columns, 0, 1, 2);

enum err
analytics_add(struct request *req, const char *events)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ANALYTICS_ADD),
	    .params = {req->who.user_id, events},
	};
	enum err e = chat_run(req, &call, 1);
	if (e == OK)
		pg_calls_clear(&call, 1);
	return e;
}

enum err
analytics_list(struct request *req, const struct analytics_ask *ask,
    struct buf *out, const char **out_next)
{
	bool is_first = !ask->after[0];
	struct pg_call call = {
	    .query = chat_query(CHAT_ANALYTICS_LIST),
	    .params = {req->who.user_id, ask->category, ask->from, ask->to,
		is_first ? ANALYTICS_DAY_LAST : ask->after[0],
		is_first ? "" : ask->after[1], is_first ? "" : ask->after[2],
		ask->limit_text},
	};
	return rows_page(req, &shape, &call, ask->limit, out, out_next);
}
