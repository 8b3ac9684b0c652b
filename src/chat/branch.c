/*
 * Reading the tree of messages. Adding to it is the turn's (turn_pipeline.c),
 * copying a part of it fork.c's.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/json_write.h"
#include "chat/branch.h"
#include "chat/conversation.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "http/request.h"

/* What BRANCH_TARGET, BRANCH_END and SIBLINGS_PLACE give. */
enum {
	TARGET_ROLE,
	TARGET_QUESTION,
	TARGET_CONVERSATION,
	TARGET_PARENT,
	TARGET_CONTENT
};
enum { END_ID, END_STEPS };
enum { PLACE_INDEX, PLACE_COUNT };

/* What PATH_ASC and PATH_DESC give behind a message's columns. */
enum { PATH_WALKED = MESSAGE_COLUMNS_N, PATH_MARKS, PATH_INDEX, PATH_COUNT };

#define ID_SIZE (ID_TEXT - 1)

/* A cursor's key holds so many ids with a space between them. */
#define MARKS_MAX 6

/* Text of the arena; *e becomes ERR_TOO_LARGE beyond its cap. */
static const char *
keep(struct request *req, const char *text, enum err *e)
{
	const char *copy = text ? arena_strdup(req->arena, text) : NULL;
	if (text && !copy)
		*e = ERR_TOO_LARGE;
	return copy;
}

static const char *
number_text(struct request *req, long n)
{
	return arena_printf(req->arena, "%ld", n);
}

/* Why the message is none that the turn can begin with; OK: it is. */
static enum err
check_target(struct request *req, const struct turn_ask *ask, const PGresult *r)
{
	const char *role = pg_text(r, 0, TARGET_ROLE);
	bool is_question = !strcmp(role, "user");
	if (ask->kind == TURN_EDIT)
		return is_question ? OK
				   : request_refuse(req, "message_id",
					 "It must be a question: only those "
					 "can be edited.");
	if (!pg_text(r, 0, TARGET_QUESTION) ||
	    (!is_question && strcmp(role, "assistant") != 0))
		return request_refuse(req, "message_id",
		    "It must be a question, or the reply to one.");
	if (!*pg_text(r, 0, TARGET_CONTENT))
		return request_refuse(req, "message_id",
		    "The question's text is not here any more.");
	return OK;
}

enum err
branch_target(struct request *req, const char *id, struct turn_ask *ask)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_BRANCH_TARGET),
	    .params = {req->who.user_id, id,
		ask->kind == TURN_AGAIN ? "t" : "f"},
	};
	enum err e = id_is_uuid(id) ? chat_run(req, &call, 1) : ERR_NOT_FOUND;
	if (e != OK)
		return e;
	const PGresult *r = call.result;
	e = pg_rows(r) > 0 ? check_target(req, ask, r) : ERR_NOT_FOUND;
	if (e == OK) {
		ask->conversation_id =
		    keep(req, pg_text(r, 0, TARGET_CONVERSATION), &e);
		ask->parent_id = keep(req, pg_text(r, 0, TARGET_PARENT), &e);
	}
	if (e == OK && ask->kind == TURN_AGAIN) {
		ask->question_id =
		    keep(req, pg_text(r, 0, TARGET_QUESTION), &e);
		ask->content = keep(req, pg_text(r, 0, TARGET_CONTENT), &e);
	}
	pg_calls_clear(&call, 1);
	return e;
}

enum err
branch_end(struct request *req, const char *const key[static 2], const char *id,
    const char **out_leaf)
{
	struct pg_call calls[] = {
	    {
		.query = chat_query(CHAT_CONVERSATION_EXISTS),
		.params = {req->who.user_id, key[0], key[1]},
	    },
	    {
		.query = chat_query(CHAT_BRANCH_END),
		.params = {req->who.user_id, key[0], key[1], id,
		    number_text(req, BRANCH_STEPS_MAX)},
	    },
	};
	enum err e = chat_run(req, calls, 2);
	if (e != OK)
		return e;
	if (pg_rows(calls[0].result) == 0)
		e = ERR_NOT_FOUND;
	else if (pg_rows(calls[1].result) == 0)
		e = request_refuse(req, "leaf_id",
		    "It must be a message of this conversation.");
	else if (pg_number(calls[1].result, 0, END_STEPS) >= BRANCH_STEPS_MAX)
		e = request_refuse(req, "leaf_id",
		    "It is too far from its branch's end: name a later one.");
	else
		*out_leaf = keep(req, pg_text(calls[1].result, 0, END_ID), &e);
	pg_calls_clear(calls, 2);
	return e;
}

/*
 * The marks behind an ascending page, the nearest first: those of this walk,
 * the last of which is where it began, and those known before. Of the others
 * only as many as there is room for: these two may not get lost.
 */
static const char *
next_marks(struct request *req, const char *found, const char *rest)
{
	size_t known = (strlen(rest) + 1) / (ID_SIZE + 1);
	size_t n = (strlen(found) + 1) / (ID_SIZE + 1);
	size_t room = known < MARKS_MAX ? MARKS_MAX - known : 1;
	size_t first = n <= room ? n : room - 1;
	const char *begun = found + (n - 1) * (ID_SIZE + 1);
	return arena_printf(req->arena, "%.*s%s%s%s",
	    (int)(first * (ID_SIZE + 1)), found, first == n ? "" : begun,
	    *rest ? " " : "", rest);
}

