/*
 * The administrators' lists by a table, and what they change of stores. The
 * only file that knows the order of their columns.
 */
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "chat/admin.h"
#include "chat/analytics.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "chat/store_tool.h"
#include "http/request.h"

static const struct row_column stores[] = {
    {"id", ROW_TEXT},
    {"slug", ROW_TEXT},
    {"name", ROW_TEXT},
    {"description", ROW_TEXT},
    {"is_open", ROW_FLAG},
    {"is_active", ROW_FLAG},
    {"metadata", ROW_RAW},
    {"created_at", ROW_TIME},
    {"updated_at", ROW_TIME},
    {"model", ROW_TEXT},
    {"system_prompt", ROW_TEXT},
    {"settings", ROW_RAW},
};
static const struct row_column members[] = {
    {"user_id", ROW_TEXT},
    {"username", ROW_TEXT},
    {"role", ROW_TEXT},
    {"created_at", ROW_TIME},
};
static const struct row_column tools[] = {STORE_TOOL_ROW};

#define USER_COLUMNS                                                          \
	{"id", ROW_TEXT}, {"username", ROW_TEXT}, {"display_name", ROW_TEXT}, \
	    {"role", ROW_TEXT}, {"is_disabled", ROW_FLAG},                    \
	    {"issuer", ROW_TEXT}, {"external_id", ROW_TEXT},                  \
	    {"created_at", ROW_TIME},                                         \
	{                                                                     \
		"last_login_at", ROW_TIME                                     \
	}
static const struct row_column users[] = {USER_COLUMNS};
static const struct row_column user_whole[] = {
    USER_COLUMNS,
    {"conversations", ROW_RAW},
    {"messages", ROW_RAW},
    {"documents", ROW_RAW},
    {"tasks", ROW_RAW},
    {"sessions", ROW_RAW},
};
static const struct row_column sessions[] = {
    {"id", ROW_TEXT},
    {"user_id", ROW_TEXT},
    {"device", ROW_TEXT},
    {"user_agent", ROW_TEXT},
    {"ip_created", ROW_TEXT},
    {"ip", ROW_TEXT},
    {"created_at", ROW_TIME},
    {"last_activity", ROW_TIME},
    {"expires_at", ROW_TIME},
};
static const struct row_column conversations[] = {
    {"id", ROW_TEXT},
    {"short_id", ROW_TEXT},
    {"title", ROW_TEXT},
    {"store_id", ROW_TEXT},
    {"is_archived", ROW_FLAG},
    {"message_count", ROW_RAW},
    {"created_at", ROW_TIME},
    {"last_message_at", ROW_TIME},
};
static const struct row_column messages[] = {
    {"id", ROW_TEXT},
    {"parent_id", ROW_TEXT},
    {"position", ROW_RAW},
    {"role", ROW_TEXT},
    {"content", ROW_TEXT},
    {"status", ROW_TEXT},
    {"model", ROW_TEXT},
    {"token_count", ROW_RAW},
    {"created_at", ROW_TIME},
};
static const struct row_column feedback[] = {
    {"message_id", ROW_TEXT},
    {"user_id", ROW_TEXT},
    {"conversation_id", ROW_TEXT},
    {"rating", ROW_RAW},
    {"reasons", ROW_RAW},
    {"comment", ROW_TEXT},
    {"created_at", ROW_TIME},
};
static const struct row_column analytics[] = {
    {"day", ROW_TEXT},
    {"category", ROW_TEXT},
    {"name", ROW_TEXT},
    {"events", ROW_RAW},
    {"total", ROW_RAW},
    {"least", ROW_RAW},
    {"greatest", ROW_RAW},
};
static const struct row_column stats[] = {
    {"users", ROW_RAW},
    {"users_disabled", ROW_RAW},
    {"users_active_day", ROW_RAW},
    {"sessions", ROW_RAW},
    {"conversations_estimate", ROW_RAW},
    {"messages_estimate", ROW_RAW},
    {"replies_running", ROW_RAW},
    {"workers", ROW_RAW},
    {"stores", ROW_RAW},
};

static const struct row_shape shape_of_store = ROW_SHAPE(stores, 1, -1);
static const struct row_shape shape_of_member = ROW_SHAPE(members, 0, -1);
static const struct row_shape shape_of_user = ROW_SHAPE(user_whole, -1, -1);
static const struct row_shape shape_of_stats = ROW_SHAPE(stats, -1, -1);

