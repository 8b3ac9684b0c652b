/*
 * /api/v1/me: what the caller's own row says, what they say of themselves, and
 * its end. Round trips: one to Postgres; changing, two; deleting, one more to
 * Redis.
 */
#include <json-c/json.h>

#include "api/api.h"
#include "api/cached.h"
#include "api/fields.h"
#include "api/page.h"
#include "auth/profile.h"
#include "auth/user.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/zone.h"
#include "http/reply.h"
#include "http/request.h"
#include "store/cache.h"

#define DISPLAY_NAME_MAX 200 /* characters */
#define LOCALE_MAX       44

static enum err
build_me(struct request *req, void *arg, struct buf *body, int64_t *out_life_ms)
{
	struct user user;
	(void)arg;
	(void)out_life_ms;
	enum err e = user_read(req, &user);
	if (e)
		return e;
	AUTO_JSON struct json_object *o = json_object_new_object();
	json_put_text(o, "id", user.id);
	json_put_text(o, "username", user.username);
	json_put_text(o, "display_name", user.display_name);
	json_put_text(o, "role", user.role);
	json_put_text(o, "created_at", user.created_at);
	json_put_text(o, "last_login_at", user.last_login_at);
	json_put_text(o, "time_zone", user.time_zone);
	json_put_text(o, "locale", user.locale);
	buf_puts(body, json_text(o, NULL));
	return OK;
}

enum err
api_me_get(struct request *req, struct reply *rep)
{
	struct cache_slot slot = {.kind = CACHE_USER, .variant = "-"};
	return cached_reply(req, rep, &slot, build_me, NULL);
}

enum err
api_me_patch(struct request *req, struct reply *rep)
{
	enum { NAME, ZONE, LOCALE, N };
	static const struct field fields[N] = {
	    [NAME] = {"display_name", FIELD_TEXT, .nullable = true, .min = 1,
		.max = DISPLAY_NAME_MAX},
	    [ZONE] = {"time_zone", FIELD_TEXT, .nullable = true, .min = 1,
		.max = ZONE_NAME_MAX - 1},
	    [LOCALE] = {"locale", FIELD_TEXT, .nullable = true, .min = 2,
		.max = LOCALE_MAX},
	};
	struct field_value v[N];
	struct buf body = {0};
	enum err e = fields_read(req, fields, N, v);
	if (e)
		return e;
	const struct profile_change change = {
	    .display_name = {v[NAME].is_given, v[NAME].text},
	    .time_zone = {v[ZONE].is_given, v[ZONE].text},
	    .locale = {v[LOCALE].is_given, v[LOCALE].text},
	};
	e = profile_change(req, &change);
	if (!e)
		e = build_me(req, NULL, &body, NULL);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_me_delete(struct request *req, struct reply *rep)
{
	enum err e = user_delete(req);
	return e ? e : reply_empty(rep, 204);
}
