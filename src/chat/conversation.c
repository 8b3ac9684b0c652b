/*
 * The rows of chat.conversations, apart from what a turn does to them. The
 * only file that knows the order of a conversation row's columns and the names
 * of its members.
 */
#include <string.h>
#include <unictype.h>
#include <unistr.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/json_write.h"
#include "chat/branch.h"
#include "chat/conversation.h"
#include "chat/queries.h"
#include "http/request.h"
#include "limit/limit.h"

/* The order of CONVERSATION_COLUMNS in queries.def. */
enum column {
	ID,
	SHORT_ID,
	TITLE,
	METADATA,
	TAGS,
	MODEL,
	SYSTEM_PROMPT,
	IS_ACTIVE,
	IS_ARCHIVED,
	MESSAGE_COUNT,
	LEAF_ID,
	CREATED_AT,
	UPDATED_AT,
	LAST_MESSAGE_AT,
	STORE_ID,
	EXPIRES_AT,
	DOCUMENTS,
};

/* The keys before the first row of a list. */
#define KEY_TIME_LAST "infinity"
#define KEY_ID_LAST   "ffffffff-ffff-ffff-ffff-ffffffffffff"

/* A short id is 50 random bits, unique per user: twice is already odd. */
#define SHORT_ID_TRIES 3

#define TITLE_CHARACTERS 60

/* True, false or null. */
static void
write_switch(struct buf *out, const char *key, const char *flag)
{
	json_write_raw(out, key,
	    !flag          ? NULL
	    : *flag == 't' ? "true"
			   : "false");
}

void
conversation_write(struct buf *out, const PGresult *r, int row)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "id", pg_text(r, row, ID));
	json_write_text(out, "short_id", pg_text(r, row, SHORT_ID));
	json_write_text(out, "title", pg_text(r, row, TITLE));
	json_write_raw(out, "metadata", pg_text(r, row, METADATA));
	json_write_raw(out, "tags", pg_text(r, row, TAGS));
	json_write_text(out, "model", pg_text(r, row, MODEL));
	json_write_text(out, "system_prompt", pg_text(r, row, SYSTEM_PROMPT));
	json_write_flag(out, "is_active", pg_flag(r, row, IS_ACTIVE));
	json_write_flag(out, "is_archived", pg_flag(r, row, IS_ARCHIVED));
	json_write_number(
	    out, "message_count", pg_number(r, row, MESSAGE_COUNT));
	json_write_text(out, "leaf_id", pg_text(r, row, LEAF_ID));
	json_write_time(out, "created_at", pg_text(r, row, CREATED_AT));
	json_write_time(out, "updated_at", pg_text(r, row, UPDATED_AT));
	json_write_time(
	    out, "last_message_at", pg_text(r, row, LAST_MESSAGE_AT));
	json_write_text(out, "store_id", pg_text(r, row, STORE_ID));
	json_write_time(out, "expires_at", pg_text(r, row, EXPIRES_AT));
	write_switch(out, "documents", pg_text(r, row, DOCUMENTS));
	json_write_close(out, '}');
}

enum err
conversation_key(const char *name, const char *out_key[static 2])
{
	bool is_uuid = id_is_uuid(name);
	if (!is_uuid && !id_is_short(name))
		return ERR_NOT_FOUND;
	out_key[0] = is_uuid ? name : NULL;
	out_key[1] = is_uuid ? NULL : name;
	return OK;
}

bool
conversation_is_named(const char *name)
{
	return id_is_uuid(name) || id_is_short(name);
}

/* Runs a call that gives one conversation or, without a row, none. */
static enum err
run_for_one(struct request *req, struct pg_call *call, struct buf *out)
{
	enum err e = chat_run(req, call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call->result) == 0)
		e = ERR_NOT_FOUND;
	else
		conversation_write(out, call->result, 0);
	pg_calls_clear(call, 1);
	return e;
}

static enum err
refuse_store(struct request *req)
{
	return request_refuse(req, "store_id",
	    "It must be a store that you may begin conversations in.");
}

/* A CHECK that only the database can make. */
enum err
conversation_refusal(struct request *req, enum err e)
{
	const char *constraint = pg_constraint(req->services->pg);
	if (e == ERR_INVALID_FIELD && !strcmp(constraint, "metadata_size"))
		return request_refuse(req, "metadata",
		    "With this change it would have more than 16384 bytes.");
	return e;
}