/* A list: its statement takes filters, keys and a limit, in this order. */
static const struct {
	enum chat_query query;
	struct row_shape shape;
	size_t n_filters;
	const char *first[ADMIN_KEYS_MAX]; /* the keys before the first row */
} lists[ADMIN_LIST__MAX] = {
    [ADMIN_LIST_STORES] = {CHAT_ADMIN_STORES, ROW_SHAPE(stores, 1, -1), 1,
	{"", NULL}},
    [ADMIN_LIST_MEMBERS] = {CHAT_ADMIN_MEMBERS, ROW_SHAPE(members, 0, -1), 1,
	{"00000000-0000-0000-0000-000000000000", NULL}},
    [ADMIN_LIST_TOOLS] = {CHAT_ADMIN_STORE_TOOLS, ROW_SHAPE(tools, 2, -1), 2,
	{"", NULL}},
    [ADMIN_LIST_USERS] = {CHAT_ADMIN_USERS, ROW_SHAPE(users, 1, -1), 3,
	{"", NULL}},
    [ADMIN_LIST_SESSIONS] = {CHAT_ADMIN_SESSIONS, ROW_SHAPE(sessions, 0, -1), 1,
	{ROWS_ID_LAST, NULL}},
    [ADMIN_LIST_CONVERSATIONS] = {CHAT_ADMIN_CONVERSATIONS,
	ROW_SHAPE(conversations, 6, 0), 1, {ROWS_TIME_LAST, ROWS_ID_LAST}},
    [ADMIN_LIST_MESSAGES] = {CHAT_ADMIN_MESSAGES, ROW_SHAPE(messages, 2, -1), 2,
	{"0", NULL}},
    [ADMIN_LIST_FEEDBACK] = {CHAT_ADMIN_FEEDBACK, ROW_SHAPE(feedback, 6, 0), 1,
	{ROWS_TIME_LAST, ROWS_ID_LAST}},
    [ADMIN_LIST_ANALYTICS] = {CHAT_ADMIN_ANALYTICS,
	ROW_SHAPE(analytics, 0, 1, 2), 3, {ANALYTICS_DAY_LAST, "", ""}},
};

enum err
admin_page(struct request *req, const struct admin_ask *ask, struct buf *out,
    const char **out_next)
{
	struct pg_call call = {.query = chat_query(lists[ask->list].query)};
	size_t n = 0;
	for (; n < lists[ask->list].n_filters; n++)
		call.params[n] = ask->filters[n];
	for (size_t i = 0; i < ADMIN_KEYS_MAX && lists[ask->list].first[i]; i++)
		call.params[n++] =
		    ask->after[0] ? ask->after[i] : lists[ask->list].first[i];
	call.params[n] = ask->limit_text;
	return rows_page(
	    req, &lists[ask->list].shape, &call, ask->limit, out, out_next);
}

enum err
admin_store_get(struct request *req, const char *name, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_STORES),
	    .params = {name, NULL, "1"},
	};
	return rows_one(req, &shape_of_store, &call, out);
}

enum err
admin_user_get(struct request *req, const char *id, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_USER),
	    .params = {id},
	};
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	return rows_one(req, &shape_of_user, &call, out);
}

enum err
admin_stats(struct request *req, struct buf *out)
{
	struct pg_call call = {.query = chat_query(CHAT_ADMIN_STATS)};
	return rows_one(req, &shape_of_stats, &call, out);
}

enum err
admin_store_put(struct request *req, const char *id, const char *fields,
    struct buf *out, char out_id[static ID_TEXT])
{
	char fresh[ID_TEXT];
	id_make(fresh);
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_STORE_PUT),
	    .params = {id ? id : fresh, id ? "f" : "t", fields},
	};
	if (id && !id_is_uuid(id))
		return ERR_NOT_FOUND;
	enum err e = rows_one(req, &shape_of_store, &call, out);
	if (e == ERR_INVALID_FIELD)
		return request_refuse(req,
		    strcmp(pg_constraint(req->services->pg), "stores_slug")
			? "metadata"
			: "slug",
		    "This does not fit.");
	if (e == OK)
		memcpy(out_id, call.params[0], ID_TEXT);
	return e;
}

enum err
admin_store_delete(struct request *req, const char *id)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_STORE_DELETE),
	    .params = {id},
	};
	return id_is_uuid(id) ? rows_change(req, &call) : ERR_NOT_FOUND;
}

enum err
admin_member_put(struct request *req, const char *store, const char *user,
    const char *role, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_MEMBER_PUT),
	    .params = {store, user, role},
	};
	if (!id_is_uuid(store) || !id_is_uuid(user))
		return ERR_NOT_FOUND;
	return rows_one(req, &shape_of_member, &call, out);
}

enum err
admin_member_delete(struct request *req, const char *store, const char *user)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ADMIN_MEMBER_DELETE),
	    .params = {store, user},
	};
	if (!id_is_uuid(store) || !id_is_uuid(user))
		return ERR_NOT_FOUND;
	return rows_change(req, &call);
}
