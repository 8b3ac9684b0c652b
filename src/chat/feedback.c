/*
 * The rows of chat.message_feedback. The only file that knows the order of
 * their columns and the names of their members.
 */
#include "base/id.h"
#include "base/json_write.h"
#include "chat/feedback.h"
#include "chat/queries.h"
#include "http/request.h"

/* The order of FEEDBACK_COLUMNS in queries_find.def. */
enum column {
	MESSAGE_ID,
	CONVERSATION_ID,
	RATING,
	REASONS,
	COMMENT,
	CREATED_AT,
	UPDATED_AT,
};

static void
write_row(struct buf *out, const PGresult *r)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "message_id", pg_text(r, 0, MESSAGE_ID));
	json_write_text(out, "conversation_id", pg_text(r, 0, CONVERSATION_ID));
	json_write_text(
	    out, "rating", pg_number(r, 0, RATING) > 0 ? "up" : "down");
	json_write_raw(out, "reasons", pg_text(r, 0, REASONS));
	json_write_text(out, "comment", pg_text(r, 0, COMMENT));
	json_write_time(out, "created_at", pg_text(r, 0, CREATED_AT));
	json_write_time(out, "updated_at", pg_text(r, 0, UPDATED_AT));
	json_write_close(out, '}');
}

/* Runs a call that gives one row or none; `out` NULL: only whether. */
static enum err
run_for_one(struct request *req, struct pg_call *call, struct buf *out)
{
	enum err e = chat_run(req, call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call->result) == 0)
		e = ERR_NOT_FOUND;
	else if (out)
		write_row(out, call->result);
	pg_calls_clear(call, 1);
	return e;
}

enum err
feedback_put(struct request *req, const char *message_id,
    const struct feedback *f, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_FEEDBACK_PUT),
	    .params = {req->who.user_id, message_id, f->rating, f->reasons,
		f->comment},
	};
	if (!id_is_uuid(message_id))
		return ERR_NOT_FOUND;
	return run_for_one(req, &call, out);
}

enum err
feedback_get(struct request *req, const char *message_id, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_FEEDBACK_GET),
	    .params = {req->who.user_id, message_id},
	};
	if (!id_is_uuid(message_id))
		return ERR_NOT_FOUND;
	return run_for_one(req, &call, out);
}

enum err
feedback_delete(struct request *req, const char *message_id)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_FEEDBACK_DELETE),
	    .params = {req->who.user_id, message_id},
	};
	if (!id_is_uuid(message_id))
		return ERR_NOT_FOUND;
	return run_for_one(req, &call, NULL);
}