enum err
conversation_create(struct request *req, const struct conversation_change *c,
    struct buf *out, char out_id[static ID_TEXT])
{
	enum err e = ERR_CONFLICT;
	for (int i = 0; i < SHORT_ID_TRIES && e == ERR_CONFLICT; i++) {
		char id[ID_TEXT];
		char short_id[ID_SHORT_TEXT];
		id_make(id);
		id_make_short(short_id);
		struct pg_call call = {
		    .query = chat_query(CHAT_CONVERSATION_CREATE),
		    .params = {req->who.user_id, id, short_id, c->title,
			c->metadata, c->tags, c->model, c->system_prompt,
			c->store_id, c->expires_at, c->expires_in,
			c->documents},
		};
		e = run_for_one(req, &call, out);
		if (e == ERR_NOT_FOUND)
			return refuse_store(req);
		if (e == OK)
			memcpy(out_id, id, sizeof(id));
	}
	return e;
}

enum err
conversation_get(struct request *req, const char *name, struct buf *out)
{
	const char *key[2];
	enum err e = conversation_key(name, key);
	if (e != OK)
		return e;
	struct pg_call call = {
	    .query = chat_query(CHAT_CONVERSATION_GET),
	    .params = {req->who.user_id, key[0], key[1]},
	};
	return run_for_one(req, &call, out);
}

static bool
is_plain(const struct conversations_ask *ask)
{
	return ask->active == CONVERSATIONS_OPEN && !ask->store_id &&
	       !ask->tags && !ask->metadata && !ask->words && !ask->since &&
	       !ask->until && !ask->is_ascending;
}

static struct pg_call
find_call(
    struct request *req, const struct conversations_ask *ask, const char *limit)
{
	static const char *const flags[] = {"f", "t", NULL};
	static const char *const actives[] = {"t", "f", NULL};
	return (struct pg_call){
	    .query = chat_query(CHAT_CONVERSATIONS_FIND),
	    .params = {req->who.user_id, ask->store_id, ask->tags,
		ask->metadata, ask->words, flags[ask->archived],
		actives[ask->active], ask->since, ask->until,
		ask->is_ascending ? "t" : "f", ask->after[0], ask->after[1],
		limit},
	};
}

static struct pg_call
list_call(
    struct request *req, const struct conversations_ask *ask, const char *limit)
{
	if (!is_plain(ask))
		return find_call(req, ask, limit);
	const char *time = ask->after[0] ? ask->after[0] : KEY_TIME_LAST;
	const char *id = ask->after[0] ? ask->after[1] : KEY_ID_LAST;
	if (ask->archived == CONVERSATIONS_ALL)
		return (struct pg_call){
		    .query = chat_query(CHAT_CONVERSATIONS_LIST_ALL),
		    .params = {req->who.user_id, time, id, limit},
		};
	const char *flag = ask->archived == CONVERSATIONS_ARCHIVED ? "t" : "f";
	return (struct pg_call){
	    .query = chat_query(CHAT_CONVERSATIONS_LIST),
	    .params = {req->who.user_id, flag, time, id, limit},
	};
}

/* One row more than asked for says that more follow. */
static enum err
write_page(struct request *req, const PGresult *r, int limit, struct buf *out,
    const char *out_next[static 2])
{
	const char *next[2] = {NULL, NULL};
	int n = pg_rows(r);
	if (n > limit) {
		n = limit;
		next[0] = arena_strdup(
		    req->arena, pg_text(r, n - 1, LAST_MESSAGE_AT));
		next[1] = arena_strdup(req->arena, pg_text(r, n - 1, ID));
		if (!next[0] || !next[1])
			return ERR_TOO_LARGE;
	}
	json_write_open(out, NULL, '[');
	for (int i = 0; i < n; i++)
		conversation_write(out, r, i);
	json_write_close(out, ']');
	out_next[0] = next[0];
	out_next[1] = next[1];
	return OK;
}

enum err
conversations_list(struct request *req, const struct conversations_ask *ask,
    struct buf *out, const char *out_next[static 2])
{
	const char *limit = arena_printf(req->arena, "%ld", ask->limit + 1);
	if (!limit)
		return ERR_TOO_LARGE;
	struct pg_call call = list_call(req, ask, limit);
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	e = write_page(req, call.result, (int)ask->limit, out, out_next);
	pg_calls_clear(&call, 1);
	return e;
}

/* Why a change found no row. */
static enum err
explain_change(struct request *req, const struct pg_call *exists)
{
	if (exists->result && pg_rows(exists->result) > 0)
		return refuse_store(req);
	return ERR_NOT_FOUND;
}

