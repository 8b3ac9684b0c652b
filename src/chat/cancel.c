/*
 * The wish that a reply ends: noted by whoever has it, found by whom it
 * concerns. What becomes of the reply is the relay's, or the sweep's where its
 * worker is dead.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "chat/cancel.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "http/request.h"
#include "store/redis.h"

/* What MESSAGE_CANCEL gives after a message's columns. */
enum { CANCEL_WORKER = MESSAGE_COLUMNS_N };

/* Redis may be away, or the word come too early: the worker looks itself. */
static void
tell_worker(struct request *req, const char *worker_id, const char *id)
{
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = {"PUBLISH",
	    arena_printf(req->arena, CANCEL_CHANNEL "%s", worker_id), id};
	if (words[1])
		(void)!redis_command(
		    req->services->redis, 3, words, NULL, &reply);
}

enum err
message_cancel(
    struct request *req, const char *id, struct buf *out, int *out_status)
{
	if (!id_is_uuid(id))
		return ERR_NOT_FOUND;
	struct pg_call call = {
	    .query = chat_query(CHAT_MESSAGE_CANCEL),
	    .params = {req->who.user_id, id},
	};
	struct message m = {0};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call.result) == 0)
		e = ERR_NOT_FOUND;
	else
		message_read(call.result, 0, &m);
	if (e == OK && strcmp(m.role, "assistant") != 0)
		e = ERR_NOT_A_REPLY;
	if (e == OK) {
		const char *worker = pg_text(call.result, 0, CANCEL_WORKER);
		*out_status = strcmp(m.status, "streaming") == 0 ? 202 : 200;
		if (worker)
			tell_worker(req, worker, m.id);
		message_write(out, &m);
	}
	pg_calls_clear(&call, 1);
	return e;
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, ID_TEXT);
}

static struct cancels *
read_ids(const PGresult *r)
{
	size_t n = (size_t)pg_rows(r);
	struct cancels *c = calloc(1, sizeof(*c) + n * sizeof(c->ids[0]));
	if (!c)
		return NULL;
	for (size_t i = 0; i < n; i++)
		strncpy(c->ids[i], pg_text(r, (int)i, 0), ID_TEXT - 1);
	c->n = n;
	qsort(c->ids, n, sizeof(c->ids[0]), compare_ids);
	return c;
}

enum err
cancels_find(struct pg *pg, const char *worker_id, struct cancels **out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_CANCELLED_REPLIES),
	    .params = {worker_id},
	};
	*out = NULL;
	enum err e = pg_run(pg, NULL, &call, 1);
	if (e == OK && pg_rows(call.result) > 0) {
		*out = read_ids(call.result);
		if (!*out)
			e = ERR_INTERNAL;
	}
	pg_calls_clear(&call, 1);
	return e;
}
