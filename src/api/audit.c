/*
 * /me/audit and /admin/audit: the audit log, of one's own data and of
 * everybody's. One round trip each. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "api/page.h"
#include "auth/audit.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "http/cursor.h"
#include "http/request.h"

#define LIMIT_DEFAULT 50
#define ACTION_MAX    65
#define TIME_MAX      32

typedef enum err (*list_fn)(struct request *req, const struct audit_ask *ask,
    struct buf *out, const char **out_next);

/* Reads limit and cursor and answers with a page; `name` is the cursors'. */
static enum err
reply_list(struct request *req, struct reply *rep, struct audit_ask *ask,
    list_fn list, const char *name)
{
	const char *after[CURSOR_KEYS_MAX], *next[2] = {NULL};
	struct buf body = {0};
	enum err e = request_query_number(
	    req, "limit", LIMIT_DEFAULT, 1, AUDIT_LIMIT_MAX, &ask->limit);
	if (!e)
		e = cursor_read(req, name, after);
	if (e)
		return e;
	ask->before = after[0];
	page_open(&body);
	e = list(req, ask, &body, &next[0]);
	if (!e)
		e = page_close(req, &body, name, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_audit_own(struct request *req, struct reply *rep)
{
	struct audit_ask ask = {0};
	return reply_list(req, rep, &ask, audit_list_own, "audit");
}

/*
 * Could it be a time? Postgres decides; but words that it knows besides
 * ("yesterday") and zones by name stay out.
 */
static bool
looks_like_time(const char *s)
{
	size_t n = strlen(s);
	return n >= 10 && n <= TIME_MAX && strspn(s, "0123456789-:.TZ+") == n &&
	       s[4] == '-' && s[7] == '-' && (n == 10 || s[10] == 'T');
}

static bool
is_action(const char *s)
{
	size_t n = strlen(s);
	return n <= ACTION_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz_.") == n;
}

/* Reads a filter that `is_fit`; "" counts as none. */
static enum err
read_filter(struct request *req, const char *name, bool (*is_fit)(const char *),
    const char *sentence, const char **out)
{
	const char *value = NULL;
	enum err e = request_query(req, name, &value);
	if (e)
		return e;
	if (value && !*value)
		value = NULL;
	if (value && !is_fit(value))
		return request_refuse(req, name, sentence);
	*out = value;
	return OK;
}

static enum err
read_filters(struct request *req, struct audit_ask *ask)
{
	static const char time[] =
	    "It takes a time such as 2026-01-31T00:00:00Z.";
	enum err e = read_filter(
	    req, "user", id_is_uuid, "It takes a user's id.", &ask->user_id);
	if (!e)
		e = read_filter(req, "action", is_action,
		    "It takes an action such as session.revoke.", &ask->action);
	if (!e)
		e = read_filter(req, "from", looks_like_time, time, &ask->from);
	if (!e)
		e = read_filter(req, "to", looks_like_time, time, &ask->to);
	return e;
}

/* "" for what was not given. */
static const char *
or_none(const char *filter)
{
	return filter ? filter : "";
}

enum err
api_audit_admin(struct request *req, struct reply *rep)
{
	struct audit_ask ask = {0};
	enum err e = read_filters(req, &ask);
	if (e)
		return e;
	const char *name = arena_printf(req->arena, "audit all %s %s %s %s",
	    or_none(ask.user_id), or_none(ask.action), or_none(ask.from),
	    or_none(ask.to));
	if (!name)
		return ERR_TOO_LARGE;
	e = reply_list(req, rep, &ask, audit_list_all, name);
	/* Only a time can still be wrong. */
	if (e == ERR_INVALID_FIELD && !req->bad_field)
		return request_refuse(
		    req, ask.from ? "from" : "to", "There is no such time.");
	return e;
}
