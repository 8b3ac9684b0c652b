/*
 * Statistics: what a conversation, or everything of a user, comes to. The only
 * file that knows the order of their queries' columns.
 */
#include "base/json_write.h"
#include "chat/conversation.h"
#include "chat/queries.h"
#include "chat/search.h"
#include "http/request.h"

/* The last columns. */
enum { ME_LIFE = 12, CONVERSATION_LIFE = 15 };

/* Columns of both, from `first` on: USAGE_SUMS and the models. */
static void
write_usage(struct buf *out, const PGresult *r, int first)
{
	json_write_open(out, "usage", '{');
	json_write_number(out, "replies", pg_number(r, 0, first));
	json_write_number(out, "prompt_tokens", pg_number(r, 0, first + 1));
	json_write_number(out, "completion_tokens", pg_number(r, 0, first + 2));
	json_write_number(out, "cached_tokens", pg_number(r, 0, first + 3));
	json_write_number(out, "total_tokens",
	    pg_number(r, 0, first + 1) + pg_number(r, 0, first + 2));
	json_write_raw(out, "cost", pg_text(r, 0, first + 4));
	json_write_flag(out, "estimated", pg_flag(r, 0, first + 5));
	json_write_close(out, '}');
	json_write_raw(out, "models", pg_text(r, 0, first + 6));
}

static void
write_conversation(struct buf *out, const PGresult *r)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "conversation_id", pg_text(r, 0, 0));
	json_write_number(out, "messages", pg_number(r, 0, 1));
	json_write_open(out, "by_role", '{');
	json_write_number(out, "user", pg_number(r, 0, 2));
	json_write_number(out, "assistant", pg_number(r, 0, 3));
	json_write_number(out, "system", pg_number(r, 0, 4));
	json_write_number(out, "tool", pg_number(r, 0, 5));
	json_write_close(out, '}');
	json_write_time(out, "first_message_at", pg_text(r, 0, 6));
	json_write_time(out, "last_message_at", pg_text(r, 0, 7));
	write_usage(out, r, 8);
	json_write_close(out, '}');
}

static void
write_me(struct buf *out, const PGresult *r)
{
	json_write_open(out, NULL, '{');
	json_write_number(out, "conversations", pg_number(r, 0, 0));
	json_write_number(out, "archived", pg_number(r, 0, 1));
	json_write_number(out, "messages", pg_number(r, 0, 2));
	json_write_time(out, "first_conversation_at", pg_text(r, 0, 3));
	json_write_time(out, "last_message_at", pg_text(r, 0, 4));
	write_usage(out, r, 5);
	json_write_close(out, '}');
}

enum err
conversation_stats(struct request *req, const char *name, struct buf *out,
    int64_t *out_life_ms)
{
	const char *key[2];
	enum err e = conversation_key(name, key);
	if (e != OK)
		return e;
	struct pg_call call = {
	    .query = chat_query(CHAT_CONVERSATION_STATS),
	    .params = {req->who.user_id, key[0], key[1]},
	};
	e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) == 0)
		e = ERR_NOT_FOUND;
	else
		write_conversation(out, call.result);
	if (e == OK)
		*out_life_ms = chat_life_ms(call.result, CONVERSATION_LIFE);
	pg_calls_clear(&call, 1);
	return e;
}

enum err
me_stats(struct request *req, struct buf *out, int64_t *out_life_ms)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ME_STATS),
	    .params = {req->who.user_id},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	write_me(out, call.result);
	*out_life_ms = chat_life_ms(call.result, ME_LIFE);
	pg_calls_clear(&call, 1);
	return OK;
}
