/*
 * What administrators see and change of one user. Knows no SQL. Round trips:
 * one to Postgres; where sessions end, one to Redis.
 */
#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "auth/user_admin.h"
#include "base/buf.h"
#include "chat/admin.h"
#include "http/reply.h"
#include "http/request.h"

enum err
api_admin_user_get(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = admin_user_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_user_patch(struct request *req, struct reply *rep)
{
	static const struct field fields[] = {
	    {"role", FIELD_WORD, .words = "user admin"},
	    {.name = "is_disabled", .kind = FIELD_FLAG},
	};
	struct field_value v[2] = {0};
	struct buf body = {0};
	enum err e = fields_read(req, fields, 2, v);
	if (e == OK)
		e = user_admin_patch(req, req->ids[0], v[0].text, v[1].text);
	if (e == OK)
		e = admin_user_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_admin_user_delete(struct request *req, struct reply *rep)
{
	enum err e = user_admin_delete(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_admin_sessions_end(struct request *req, struct reply *rep)
{
	enum err e = user_admin_end_sessions(req, req->ids[0], NULL);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_admin_session_end(struct request *req, struct reply *rep)
{
	enum err e = user_admin_end_sessions(req, req->ids[0], req->ids[1]);
	return e ? e : reply_empty(rep, 204);
}
