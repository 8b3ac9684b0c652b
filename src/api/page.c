/*
 * The envelope of lists and the way of written JSON into a reply. Knows
 * nothing of what is shown.
 */
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"

enum err
page_reply(struct request *req, struct reply *rep, enum err e, int status,
    struct buf *body)
{
	const char *text = NULL;
	size_t n = body->n;
	if (e == OK && !body->failed)
		text = arena_strndup(req->arena, body->p, n);
	buf_free(body);
	if (e != OK)
		return e;
	if (!text)
		return request_fail(req, ERR_INTERNAL,
		    "the reply does not fit the route's arena");
	rep->status = status;
	rep->content_type = "application/json";
	rep->body = text;
	rep->body_len = n;
	return OK;
}

void
page_open(struct buf *body)
{
	buf_puts(body, "{\"data\":");
}

enum err
page_close(struct request *req, struct buf *body, const char *list,
    const char *const *keys)
{
	const char *cursor = NULL;
	if (keys[0]) {
		cursor = cursor_make(req, list, keys);
		if (!cursor)
			return ERR_TOO_LARGE;
	}
	json_write_text(body, "next_cursor", cursor);
	json_write_close(body, '}');
	return OK;
}
