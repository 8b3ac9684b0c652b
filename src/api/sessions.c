/*
 * /api/v1/auth/sessions and /auth/notices: the caller's own. Round trips: one
 * to Postgres, ending a session one more to Redis.
 */
#include <json-c/json.h>

#include "api/api.h"
#include "auth/session_list.h"
#include "base/json.h"
#include "http/reply.h"
#include "http/request.h"

#define DEVICE_MAX 200

static struct json_object *
session_object(const struct session_row *s)
{
	struct json_object *o = json_object_new_object();
	json_put_text(o, "id", s->id);
	json_put_flag(o, "is_current", s->is_current);
	json_put_text(o, "device", s->device);
	json_put_text(o, "user_agent", s->user_agent);
	json_put_text(o, "ip", s->ip_last);
	json_put_text(o, "ip_created", s->ip_created);
	json_put_text(o, "created_at", s->created_at);
	json_put_text(o, "last_activity", s->last_activity);
	json_put_text(o, "expires_at", s->expires_at);
	json_put_flag(o, "is_remembered", s->is_remembered);
	return o;
}

static struct json_object *
notice_object(const struct notice_row *n)
{
	struct json_object *o = json_object_new_object();
	json_put_text(o, "id", n->id);
	json_put_text(o, "kind", n->kind);
	json_put_text(o, "session_id", n->session_id);
	json_put_text(o, "device", n->device);
	json_put_text(o, "ip", n->ip);
	json_put_text(o, "created_at", n->created_at);
	return o;
}

enum err
api_sessions_list(struct request *req, struct reply *rep)
{
	struct session_overview all;
	enum err e = session_list(req, &all);
	if (e)
		return e;
	struct json_object *o = json_object_new_object();
	struct json_object *sessions = json_object_new_array();
	struct json_object *notices = json_object_new_array();
	for (size_t i = 0; i < all.n_sessions; i++)
		json_object_array_add(
		    sessions, session_object(&all.sessions[i]));
	for (size_t i = 0; i < all.n_notices; i++)
		json_object_array_add(notices, notice_object(&all.notices[i]));
	json_object_object_add(o, "data", sessions);
	json_object_object_add(o, "notices", notices);
	return reply_json(req, rep, 200, o);
}

enum err
api_session_patch(struct request *req, struct reply *rep)
{
	static const char *const known[] = {"device", NULL};
	const struct field_rule rule = {
	    .name = "device", .min = 1, .max = DEVICE_MAX, .nullable = true};
	const char *device = NULL;
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	if (!e)
		e = request_known_fields(req, body, known);
	if (!e)
		e = request_field(req, body, &rule, &device);
	if (!e && !json_object_object_get_ex(body, "device", NULL))
		e = request_refuse(req, "device", "device is required.");
	if (!e)
		e = session_rename(req, req->ids[0], device);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_session_delete(struct request *req, struct reply *rep)
{
	enum err e = session_end_one(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_notice_delete(struct request *req, struct reply *rep)
{
	enum err e = session_dismiss(req, req->ids[0]);
	return e ? e : reply_empty(rep, 204);
}