/* Appends what was changed. In another store other limits may hold. */
static void
show_change(struct request *req, const struct conversation_change *c,
    const PGresult *r, struct buf *out)
{
	conversation_write(out, r, 0);
	if (c->has_store)
		limit_forget(req, pg_text(r, 0, ID), pg_text(r, 0, SHORT_ID));
}

enum err
conversation_update(struct request *req, const char *name,
    const struct conversation_change *c, struct buf *out)
{
	const char *key[2];
	const char *leaf = NULL;
	enum err e = conversation_key(name, key);
	const char *max =
	    arena_printf(req->arena, "%d", CONVERSATION_METADATA_MAX);
	if (e == OK && c->leaf_id)
		e = branch_end(req, key, c->leaf_id, &leaf);
	if (e != OK)
		return e;
	struct pg_call calls[] = {
	    {
		.query = chat_query(CHAT_CONVERSATION_PATCH),
		.params = {req->who.user_id, key[0], key[1], c->title,
		    c->metadata, c->tags, c->is_archived, c->model,
		    c->has_model ? "t" : "f", c->system_prompt,
		    c->has_system_prompt ? "t" : "f", c->is_active, c->store_id,
		    c->has_store ? "t" : "f", c->expires_at,
		    c->has_end ? "t" : "f", max, leaf, c->documents,
		    c->has_documents ? "t" : "f"},
	    },
	    {
		.query = chat_query(CHAT_CONVERSATION_EXISTS),
		.params = {req->who.user_id, key[0], key[1]},
	    },
	};
	size_t n = c->store_id ? 2 : 1;
	e = max ? chat_run(req, calls, n) : ERR_TOO_LARGE;
	if (e != OK)
		return conversation_refusal(req, e);
	if (pg_rows(calls[0].result) == 0)
		e = explain_change(req, &calls[1]);
	else
		show_change(req, c, calls[0].result, out);
	pg_calls_clear(calls, n);
	return e;
}

enum err
conversation_touch(struct request *req, const char *name, struct buf *out)
{
	const char *key[2];
	enum err e = conversation_key(name, key);
	if (e != OK)
		return e;
	struct pg_call call = {
	    .query = chat_query(CHAT_CONVERSATION_TOUCH),
	    .params = {req->who.user_id, key[0], key[1]},
	};
	return run_for_one(req, &call, out);
}

enum err
conversations_delete_old(struct request *req, long days, int *out_deleted)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_CONVERSATIONS_DELETE_OLD),
	    .params = {req->who.user_id, arena_printf(req->arena, "%ld", days),
		arena_printf(req->arena, "%d", CONVERSATIONS_DELETE_MAX)},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	*out_deleted = pg_rows(call.result);
	pg_calls_clear(&call, 1);
	return OK;
}

enum err
conversation_delete(struct request *req, const char *name)
{
	const char *key[2];
	enum err e = conversation_key(name, key);
	if (e != OK)
		return e;
	struct pg_call call = {
	    .query = chat_query(CHAT_CONVERSATION_DELETE),
	    .params = {req->who.user_id, key[0], key[1]},
	};
	e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) == 0)
		e = ERR_NOT_FOUND;
	pg_calls_clear(&call, 1);
	return e;
}

static bool
is_gap(ucs4_t c)
{
	return uc_is_property_white_space(c) ||
	       uc_is_general_category(c, UC_CATEGORY_Cc);
}

const char *
conversation_title(struct arena *a, const char *content)
{
	char *title = arena_alloc(a, TITLE_CHARACTERS * 4 + 1);
	if (!title)
		return NULL;
	const uint8_t *p = (const uint8_t *)content;
	const uint8_t *next;
	size_t n = 0;
	int characters = 0;
	bool is_after_gap = false;
	ucs4_t c;
	while (
	    characters < TITLE_CHARACTERS && (next = u8_next(&c, p)) != NULL) {
		if (is_gap(c)) {
			is_after_gap = n > 0;
		} else if (is_after_gap && characters + 1 == TITLE_CHARACTERS) {
			break;
		} else {
			if (is_after_gap) {
				title[n++] = ' ';
				characters++;
			}
			is_after_gap = false;
			memcpy(title + n, p, (size_t)(next - p));
			n += (size_t)(next - p);
			characters++;
		}
		p = next;
	}
	title[n] = '\0';
	return title;
}

bool
model_name_is_fit(const char *name)
{
	size_t n = strlen(name);
	if (n < 1 || n > MODEL_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	}
	return true;
}
