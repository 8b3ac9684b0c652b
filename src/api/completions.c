/*
 * POST /openai/v1/chat/completions: reads, begins, and lets the relay answer.
 * Knows no SQL. An Idempotency-Key means nothing here: what nobody keeps cannot
 * be said again.
 */
#include "api/api.h"
#include "base/arena.h"
#include "chat/completion.h"
#include "chat/turn.h"
#include "http/reply.h"
#include "http/request.h"

/* Where it is kept: the heads of both kinds of answers say so. */
static void
tell_place(struct reply *rep, const struct turn *t)
{
	reply_header(rep, "X-Natter-Conversation-Id", t->conversation_id);
	reply_header(rep, "X-Natter-Message-Id", t->message_id);
}

enum err
api_completion_post(struct request *req, struct reply *rep)
{
	const struct services *services = req->services;
	struct completion_ask ask;
	enum err e = completion_read(req, &ask);
	if (e != OK)
		return e;
	if (!services->has_room(services->worker))
		return request_fail(
		    req, ERR_BUSY, "CHAT_STREAMS_MAX is reached");
	e = completion_begin(req, &ask, &rep->turn);
	if (e == OK && ask.messages)
		tell_place(rep, rep->turn);
	return e;
}
