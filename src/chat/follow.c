/*
 * Whose reply is it, and how far has its reader come? Reading on is the
 * relay's (server/reader.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/json_write.h"
#include "base/metrics.h"
#include "chat/follow.h"
#include "chat/queries.h"
#include "chat/reader_places.h"
#include "http/request.h"

/* What FOLLOW gives. */
enum { CONVERSATION_ID, PARENT_ID, IS_OVER, BYTES };

static void
copy_id(char out[static ID_TEXT], const char *id)
{
	(void)snprintf(out, ID_TEXT, "%s", id ? id : "");
}

/* How soon one may be free, in s: readers come and go with tabs. */
#define RETRY_S 5

static enum err
take_place(struct request *req)
{
	long most = req->services->config->readers_per_user;
	if (reader_place_take(req->who.user_id, most)) {
		metrics_count(METRIC_LIMIT_READERS_ALLOWED);
		return OK;
	}
	metrics_count(METRIC_LIMIT_READERS_REFUSED);
	struct limit_line *line = limit_lines_add(&req->limits);
	if (line)
		*line = (struct limit_line){
		    .name = "readers",
		    .unit = LIMIT_STREAMS,
		    .limit = most,
		    .retry_s = RETRY_S,
		    .is_violated = true,
		};
	if (req->retry_after_s < RETRY_S)
		req->retry_after_s = RETRY_S;
	return request_fail(req, ERR_RATE_LIMITED, "too many readers");
}

static enum err
make(struct request *req, const struct follow_ask *ask, const PGresult *r,
    struct follow **out_follow)
{
	const struct identity *who = &req->who;
	enum err e = take_place(req);
	if (e != OK)
		return e;
	struct follow *f = calloc(1, sizeof(*f));
	if (!f) {
		reader_place_give(who->user_id);
		return request_fail(req, ERR_INTERNAL, "no memory");
	}
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
follow_free(struct follow *f)
{
	if (f)
		reader_place_give(f->user_id);
	free(f);
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
