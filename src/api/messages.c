/*
 * /conversations/{id}/messages and /messages/{id}: reads the request, calls
 * chat/message.c and chat/turn.h, writes the reply. A post is answered by the
 * relay: the reply carries the turn. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "api/branches.h"
#include "api/cached.h"
#include "api/fields.h"
#include "api/page.h"
#include "api/send.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "chat/branch.h"
#include "chat/cancel.h"
#include "chat/conversation.h"
#include "chat/message.h"
#include "chat/turn.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"
#include "store/cache.h"

#define LIMIT_DEFAULT  50
#define RECENT_DEFAULT 20
#define RECENT_MAX     50
#define MAX_TOKENS_MAX 1000000

/* The members of a body, by the kind of turn that it asks for. */
static const char *const *const fields_of[] = {
    [TURN_SEND] = (const char *const[]){"content", "stream", "model",
	"parent_id", "metadata", "max_tokens", "max_completion_tokens", "cache",
	"documents", NULL},
    [TURN_EDIT] =
	(const char *const[]){"content", "stream", "model", "metadata",
	    "max_tokens", "max_completion_tokens", "cache", "documents", NULL},
    [TURN_AGAIN] = (const char *const[]){"stream", "model", "max_tokens",
	"max_completion_tokens", NULL},
};

/* Reads ?order=. */
static enum err
read_order(struct request *req, bool *out_is_descending)
{
	const char *order;
	enum err e = request_query(req, "order", &order);
	if (e != OK)
		return e;
	if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
		return request_refuse(req, "order", "It takes asc or desc.");
	*out_is_descending = order && !strcmp(order, "desc");
	return OK;
}

/* A page of a list with this name. */
struct messages_page {
	struct messages_ask ask;
	const char *list;
};

static enum err
build_page(
    struct request *req, void *arg, struct buf *body, int64_t *out_life_ms)
{
	struct messages_page *page = arg;
	const char *next[2] = {NULL}; /* ended with NULL */
	page_open(body);
	enum err e =
	    messages_list(req, &page->ask, body, &next[0], out_life_ms);
	return e == OK ? page_close(req, body, page->list, next) : e;
}

/*
 * Answers a page; of those without a cursor the one that was asked for last is
 * kept.
 */
