/*
 * Whose reply is it, and how far has its reader come? Reading on is the
 * relay's (server/reader.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/json_write.h"
#include "chat/follow.h"
#include "chat/queries.h"
#include "http/request.h"

/* What FOLLOW gives. */
enum { CONVERSATION_ID, PARENT_ID, IS_OVER, BYTES };

static void
copy_id(char out[static ID_TEXT], const char *id)
{
	(void)snprintf(out, ID_TEXT, "%s", id ? id : "");
}

static enum err
make(struct request *req, const struct follow_ask *ask, const PGresult *r,
    struct follow **out_follow)
{
	struct follow *f = calloc(1, sizeof(*f));
	if (!f)
		return request_fail(req, ERR_INTERNAL, "no memory");
	const struct identity *who = &req->who;
	copy_id(f->user_id, who->user_id);
	copy_id(f->grant_id, who->key_id ? who->key_id : who->session_id);
	f->is_by_key = who->key_id != NULL;
	copy_id(f->message_id, ask->message_id);
	copy_id(f->user_message_id, pg_text(r, 0, PARENT_ID));
	copy_id(f->conversation_id, pg_text(r, 0, CONVERSATION_ID));
	(void)snprintf(f->request_id, sizeof(f->request_id), "%s",
	    req->request_id ? req->request_id : "");
	f->position = ask->position;
	f->is_over = pg_flag(r, 0, IS_OVER);
	f->wants_stream = ask->wants_stream;
	if (f->is_over && f->position.bytes > (uint64_t)pg_number(r, 0, BYTES))
		f->position = (struct reply_position){0};
	*out_follow = f;
	return OK;
}

enum err
follow_new(struct request *req, const struct follow_ask *ask,
    struct follow **out_follow)
{
	if (!id_is_uuid(ask->message_id))
		return ERR_NOT_FOUND;
	struct pg_call call = {
	    .query = chat_query(CHAT_FOLLOW),
	    .params = {req->who.user_id, ask->message_id},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) == 0)
		e = ERR_NOT_FOUND;
	else
		e = make(req, ask, call.result, out_follow);
	pg_calls_clear(&call, 1);
	return e;
}

void
follow_start_json(const struct follow *f, uint64_t offset, struct buf *out)
{
	const char *question = *f->user_message_id ? f->user_message_id : NULL;
	json_write_open(out, NULL, '{');
	json_write_text(out, "message_id", f->message_id);
	json_write_text(out, "user_message_id", question);
	json_write_text(out, "conversation_id", f->conversation_id);
	json_write_number(out, "offset", (int64_t)offset);
	json_write_flag(out, "resumable", true);
	json_write_close(out, '}');
}
