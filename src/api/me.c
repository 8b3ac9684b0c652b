/*
 * /api/v1/me: what the caller's own row says, and its end. Round trips: one to
 * Postgres; deleting, one more to Redis.
 */
#include <json-c/json.h>

#include "api/api.h"
#include "api/cached.h"
#include "auth/user.h"
#include "base/buf.h"
#include "base/json.h"
#include "http/reply.h"
#include "http/request.h"
#include "store/cache.h"

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
api_me_delete(struct request *req, struct reply *rep)
{
	enum err e = user_delete(req);
	return e ? e : reply_empty(rep, 204);
}
