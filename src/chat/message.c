/*
 * Reading stored messages and showing them. The only file that knows the order
 * of a message row's columns and the names of a message's members. Writing
 * them is the turn's (turn_pipeline.c, turn_finish.c).
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/json_write.h"
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
	USED_DOCUMENTS,
	TOOL_CALLS,
	TOOL_RESPONSES,
	INTENT,
	ENTITIES,
	PROMPT_TOKENS,
	COMPLETION_TOKENS,
	IS_ESTIMATED,
	CACHED_TOKENS,
	COST,
	FETCHED, /* of lists only */
};

/* Of CONVERSATION_EXISTS. */
enum { LIFE = 1 };

static_assert(FETCHED == MESSAGE_COLUMNS_N, "what message_read takes");

/* The position before the first and after the last message. */
#define POSITION_FIRST "0"
#define POSITION_LAST  "9223372036854775807"
#define ID_LAST        "ffffffff-ffff-ffff-ffff-ffffffffffff"

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
	    .used_documents = pg_text(r, row, USED_DOCUMENTS),
	    .tool_calls = pg_text(r, row, TOOL_CALLS),
	    .tool_responses = pg_text(r, row, TOOL_RESPONSES),
	    .intent = pg_text(r, row, INTENT),
	    .entities = pg_text(r, row, ENTITIES),
	    .has_usage = pg_text(r, row, PROMPT_TOKENS) != NULL,
	    .is_estimated = pg_flag(r, row, IS_ESTIMATED),
	    .prompt_tokens = pg_number(r, row, PROMPT_TOKENS),
	    .completion_tokens = pg_number(r, row, COMPLETION_TOKENS),
	    .cached_tokens = pg_number(r, row, CACHED_TOKENS),
	    .cost = pg_text(r, row, COST),
	};
	if (pg_text(r, row, TOKEN_COUNT))
		out->token_count = pg_number(r, row, TOKEN_COUNT);
}

static void
write_usage(struct buf *out, const struct message *m)
{
	int64_t total = m->prompt_tokens + m->completion_tokens;
	if (!m->has_usage) {
		json_write_text(out, "usage", NULL);
		return;
	}
	json_write_open(out, "usage", '{');
	json_write_number(out, "prompt_tokens", m->prompt_tokens);
	json_write_number(out, "cached_tokens", m->cached_tokens);
	json_write_number(out, "completion_tokens", m->completion_tokens);
	json_write_number(out, "total_tokens", total);
	json_write_raw(out, "cost", m->cost);
	json_write_flag(out, "estimated", m->is_estimated);
	json_write_close(out, '}');
}

void
message_write(struct buf *out, const struct message *m)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", m->id);
	json_write_text(out, "conversation_id", m->conversation_id);
	json_write_text(out, "parent_id", m->parent_id);
	json_write_number(out, "position", m->position);
	json_write_text(out, "role", m->role);
	json_write_text(out, "content", m->content);
	json_write_text(out, "status", m->status);
	json_write_text(out, "model", m->model);
	json_write_text(out, "finish_reason", m->finish_reason);
	json_write_text(out, "error_code", m->error_code);
	if (m->token_count < 0)
		json_write_text(out, "token_count", NULL);
	else
		json_write_number(out, "token_count", m->token_count);
	json_write_raw(out, "metadata", m->metadata);
	json_write_time(out, "created_at", m->created_at);
	json_write_time(out, "completed_at", m->completed_at);
	json_write_raw(out, "used_documents", m->used_documents);
	json_write_raw(out, "tool_calls", m->tool_calls);
	json_write_raw(out, "tool_responses", m->tool_responses);
	json_write_text(out, "intent", m->intent);
	json_write_raw(out, "entities", m->entities);
	write_usage(out, m);
	if (m->sibling_count > 0) {
		json_write_number(out, "sibling_index", m->sibling_index);
		json_write_number(out, "sibling_count", m->sibling_count);
	}
	json_write_close(out, '}');
}

/* Runs a call that gives one message or, without a row, none. */
static enum err
run_for_one(struct request *req, struct pg_call *call, struct buf *out)
{
	enum err e = chat_run(req, call, 1);
	if (e != OK)
		return conversation_refusal(req, e);
	if (pg_rows(call->result) == 0) {
		e = ERR_NOT_FOUND;
	} else {
		struct message m;
		message_read(call->result, 0, &m);
		message_write(out, &m);
	}
	pg_calls_clear(call, 1);
	return e;
}

enum err
message_get(struct request *req, const char *id, struct buf *out)
{
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	struct pg_call call = {
	    .query = chat_query(CHAT_MESSAGE_GET),
	    .params = {req->who.user_id, id},
	};
	return run_for_one(req, &call, out);
}

enum err
message_patch(
    struct request *req, const char *id, const char *patch, struct buf *out)
{
	const char *max = arena_printf(req->arena, "%d", MESSAGE_METADATA_MAX);
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	if (!max)
		return ERR_TOO_LARGE;
	struct pg_call call = {
	    .query = chat_query(CHAT_MESSAGE_PATCH),
	    .params = {req->who.user_id, id, patch, max},
	};
	return run_for_one(req, &call, out);
}

/*
 * One row more than the page was asked for; it, or rows beyond the page's
 * bytes, say that more follow.
 */
struct messages_shown
messages_shown(const PGresult *r, long limit)
{
	int n = pg_rows(r);
	bool is_cut = n > 0 && pg_number(r, 0, FETCHED) > n;
	if (n > limit)
		return (struct messages_shown){(int)limit, true};
	return (struct messages_shown){n, is_cut};
}

static enum err
write_page(struct request *req, long limit, enum column key, const PGresult *r,
    struct buf *out, const char **out_next)
{
	const struct messages_shown shown = messages_shown(r, limit);
	const char *next = NULL;
	if (shown.has_more) {
		next = arena_strdup(req->arena, pg_text(r, shown.n - 1, key));
		if (!next)
			return ERR_TOO_LARGE;
	}
	json_write_open(out, NULL, '[');
	for (int i = 0; i < shown.n; i++) {
		struct message m;
		message_read(r, i, &m);
		message_write(out, &m);
	}
	json_write_close(out, ']');
	*out_next = next;
	return OK;
}

enum err
messages_write_page(struct request *req, long limit, const PGresult *r,
    struct buf *out, const char **out_next)
{
	return write_page(req, limit, POSITION, r, out, out_next);
}

static bool
has_running(const PGresult *r)
{
	for (int i = 0; i < pg_rows(r); i++) {
		if (!strcmp(pg_text(r, i, STATUS), "streaming"))
			return true;
	}
	return false;
}

enum err
messages_list(struct request *req, const struct messages_ask *ask,
    struct buf *out, const char **out_next, int64_t *out_life_ms)
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
		e = write_page(
		    req, ask->limit, POSITION, calls[1].result, out, out_next);
	if (e == OK)
		*out_life_ms = has_running(calls[1].result)
				   ? 0
				   : chat_life_ms(calls[0].result, LIFE);
	pg_calls_clear(calls, 2);
	return e;
}

enum err
messages_recent(struct request *req, long limit, const char *after,
    struct buf *out, const char **out_next)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_MESSAGES_RECENT),
	    .params = {req->who.user_id, after ? after : ID_LAST,
		arena_printf(req->arena, "%ld", limit + 1),
		arena_printf(req->arena, "%ld", MESSAGES_PAGE_BYTES)},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	e = write_page(req, limit, ID, call.result, out, out_next);
	pg_calls_clear(&call, 1);
	return e;
}
