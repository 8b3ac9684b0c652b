/*
 * GET /messages/{id}/stream: reads from where, asks chat/follow.h whose reply
 * it is, and leaves the rest to the relay.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "chat/follow.h"
#include "http/reply.h"
#include "http/request.h"

#define POSITION_RULE \
	"It takes the id of an event: its number, a hyphen, bytes of text."

/* Larger numbers fit no reply, and not everything that they go through. */
#define POSITION_MAX ((uint64_t)1 << 53)

static bool
read_one(const char *text, struct reply_position *out)
{
	return reply_position_parse(text, strlen(text), out) &&
	       out->n <= POSITION_MAX && out->bytes <= POSITION_MAX;
}

/*
 * The header goes before the query: a browser that reconnects keeps the URL it
 * first came with, and tells in the header how far it has come since.
 */
static enum err
read_position(struct request *req, struct reply_position *out)
{
	const char *after = NULL;
	enum err e;

	if (*req->last_event_id != '\0')
		return read_one(req->last_event_id, out)
			   ? OK
			   : request_refuse(
				 req, "Last-Event-ID", POSITION_RULE);
	e = request_query(req, "after", &after);
	if (e == OK && after != NULL && !read_one(after, out))
		e = request_refuse(req, "after", POSITION_RULE);
	return e;
}

/* HEAD tells that there is such a stream, and follows nothing. */
static enum err
tell_head(struct reply *rep)
{
	rep->status = 200;
	rep->content_type = "text/event-stream";
	return OK;
}

enum err
api_message_stream(struct request *req, struct reply *rep)
{
	const struct services *services = req->services;
	struct follow_ask ask = {
	    .message_id = req->ids[0],
	    .wants_stream = true,
	};
	enum err e = read_position(req, &ask.position);

	if (e == OK && !services->has_reader_room(services->worker))
		e = request_fail(req, ERR_BUSY, "too many readers");
	if (e == OK)
		e = follow_new(req, &ask, &rep->follow);
	if (e == OK && strcmp(req->method_name, "HEAD") == 0) {
		follow_free(rep->follow);
		rep->follow = NULL;
		e = tell_head(rep);
	}
	return e;
}
