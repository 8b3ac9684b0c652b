/*
 * Copying a path: one trip sees how long it is, so that ids can be made for
 * it, the next one copies it in one statement.
 */
#include <string.h>

#include "base/arena.h"
#include "chat/conversation.h"
#include "chat/fork.h"
#include "chat/import.h"
#include "chat/queries.h"
#include "http/request.h"

/* A short id is 50 random bits, unique per user: twice is already odd. And
 * retention may drop the path's first month between the two trips. */
#define TRIES 3

/* What FORK_LOOK gives. */
enum { LOOK_LAST, LOOK_STATUS, LOOK_MESSAGES, LOOK_BYTES };

/* One fork. */
struct forking {
	struct request *req;
	const struct fork_ask *ask;
	const char *key[2];
	const char *max;  /* messages, one more than may be */
	const char *last; /* the path's last message */
	size_t n;         /* its messages */
};

static enum err
read_look(struct forking *f, const PGresult *r)
{
	struct request *req = f->req;
	const char *last = pg_text(r, 0, LOOK_LAST);
	int64_t n = pg_number(r, 0, LOOK_MESSAGES);
	int64_t bytes = pg_number(r, 0, LOOK_BYTES);
	if (!last && f->ask->message_id)
		return request_refuse(req, "message_id",
		    "It must be a message of this conversation.");
	if (!last)
		return request_refuse(
		    req, "message_id", "The conversation has no messages yet.");
	f->last = arena_strdup(req->arena, last);
	if (!f->last)
		return ERR_TOO_LARGE;
	if (!strcmp(pg_text(r, 0, LOOK_STATUS), "streaming")) {
		req->running_message = f->last;
		return ERR_REPLY_IN_PROGRESS;
	}
	if (n > IMPORT_MESSAGES_MAX || bytes > (int64_t)IMPORT_TEXT_MAX)
		return request_refuse(req, "message_id",
		    arena_printf(req->arena,
			"At most %d messages with %zu MiB of text are copied: "
			"name an earlier one.",
			IMPORT_MESSAGES_MAX, IMPORT_TEXT_MAX >> 20));
	f->n = (size_t)n;
	return OK;
}

static enum err
look(struct forking *f)
{
	const char *user = f->req->who.user_id;
	struct pg_call calls[] = {
	    {
		.query = chat_query(CHAT_CONVERSATION_EXISTS),
		.params = {user, f->key[0], f->key[1]},
	    },
	    {
		.query = chat_query(CHAT_FORK_LOOK),
		.params = {user, f->key[0], f->key[1], f->ask->message_id,
		    f->max},
	    },
	};
	enum err e = chat_run(f->req, calls, 2);
	if (e != OK)
		return e;
	e = pg_rows(calls[0].result) > 0 ? read_look(f, calls[1].result)
					 : ERR_NOT_FOUND;
	pg_calls_clear(calls, 2);
	return e;
}

/* So many ids, as an array of Postgres. */
static const char *
make_ids(struct arena *a, size_t n)
{
	char *ids = arena_alloc(a, n * ID_TEXT + 2);
	if (!ids)
		return NULL;
	char *p = ids;
	*p++ = '{';
	for (size_t i = 0; i < n; i++) {
		id_make(p);
		p += ID_TEXT - 1;
		*p++ = ',';
	}
	p[-1] = '}';
	*p = '\0';
	return ids;
}

/* ERR_CONFLICT: another short id, or another look, is worth it. */
static enum err
make(struct forking *f, struct buf *out, char out_id[static ID_TEXT])
{
	char short_id[ID_SHORT_TEXT];
	const char *ids = make_ids(f->req->arena, f->n);
	if (!ids)
		return ERR_TOO_LARGE;
	id_make(out_id);
	id_make_short(short_id);
	struct pg_call call = {
	    .query = chat_query(CHAT_FORK_MAKE),
	    .params = {f->req->who.user_id, f->key[0], f->key[1], f->last,
		f->max, ids, out_id, short_id, f->ask->title},
	};
	enum err e = chat_run(f->req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) > 0)
		conversation_write(out, call.result, 0);
	else
		e = ERR_CONFLICT;
	pg_calls_clear(&call, 1);
	return e;
}

enum err
fork_conversation(struct request *req, const struct fork_ask *ask,
    struct buf *out, char out_id[static ID_TEXT])
{
	struct forking f = {
	    .req = req,
	    .ask = ask,
	    .max = arena_printf(req->arena, "%d", IMPORT_MESSAGES_MAX + 1),
	};
	enum err e = conversation_key(ask->conversation_id, f.key);
	if (e != OK)
		return e;
	for (int i = 0; i < TRIES; i++) {
		e = look(&f);
		if (e == OK)
			e = make(&f, out, out_id);
		if (e != ERR_CONFLICT)
			return e;
	}
	return e;
}
