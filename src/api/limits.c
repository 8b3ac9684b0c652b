/*
 * /me/limits; /admin/limits and the limits of a role, a user, a store: reads
 * the request, calls limit/left.c and limit/overrides.c. Knows no SQL. Round
 * trips: one to Postgres; of /me/limits, one more to Redis.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "http/reply.h"
#include "http/request.h"
#include "limit/left.h"
#include "limit/overrides.h"

static const struct field limits[QUOTA__MAX] = {
#define QUOTA(id, text, setting) \
	{.name = (text), .kind = FIELD_NUMBER, .nullable = true},
#include "limit/quotas.def"
#undef QUOTA
};

/* A whole number that auth.limits takes. */
static bool
is_limit(const char *text)
{
	return strspn(text, "0123456789") == strlen(text) &&
	       strlen(text) <= 13 && strtoll(text, NULL, 10) <= LIMIT_VALUE_MAX;
}

/* Checks the body; the function in the database takes it as it is. */
static enum err
check_limits(struct request *req, const struct limits_of *whose)
{
	struct field_value v[QUOTA__MAX] = {0};
	enum err e = fields_read(req, limits, QUOTA__MAX, v);
	for (size_t i = 0; e == OK && i < QUOTA__MAX; i++) {
		if (v[i].text && !is_limit(v[i].text))
			e = request_refuse(req, limits[i].name,
			    "It must be a whole number from 0 (no limit) to "
			    "1000000000000, or null.");
		else if (v[i].text && !overrides_fit(whose, (enum quota)i))
			e = request_refuse(req, limits[i].name,
			    "A store has no such limit: other requests than "
			    "turns are in none.");
	}
	return e;
}

static enum err
get(struct request *req, struct reply *rep, struct limits_of whose)
{
	struct buf body = {0};
	enum err e = overrides_get(req, &whose, &body);
	return page_reply(req, rep, e, 200, &body);
}

static enum err
patch(struct request *req, struct reply *rep, struct limits_of whose)
{
	struct buf body = {0};
	enum err e = check_limits(req, &whose);
	if (e == OK)
		e = overrides_put(req, &whose, req->body, &body);
	return page_reply(req, rep, e, 200, &body);
}

static enum err
clear(struct request *req, struct reply *rep, struct limits_of whose)
{
	struct buf body = {0};
	enum err e = overrides_put(req, &whose, NULL, &body);
	buf_free(&body);
	return e ? e : reply_empty(rep, 204);
}

/* The handlers of the limits of one kind of thing. */
#define HANDLERS(kind, member)                                            \
	enum err api_admin_##kind##_limits_get(                           \
	    struct request *req, struct reply *rep)                       \
	{                                                                 \
		return get(                                               \
		    req, rep, (struct limits_of){.member = req->ids[0]}); \
	}                                                                 \
	enum err api_admin_##kind##_limits_patch(                         \
	    struct request *req, struct reply *rep)                       \
	{                                                                 \
		return patch(                                             \
		    req, rep, (struct limits_of){.member = req->ids[0]}); \
	}                                                                 \
	enum err api_admin_##kind##_limits_delete(                        \
	    struct request *req, struct reply *rep)                       \
	{                                                                 \
		return clear(                                             \
		    req, rep, (struct limits_of){.member = req->ids[0]}); \
	}
HANDLERS(role, role)
HANDLERS(user, user_id)
HANDLERS(store, store_id)
#undef HANDLERS

enum err
api_admin_limits(struct request *req, struct reply *rep)
{
	struct list_ask list;
	struct buf body = {0};
	const char *next[2] = {NULL}; /* ended with NULL */
	enum err e = fields_list(req, "admin limits", NULL, 0, &list);
	page_open(&body);
	if (e == OK)
		e = overrides_page(req, list.after[0], list.limit,
		    list.limit_text, &body, next);
	if (e == OK)
		e = page_close(req, &body, list.list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_me_limits(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = left_read(req, &body);
	return page_reply(req, rep, e, 200, &body);
}
