/*
 * The administrators' lists: which filters each takes, from where. Knows no
 * SQL. Round trips: one.
 */
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "chat/admin.h"
#include "http/reply.h"
#include "http/request.h"

/*
 * Answers a list: `n` filters from the query come after those in `from_path`.
 */
static enum err
list(struct request *req, struct reply *rep, enum admin_list which,
    const char *name, const char *from_path, const struct field *fields,
    size_t n)
{
	struct field_value v[1 + ADMIN_FILTERS_MAX] = {0};
	size_t skipped = from_path ? 1 : 0;
	struct list_ask common;
	struct buf body = {0};
	const char *next[3] = {NULL}; /* ended with NULL */
	enum err e = OK;
	if (from_path && !id_is_uuid(from_path))
		return ERR_NOT_FOUND;
	v[0] = (struct field_value){from_path != NULL, from_path};
	if (n > 0)
		e = fields_query(req, fields, n, v + skipped);
	if (e == OK)
		e = fields_list(req, name, v, skipped + n, &common);
	page_open(&body);
	if (e == OK) {
		const struct admin_ask ask = {
		    .list = which,
		    .filters = {v[0].text, v[1].text, v[2].text},
		    .limit = common.limit,
		    .limit_text = common.limit_text,
		    .after = {common.after[0], common.after[1]},
		};
		e = admin_page(req, &ask, &body, next);
	}
	if (e == OK)
		e = page_close(req, &body, common.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_stores(struct request *req, struct reply *rep)
{
	return list(req, rep, ADMIN_LIST_STORES, "admin stores", NULL, NULL, 0);
}

enum err
api_admin_members(struct request *req, struct reply *rep)
{
	return list(req, rep, ADMIN_LIST_MEMBERS, "admin members", req->ids[0],
	    NULL, 0);
}

enum err
api_admin_tools(struct request *req, struct reply *rep)
{
	return list(
	    req, rep, ADMIN_LIST_TOOLS, "admin tools", req->ids[0], NULL, 0);
}

enum err
api_admin_users(struct request *req, struct reply *rep)
{
	static const struct field filters[] = {
	    {"q", FIELD_TEXT, .min = 1, .max = 64},
	    {"role", FIELD_WORD, .words = "user admin"},
	    {.name = "disabled", .kind = FIELD_FLAG},
	};
	return list(
	    req, rep, ADMIN_LIST_USERS, "admin users", NULL, filters, 3);
}

static const struct field the_user[] = {
    {.name = "user", .kind = FIELD_UUID, .required = true},
};

enum err
api_admin_sessions(struct request *req, struct reply *rep)
{
	return list(
	    req, rep, ADMIN_LIST_SESSIONS, "admin sessions", NULL, the_user, 1);
}

enum err
api_admin_conversations(struct request *req, struct reply *rep)
{
	return list(req, rep, ADMIN_LIST_CONVERSATIONS, "admin conversations",
	    req->ids[0], NULL, 0);
}

/* Whose it is stands in the query: conversations are found by their owner. */
enum err
api_admin_messages(struct request *req, struct reply *rep)
{
	struct field_value user;
	struct list_ask common;
	struct buf body = {0};
	const char *next[3] = {NULL};
	const char *id = req->ids[0];
	const char *name = arena_printf(req->arena, "admin messages %s", id);
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	enum err e = fields_query(req, the_user, 1, &user);
	if (e == OK)
		e = fields_list(req, name, &user, 1, &common);
	page_open(&body);
	if (e == OK) {
		const struct admin_ask ask = {
		    .list = ADMIN_LIST_MESSAGES,
		    .filters = {user.text, id},
		    .limit = common.limit,
		    .limit_text = common.limit_text,
		    .after = {common.after[0], NULL},
		};
		e = admin_page(req, &ask, &body, next);
	}
	if (e == OK)
		e = page_close(req, &body, common.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_feedback(struct request *req, struct reply *rep)
{
	static const struct field filters[] = {
	    {"rating", FIELD_WORD, .words = "1 -1"},
	};
	return list(
	    req, rep, ADMIN_LIST_FEEDBACK, "admin feedback", NULL, filters, 1);
}

enum err
api_admin_stats(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = admin_stats(req, &body);
	return page_reply(req, rep, e, 200, &body);
}
