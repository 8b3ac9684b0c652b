/*
 * Finding out why a turn was refused, after the fact: the pipeline of those
 * that are not need not carry it.
 */
#include "base/arena.h"
#include "base/config.h"
#include "chat/queries.h"
#include "chat/send_key.h"
#include "chat/turn.h"
#include "chat/turn_refusal.h"
#include "http/request.h"
#include "store/pg.h"

/*
 * A reply still running so long after its time was up, in s, is nobody's: its
 * turn was committed and the answer to the commit got lost with Postgres, so
 * that no relay ever heard of it. The worker that began it lives on, thus no
 * sweep ends it and its branch would stay closed. The margin is for a ledger
 * that waits for Postgres to come back.
 */
#define LOST_AFTER_S 900

/* What TURN_REFUSAL gives. */
enum { REFUSAL_PARENT_FITS, REFUSAL_RUNNING, REFUSAL_IS_LOST };

bool
turn_is_replay(const struct turn_ask *ask)
{
	return ask->key && *ask->key->message_id;
}

/* Ends a lost reply; the branch is free then. */
static enum err
end_lost(struct request *req, const char *message_id)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_TURN_LOST),
	    .params = {req->who.user_id, message_id},
	};
	enum err e = chat_run(req, &call, 1);
	if (e == OK)
		pg_calls_clear(&call, 1);
	return e;
}

/* Reads TURN_REFUSAL's row. OK: nothing stands in the way (any more). */
static enum err
read_refusal(struct request *req, const PGresult *r)
{
	if (pg_rows(r) == 0)
		return ERR_NOT_FOUND;
	if (!pg_flag(r, 0, REFUSAL_PARENT_FITS))
		return request_refuse(req, "parent_id",
		    "It must be an answer in this conversation.");
	const char *running = pg_text(r, 0, REFUSAL_RUNNING);
	if (!running)
		return OK;
	if (pg_flag(r, 0, REFUSAL_IS_LOST))
		return end_lost(req, running);
	req->running_message = arena_strdup(req->arena, running);
	return ERR_REPLY_IN_PROGRESS;
}

enum err
turn_refusal(struct request *req, const struct turn_ask *ask,
    const char *const conversation[2])
{
	if (ask->key) {
		enum err found = send_key_find(req, ask->key);
		if (found != OK || turn_is_replay(ask))
			return found;
	}
	long lost = req->services->config->reply_max_seconds + LOST_AFTER_S;
	struct pg_call call = {
	    .query = chat_query(CHAT_TURN_REFUSAL),
	    .params = {req->who.user_id, conversation[0], conversation[1],
		ask->parent_id, arena_printf(req->arena, "%ld", lost),
		turn_kind_name(ask->kind)},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	e = read_refusal(req, call.result);
	pg_calls_clear(&call, 1);
	return e;
}
