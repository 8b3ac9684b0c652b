/*
 * Beginning a turn once, however often it is asked for. A replay follows the
 * reply (chat/follow.h); without a stream, one that has ended is answered with
 * the stored message, and 201 whatever became of it: a client that repeats
 * every 503 and 504 comes to an end.
 */
#include "api/page.h"
#include "api/send.h"
#include "base/buf.h"
#include "chat/follow.h"
#include "chat/message.h"
#include "chat/send_key.h"
#include "chat/turn.h"
#include "http/reply.h"
#include "http/request.h"

/* Follows the reply; also one that has ended, if its events are wanted. */
static enum err
follow(struct request *req, struct reply *rep, const struct turn_ask *ask)
{
	const struct services *services = req->services;
	const struct follow_ask wanted = {
	    .message_id = ask->key->message_id,
	    .wants_stream = ask->wants_stream,
	};

	if (!services->has_reader_room(services->worker))
		return request_fail(req, ERR_BUSY, "too many readers");
	return follow_new(req, &wanted, &rep->follow);
}

static enum err
answer_again(struct request *req, struct reply *rep, const struct turn_ask *ask)
{
	struct buf body = {0};
	enum err e;

	req->is_replay = true;
	if (ask->wants_stream || ask->key->is_running) {
		e = follow(req, rep, ask);
	} else {
		e = message_get(req, ask->key->message_id, &body);
		e = page_reply(req, rep, e, 201, &body);
	}
	if (e == OK)
		reply_header(rep, SEND_REPLAYED, "true");
	return e;
}

/* No reply begins now, but what was answered can be again. */
static enum err
refuse(struct request *req, struct reply *rep, const struct turn_ask *ask,
    enum err why)
{
	enum err e = ask->key ? send_key_find(req, ask->key) : OK;

	if (e == OK && ask->key && *ask->key->message_id)
		return answer_again(req, rep, ask);
	return e == OK ? why : e;
}

enum err
send_turn(struct request *req, struct reply *rep, struct turn_ask *ask)
{
	const struct services *services = req->services;
	enum err e = send_key_read(req, ask, &ask->key);

	if (e != OK)
		return e;
	if (!services->has_room(services->worker))
		return refuse(req, rep, ask,
		    request_fail(req, ERR_BUSY, "CHAT_STREAMS_MAX is reached"));
	e = turn_begin(req, ask, &rep->turn);
	if (e == ERR_MODEL_UNAVAILABLE)
		return refuse(req, rep, ask, e);
	if (e == OK && !rep->turn)
		return answer_again(req, rep, ask);
	return e;
}
