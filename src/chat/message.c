/*
 * Reading stored messages and showing them. The only file that knows the order
 * of a message row's columns and the names of a message's members. Writing
 * them is the turn's (turn.c, turn_finish.c).
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "chat/conversation.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "http/request.h"

/* The order of MESSAGE_COLUMNS and USAGE_COLUMNS in queries.def. */
enum column {
	ID,
	CONVERSATION_ID,
	PARENT_ID,
	POSITION,
	ROLE,
	CONTENT,
	STATUS,
	MODEL,
	FINISH_REASON,
	ERROR_CODE,
	TOKEN_COUNT,
	METADATA,
	CREATED_AT,
	COMPLETED_AT,
	PROMPT_TOKENS,
	COMPLETION_TOKENS,
	IS_ESTIMATED,
	FETCHED, /* of lists only */
};

static_assert(FETCHED == MESSAGE_COLUMNS_N, "what message_read takes");

/* The position before the first and after the last message. */
#define POSITION_FIRST "0"
#define POSITION_LAST  "9223372036854775807"

void
message_read(const PGresult *r, int row, struct message *out)
{
	*out = (struct message){
	    .id = pg_text(r, row, ID),
	    .conversation_id = pg_text(r, row, CONVERSATION_ID),
	    .parent_id = pg_text(r, row, PARENT_ID),
	    .position = pg_number(r, row, POSITION),
	    .role = pg_text(r, row, ROLE),
	    .content = pg_text(r, row, CONTENT),
	    .content_len = (size_t)PQgetlength(r, row, CONTENT),
	    .status = pg_text(r, row, STATUS),
	    .model = pg_text(r, row, MODEL),
	    .finish_reason = pg_text(r, row, FINISH_REASON),
	    .error_code = pg_text(r, row, ERROR_CODE),
	    .token_count = -1,
	    .metadata = pg_text(r, row, METADATA),
	    .created_at = pg_text(r, row, CREATED_AT),
	    .completed_at = pg_text(r, row, COMPLETED_AT),
	    .has_usage = pg_text(r, row, PROMPT_TOKENS) != NULL,
	    .is_estimated = pg_flag(r, row, IS_ESTIMATED),
	    .prompt_tokens = pg_number(r, row, PROMPT_TOKENS),
	    .completion_tokens = pg_number(r, row, COMPLETION_TOKENS),
	};
	if (pg_text(r, row, TOKEN_COUNT))
		out->token_count = pg_number(r, row, TOKEN_COUNT);
}

static void
put_tokens(struct json_object *o, int64_t tokens)
{
	if (tokens < 0)
		json_put_text(o, "token_count", NULL);
	else
		json_put_number(o, "token_count", tokens);
}

static void
put_usage(struct json_object *o, const struct message *m)
{
	if (!m->has_usage) {
		json_put_text(o, "usage", NULL);
		return;
	}
	struct json_object *usage = json_object_new_object();
	assert(usage);
	json_put_number(usage, "prompt_tokens", m->prompt_tokens);
	json_put_number(usage, "completion_tokens", m->completion_tokens);
	json_put_number(
	    usage, "total_tokens", m->prompt_tokens + m->completion_tokens);
	json_put_flag(usage, "estimated", m->is_estimated);
	json_object_object_add(o, "usage", usage);
}

struct json_object *
message_json(const struct message *m)
{
	struct json_object *o = json_object_new_object();
	assert(o);
	json_put_text(o, "id", m->id);
	json_put_text(o, "conversation_id", m->conversation_id);
	json_put_text(o, "parent_id", m->parent_id);
	json_put_number(o, "position", m->position);
	json_put_text(o, "role", m->role);
	json_put_text(o, "content", m->content);
	json_put_text(o, "status", m->status);
	json_put_text(o, "model", m->model);
	json_put_text(o, "finish_reason", m->finish_reason);
	json_put_text(o, "error_code", m->error_code);
	put_tokens(o, m->token_count);
	json_put_raw(o, "metadata", m->metadata);
	json_put_text(o, "created_at", m->created_at);
	json_put_text(o, "completed_at", m->completed_at);
	put_usage(o, m);
	return o;
}

enum err
message_get(
    struct request *req, const char *id, struct json_object **out_message)
{
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	struct pg_call call = {
	    .query = chat_query(CHAT_MESSAGE_GET),
	    .params = {req->who.user_id, id},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) == 0) {
		e = ERR_NOT_FOUND;
	} else {
		struct message m;
		message_read(call.result, 0, &m);
		*out_message = message_json(&m);
	}
	pg_calls_clear(&call, 1);
	return e;
}

/*
 * One row more than the page was asked for; it, or rows beyond the page's
 * bytes, say that more follow.
 */
static enum err
fill_page(struct request *req, const struct messages_ask *ask,
    const PGresult *r, struct messages_page *out_page)
{
	int n = pg_rows(r);
	bool has_more = n > 0 && pg_number(r, 0, FETCHED) > n;
	if (n > ask->limit) {
		n = (int)ask->limit;
		has_more = true;
	}
	struct messages_page page = {0};
	if (has_more) {
		page.next =
		    arena_strdup(req->arena, pg_text(r, n - 1, POSITION));
		if (!page.next)
			return ERR_TOO_LARGE;
	}
	page.data = json_object_new_array();
	assert(page.data);
	for (int i = 0; i < n; i++) {
		struct message m;
		message_read(r, i, &m);
		json_object_array_add(page.data, message_json(&m));
	}
	*out_page = page;
	return OK;
}

enum err
messages_list(struct request *req, const struct messages_ask *ask,
    struct messages_page *out_page)
{
	const char *key[2];
	enum err e = conversation_key(ask->conversation_id, key);
	if (e != OK)
		return e;
	const char *limit = arena_printf(req->arena, "%ld", ask->limit + 1);
	const char *bytes =
	    arena_printf(req->arena, "%ld", MESSAGES_PAGE_BYTES);
	if (!limit || !bytes)
		return ERR_TOO_LARGE;
	const char *start = ask->is_descending ? POSITION_LAST : POSITION_FIRST;
	struct pg_call calls[] = {
	    {
		.query = chat_query(CHAT_CONVERSATION_EXISTS),
		.params = {req->who.user_id, key[0], key[1]},
	    },
	    {
		.query = chat_query(ask->is_descending ? CHAT_MESSAGES_LIST_DESC
						       : CHAT_MESSAGES_LIST),
		.params = {req->who.user_id, key[0], key[1],
		    ask->after ? ask->after : start, limit, bytes},
	    },
	};
	e = chat_run(req, calls, 2);
	if (e != OK)
		return e;
	if (pg_rows(calls[0].result) == 0)
		e = ERR_NOT_FOUND;
	else
		e = fill_page(req, ask, calls[1].result, out_page);
	pg_calls_clear(calls, 2);
	return e;
}
