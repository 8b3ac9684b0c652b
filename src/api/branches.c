/*
 * The tree of a conversation: paths, siblings, forks. Reads the request, calls
 * chat/branch.h and chat/fork.h, writes the reply. Edits and new replies are
 * turns: messages.c. Knows no SQL.
 */
#include <string.h>

#include "api/api.h"
#include "api/branches.h"
#include "api/fields.h"
#include "api/page.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/json_write.h"
#include "chat/branch.h"
#include "chat/conversation.h"
#include "chat/fork.h"
#include "chat/message.h"
#include "chat/send_key.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"

#define LIMIT_DEFAULT 50

enum err
branches_answer_path(struct request *req, struct reply *rep, const char *leaf,
    struct path_ask *ask)
{
	struct buf body = {0};
	const char *after[CURSOR_KEYS_MAX] = {NULL};
	const char *next[3] = {NULL}; /* ended with NULL */
	int siblings = -1;
	bool is_current = !strcmp(leaf, "current");
	if (!is_current && !id_is_uuid(leaf))
		return request_refuse(
		    req, "leaf", "It takes a message's id, or current.");
	enum err e = request_query_flag(req, "siblings", &siblings);
	const char *list = arena_printf(req->arena, "path of %s to %s %s",
	    req->ids[0], leaf, ask->is_descending ? "desc" : "asc");
	if (e == OK)
		e = list ? cursor_read(req, list, after) : ERR_TOO_LARGE;
	ask->leaf_id = is_current ? NULL : leaf;
	ask->with_siblings = siblings == 1;
	memcpy(ask->after, after, sizeof(ask->after));
	page_open(&body);
	if (e == OK)
		e = path_list(req, ask, &body, next);
	if (e == OK)
		e = page_close(req, &body, list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_message_siblings(struct request *req, struct reply *rep)
{
	struct siblings_ask ask = {.message_id = req->ids[0]};
	struct siblings_place place = {0};
	struct buf body = {0};
	const char *after[CURSOR_KEYS_MAX] = {NULL};
	const char *next[2] = {NULL}; /* ended with NULL */
	const char *list =
	    arena_printf(req->arena, "siblings of %s", req->ids[0]);
	enum err e = request_query_number(
	    req, "limit", LIMIT_DEFAULT, 1, MESSAGES_LIMIT_MAX, &ask.limit);
	if (e == OK)
		e = list ? cursor_read(req, list, after) : ERR_TOO_LARGE;
	ask.after = after[0];
	page_open(&body);
	if (e == OK)
		e = siblings_list(req, &ask, &body, &next[0], &place);
	json_write_number(&body, "sibling_index", place.index);
	json_write_number(&body, "sibling_count", place.count);
	if (e == OK)
		e = page_close(req, &body, list, next);
	return page_reply(req, rep, e, 200, &body);
}

enum err
api_conversation_fork(struct request *req, struct reply *rep)
{
	enum { MESSAGE, TITLE, N_FIELDS };
	static const struct field fields[N_FIELDS] = {
	    [MESSAGE] = {"message_id", FIELD_UUID, .nullable = true},
	    [TITLE] = {"title", FIELD_TEXT, .nullable = true,
		.max = CONVERSATION_TITLE_MAX},
	};
	struct field_value v[N_FIELDS] = {0};
	struct buf body = {0};
	char id[ID_TEXT];
	/* Whoever sends one believes that a second fork cannot happen. */
	if (req->idempotency_key && *req->idempotency_key)
		return request_refuse(
		    req, SEND_KEY_HEADER, "It serves questions alone.");
	enum err e =
	    req->body_len > 0 ? fields_read(req, fields, N_FIELDS, v) : OK;
	const struct fork_ask ask = {
	    .conversation_id = req->ids[0],
	    .message_id = v[MESSAGE].text,
	    .title = v[TITLE].text,
	};
	if (e == OK)
		e = fork_conversation(req, &ask, &body, id);
	if (e == OK)
		fields_location(req, rep, "conversations", id);
	return page_reply(req, rep, e, 201, &body);
}