static enum err
answer_page(struct request *req, struct reply *rep, struct messages_page *page)
{
	struct cache_slot slot = {
	    .kind = CACHE_HISTORY,
	    .what = req->ids[0],
	    .variant = arena_printf(req->arena, "%s%ld",
		page->ask.is_descending ? "desc" : "asc", page->ask.limit),
	};
	struct buf body = {0};
	int64_t life_ms;
	if (!slot.variant)
		return ERR_TOO_LARGE;
	if (!page->ask.after && conversation_is_named(req->ids[0]))
		return cached_reply(req, rep, &slot, build_page, page);
	enum err e = build_page(req, page, &body, &life_ms);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_messages_list(struct request *req, struct reply *rep)
{
	struct messages_page page = {.ask.conversation_id = req->ids[0]};
	const char *after[CURSOR_KEYS_MAX] = {NULL};
	const char *leaf = NULL;
	enum err e = read_order(req, &page.ask.is_descending);
	if (e == OK)
		e = request_query_number(req, "limit", LIMIT_DEFAULT, 1,
		    MESSAGES_LIMIT_MAX, &page.ask.limit);
	if (e == OK)
		e = request_query(req, "leaf", &leaf);
	if (e == OK && leaf) {
		struct path_ask path = {
		    .conversation_id = req->ids[0],
		    .is_descending = page.ask.is_descending,
		    .limit = page.ask.limit,
		};
		return branches_answer_path(req, rep, leaf, &path);
	}
	if (e == OK) {
		page.list = arena_printf(req->arena, "messages of %s %s",
		    req->ids[0], page.ask.is_descending ? "desc" : "asc");
		e = page.list ? cursor_read(req, page.list, after)
			      : ERR_TOO_LARGE;
	}
	page.ask.after = after[0];
	return e == OK ? answer_page(req, rep, &page) : e;
}

enum err
api_message_get(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	enum err e = message_get(req, req->ids[0], &body);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_message_cancel(struct request *req, struct reply *rep)
{
	struct buf body = {0};
	int status = 202;
	enum err e = message_cancel(req, req->ids[0], &body, &status);
	return page_reply(req, rep, e, status, &body);
}

enum err
api_message_patch(struct request *req, struct reply *rep)
{
	static const char *const known[] = {"metadata", NULL};
	AUTO_JSON struct json_object *body = NULL;
	struct buf out = {0};
	const char *patch = NULL;
	enum err e = request_json(req, &body);
	if (e == OK)
		e = request_known_fields(req, body, known);
	if (e == OK)
		e = fields_message_metadata(req, body, &patch);
	if (e == OK)
		e = message_patch(req, req->ids[0], patch, &out);
	return page_reply(req, rep, e, 200, &out);
}

enum err
api_messages_recent(struct request *req, struct reply *rep)
{
	static const char list[] = "messages recent";
	struct buf body = {0};
	const char *after[CURSOR_KEYS_MAX] = {NULL};
	const char *next[2] = {NULL}; /* ended with NULL */
	long limit = 0;
	enum err e = request_query_number(
	    req, "limit", RECENT_DEFAULT, 1, RECENT_MAX, &limit);
	if (e == OK)
		e = cursor_read(req, list, after);
	page_open(&body);
	if (e == OK)
		e = messages_recent(req, limit, after[0], &body, &next[0]);
	if (e == OK)
		e = page_close(req, &body, list, next);
	return page_reply(req, rep, e, 200, &body);
}

/* The texts of a post. */
static enum err
read_texts(struct request *req, struct json_object *body, struct turn_ask *ask)
{
	const struct field_rule content = {
	    .name = "content",
	    .min = 1,
	    .max = (size_t)req->services->config->message_max_bytes,
	    .required = true,
	};
	static const struct field_rule model = {
	    .name = "model",
	    .min = 1,
	    .max = MODEL_NAME_MAX,
	    .nullable = true,
	};
	static const struct field_rule parent = {
	    .name = "parent_id",
	    .min = 1,
	    .max = 64,
	    .nullable = true,
	};
	enum err e = OK;
	if (ask->kind != TURN_AGAIN)
		e = request_field(req, body, &content, &ask->content);
	if (e == OK)
		e = request_field(req, body, &model, &ask->model);
	if (e == OK)
		e = request_field(req, body, &parent, &ask->parent_id);
	if (e == OK)
		e = fields_message_metadata(req, body, &ask->metadata);
	return e;
}

/* The most tokens of the reply, in either name: the larger one counts. */
static enum err
read_max_tokens(
    struct request *req, struct json_object *body, struct turn_ask *ask)
{
	static const char *const names[] = {
	    "max_tokens", "max_completion_tokens"};
	for (size_t i = 0; i < 2; i++) {
		struct json_object *value = NULL;
		json_object_object_get_ex(body, names[i], &value);
		if (!value)
			continue;
		int64_t n = json_object_get_int64(value);
		if (!json_object_is_type(value, json_type_int) || n < 1 ||
		    n > MAX_TOKENS_MAX)
			return request_refuse(req, names[i],
			    "It must be a whole number from 1 to 1000000.");
		if (n > ask->max_tokens)
			ask->max_tokens = n;
	}
	return OK;
}

static enum err
read_wish(struct request *req, struct json_object *body, struct turn_ask *ask)
{
	bool flag = false;
	enum err e = request_field_flag(req, body, "cache", &flag);
	if (e == OK && json_object_object_get_ex(body, "cache", NULL))
		ask->cache = flag ? ANSWER_CACHED : ANSWER_FRESH;
	return e;
}

static enum err
read_documents(
    struct request *req, struct json_object *body, struct turn_ask *ask)
{
	bool flag = false;
	enum err e = request_field_flag(req, body, "documents", &flag);
	if (e == OK && json_object_object_get_ex(body, "documents", NULL))
		ask->documents = flag ? "t" : "f";
	return e;
}

/* Reads the body; one that says nothing may be left out of TURN_AGAIN. */
static enum err
read_turn(struct request *req, struct turn_ask *ask)
{
	AUTO_JSON struct json_object *body = NULL;
	ask->wants_stream =
	    strcasestr(req->accept, "text/event-stream") != NULL;
	if (ask->kind == TURN_AGAIN && req->body_len == 0)
		return OK;
	enum err e = request_json(req, &body);
	if (e == OK)
		e = request_known_fields(req, body, fields_of[ask->kind]);
	if (e == OK)
		e = read_texts(req, body, ask);
	if (e == OK)
		e = read_max_tokens(req, body, ask);
	if (e == OK)
		e = request_field_flag(req, body, "stream", &ask->wants_stream);
	if (e == OK)
		e = read_wish(req, body, ask);
	if (e == OK)
		e = read_documents(req, body, ask);
	return e;
}

static enum err
begin(struct request *req, struct reply *rep, struct turn_ask *ask)
{
	enum err e = read_turn(req, ask);
	if (e == OK && ask->kind != TURN_SEND)
		e = branch_target(req, req->ids[0], ask);
	return e == OK ? send_turn(req, rep, ask) : e;
}

enum err
api_message_post(struct request *req, struct reply *rep)
{
	struct turn_ask ask = {
	    .kind = TURN_SEND,
	    .conversation_id = req->ids[0],
	};
	return begin(req, rep, &ask);
}

enum err
api_message_edit(struct request *req, struct reply *rep)
{
	struct turn_ask ask = {.kind = TURN_EDIT};
	return begin(req, rep, &ask);
}

/* Another answer is wanted, so that a kept one is none. */
enum err
api_message_regenerate(struct request *req, struct reply *rep)
{
	struct turn_ask ask = {.kind = TURN_AGAIN, .cache = ANSWER_FRESH};
	return begin(req, rep, &ask);
}