/* A page being read. */
struct path {
	const struct path_ask *ask;
	const char *from; /* where it is walked from; NULL: the current leaf */
	const char *rest; /* ascending: the marks beyond */
};

/* Ascending, after[1] names the nearest mark, and then the others. */
static struct path
begin_path(struct request *req, const struct path_ask *ask)
{
	struct path path = {.ask = ask, .from = ask->leaf_id, .rest = ""};
	const char *marks = ask->is_descending ? NULL : ask->after[1];
	if (marks && strlen(marks) >= ID_SIZE) {
		path.from = arena_strndup(req->arena, marks, ID_SIZE);
		path.rest = marks + ID_SIZE + (marks[ID_SIZE] == ' ');
	}
	return path;
}

static struct pg_call
path_call(
    struct request *req, const struct path *path, const char *const key[2])
{
	const struct path_ask *ask = path->ask;
	const char *start = ask->is_descending ? NULL : "0";
	return (struct pg_call){
	    .query =
		chat_query(ask->is_descending ? CHAT_PATH_DESC : CHAT_PATH_ASC),
	    .params = {req->who.user_id, key[0], key[1], path->from,
		ask->after[0] ? ask->after[0] : start,
		number_text(req, ask->limit + 1),
		number_text(req, MESSAGES_PAGE_BYTES),
		ask->with_siblings ? "t" : "f",
		ask->is_descending ? NULL : number_text(req, BRANCH_STEPS_MAX)},
	};
}

/* Where the next page begins. */
static enum err
note_next(struct request *req, const struct path *path, const PGresult *r,
    const char *out_next[static 2])
{
	struct messages_shown shown = messages_shown(r, path->ask->limit);
	enum err e = OK;
	struct message last;
	if (!shown.has_more && !*path->rest)
		return OK;
	message_read(r, shown.n - 1, &last);
	if (path->ask->is_descending) {
		out_next[0] = keep(req, last.id, &e);
		return e;
	}
	out_next[0] = arena_printf(req->arena, "%" PRId64, last.position);
	out_next[1] =
	    shown.has_more
		? next_marks(req, pg_text(r, 0, PATH_MARKS), path->rest)
		: path->rest;
	return out_next[0] && out_next[1] ? OK : ERR_TOO_LARGE;
}

static enum err
write_path(struct request *req, const struct path *path, const PGresult *r,
    struct buf *out, const char *out_next[static 2])
{
	const struct path_ask *ask = path->ask;
	if (pg_rows(r) == 0 && ask->leaf_id && !ask->after[0])
		return request_refuse(
		    req, "leaf", "It must be a message of this conversation.");
	if (pg_rows(r) > 0 && !ask->is_descending &&
	    pg_number(r, 0, PATH_WALKED) >= BRANCH_STEPS_MAX)
		return request_refuse(req, "order",
		    "The path is too long for it: it takes desc.");
	struct messages_shown shown = messages_shown(r, ask->limit);
	json_write_open(out, NULL, '[');
	for (int i = 0; i < shown.n; i++) {
		struct message m;
		message_read(r, i, &m);
		m.sibling_index = pg_number(r, i, PATH_INDEX);
		m.sibling_count = pg_number(r, i, PATH_COUNT);
		message_write(out, &m);
	}
	json_write_close(out, ']');
	return pg_rows(r) > 0 ? note_next(req, path, r, out_next) : OK;
}

enum err
path_list(struct request *req, const struct path_ask *ask, struct buf *out,
    const char *out_next[static 2])
{
	const char *key[2];
	struct path path = begin_path(req, ask);
	enum err e = conversation_key(ask->conversation_id, key);
	if (e != OK)
		return e;
	struct pg_call calls[] = {
	    {
		.query = chat_query(CHAT_CONVERSATION_EXISTS),
		.params = {req->who.user_id, key[0], key[1]},
	    },
	    path_call(req, &path, key),
	};
	e = chat_run(req, calls, 2);
	if (e != OK)
		return e;
	e = pg_rows(calls[0].result) > 0
		? write_path(req, &path, calls[1].result, out, out_next)
		: ERR_NOT_FOUND;
	pg_calls_clear(calls, 2);
	return e;
}

enum err
siblings_list(struct request *req, const struct siblings_ask *ask,
    struct buf *out, const char **out_next, struct siblings_place *out_place)
{
	struct pg_call calls[] = {
	    {
		.query = chat_query(CHAT_SIBLINGS_PLACE),
		.params = {req->who.user_id, ask->message_id},
	    },
	    {
		.query = chat_query(CHAT_SIBLINGS_LIST),
		.params = {req->who.user_id, ask->message_id,
		    ask->after ? ask->after : "0",
		    number_text(req, ask->limit + 1),
		    number_text(req, MESSAGES_PAGE_BYTES)},
	    },
	};
	enum err e = id_is_uuid(ask->message_id) ? chat_run(req, calls, 2)
						 : ERR_NOT_FOUND;
	if (e != OK)
		return e;
	if (pg_rows(calls[0].result) == 0) {
		e = ERR_NOT_FOUND;
	} else {
		out_place->index = pg_number(calls[0].result, 0, PLACE_INDEX);
		out_place->count = pg_number(calls[0].result, 0, PLACE_COUNT);
		e = messages_write_page(
		    req, ask->limit, calls[1].result, out, out_next);
	}
	pg_calls_clear(calls, 2);
	return e;
}
