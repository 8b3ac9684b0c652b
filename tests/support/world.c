/*
 * The database of the integration tests of chat and api: made from the files
 * of migrations/ in their order, so that what is tested is what is shipped.
 */
#include <assert.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/keyring.h"
#include "chat/conversation.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "http/reply.h"
#include "store/pg.h"
#include "store/redis.h"
#include "support/ring.h"
#include "support/schema_files.h"
#include "support/servers.h"
#include "support/world.h"

/* Nobody is there: what needs Redis goes on without it. */
#define REDIS_URL "unix:///nonexistent/redis"

#define ARENA_MAX (64UL * 1024 * 1024)
#define SQL_MAX   4096

static PGconn *superuser; /* one per process */

bool
world_provide(const char *name)
{
	char *url = schema_from_files(name);
	if (!url)
		return false;
	setenv("TEST_WORLD_URL", url, 1);
	free(url);
	return true;
}

static PGresult *
run_as_superuser(const char *fmt, va_list ap)
{
	char sql[SQL_MAX];
	(void)vsnprintf(sql, sizeof(sql), fmt, ap);
	if (!superuser)
		superuser = PQconnectdb(getenv("TEST_WORLD_URL"));
	PGresult *r = PQexec(superuser, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK &&
	    PQresultStatus(r) != PGRES_TUPLES_OK) {
		fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(superuser));
		abort();
	}
	return r;
}

void
world_sql(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	PQclear(run_as_superuser(fmt, ap));
	va_end(ap);
}

int64_t
world_number(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	PGresult *r = run_as_superuser(fmt, ap);
	va_end(ap);
	assert(PQntuples(r) == 1);
	int64_t n = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
	PQclear(r);
	return n;
}

static void
make_user(struct world *w)
{
	id_make(w->user);
	world_sql("INSERT INTO auth.users (id, username) VALUES ('%s', 'u-%s')",
	    w->user, w->user);
}

/* The relay takes every reply. */
static bool
has_room(void *worker)
{
	(void)worker;
	return true;
}

void
world_open(struct world *w, const char *user)
{
	static const struct pg_domain *const domains = &chat_domain;
	*w = (struct world){
	    .config =
		{
		    .message_max_bytes = 65536,
		    .context_messages = 40,
		    .temporary_hours = 24,
		    .model = (char *)"test-model",
		    .system_prompt = (char *)"Be brief.",
		    .time_zone = (char *)"UTC",
		    .openai_base_url = (char *)"http://127.0.0.1:1/v1",
		},
	};
	char *url =
	    server_url_with(getenv("TEST_WORLD_URL"), "user", "natter_app");
	struct pg_options options = {
	    .url = url,
	    .application = "test",
	    .timeout_ms = 120000,
	    .prepare = true,
	    .domains = domains,
	    .n_domains = 1,
	};
	struct pg *pg = pg_new(&options);
	assert(pg);
	if (pg_connect(pg) != OK) {
		fprintf(stderr, "pg_connect: %s\n", pg_why(pg));
		abort();
	}
	id_make(w->worker);
	if (user)
		(void)snprintf(w->user, sizeof(w->user), "%s", user);
	else
		make_user(w);
	w->services = (struct services){
	    .config = &w->config,
	    .pg = pg,
	    .worker_id = w->worker,
	    .has_room = has_room,
	    .has_reader_room = has_room,
	};
	w->services.keys = ring_of(RING_TEXT);
	w->services.redis = redis_new(REDIS_URL, 100);
	w->req.arena = arena_new(ARENA_MAX);
	w->url = url;
}

void
world_close(struct world *w)
{
	json_object_put(w->answer);
	keyring_free(w->services.keys);
	redis_free(w->services.redis);
	arena_free(w->req.arena);
	pg_free(w->services.pg);
	free(w->url);
}

struct request *
world_request(struct world *w)
{
	struct arena *a = w->req.arena;
	arena_reset(a, ARENA_MAX);
	w->req = (struct request){
	    .arena = a,
	    .services = &w->services,
	    .request_id = "test",
	    .query = "",
	    .body = "",
	    .accept = "",
	    .who = {.user_id = w->user, .session_id = w->user},
	};
	return &w->req;
}

enum err
world_call(struct world *w, world_handler_fn handler, const char *id,
    const char *query, const char *body)
{
	struct request *req = world_request(w);
	struct reply rep = {0};
	req->ids[0] = id;
	req->query = query;
	req->body = body;
	req->body_len = strlen(body);
	json_object_put(w->answer);
	w->answer = NULL;
	enum err e = handler(req, &rep);
	w->status = e == OK ? rep.status : err_status(e);
	if (e == OK && rep.body_len > 0)
		e = json_parse_object(rep.body, rep.body_len, &w->answer);
	return e;
}

const char *
world_text(const struct world *w, const char *name)
{
	return json_object_get_string(json_object_object_get(w->answer, name));
}

void
world_conversation(struct world *w, char out_id[static ID_TEXT])
{
	struct conversation_change c = {0};
	struct buf shown = {0};
	enum err e = conversation_create(world_request(w), &c, &shown, out_id);
	assert(e == OK);
	buf_free(&shown);
}

enum err
world_begin(struct world *w, const char *conversation, const char *parent,
    const char *content, struct turn **out_turn)
{
	struct turn_ask ask = {
	    .conversation_id = conversation,
	    .content = content,
	    .parent_id = parent,
	};
	return turn_begin(world_request(w), &ask, out_turn);
}

enum err
world_finish(struct world *w, struct turn *t, const char *text)
{
	struct pg_call calls[TURN_FINISH_CALLS];
	struct request *req = world_request(w);
	buf_clear(&t->text);
	buf_puts(&t->text, text);
	t->status = TURN_COMPLETE;
	t->finish = MODEL_FINISH_STOP;
	size_t n = turn_finish(t, req->arena, calls);
	enum err e = pg_run(w->services.pg, t->user_id, calls, n);
	if (e != OK)
		return e;
	e = turn_stored(t, calls, n);
	pg_calls_clear(calls, n);
	return e;
}

bool
world_was_late(const struct world *w, enum err e)
{
	return e == ERR_UNAVAILABLE &&
	       strstr(pg_why(w->services.pg), "40P01") == NULL;
}

void
world_turn(struct world *w, const char *conversation, const char *parent,
    const char *content, char out_reply[static ID_TEXT])
{
	struct turn *t = NULL;
	enum err e = world_begin(w, conversation, parent, content, &t);
	assert(e == OK);
	(void)snprintf(out_reply, ID_TEXT, "%s", t->message_id);
	e = world_finish(w, t, "An answer.");
	assert(e == OK);
	turn_free(t);
}

void
world_take_indexes(void)
{
	/* A partitioned table's stands for those of its partitions. */
	world_sql(
	    "CREATE TABLE taken_indexes AS SELECT c.oid::regclass::text AS"
	    " name, replace(pg_get_indexdef(c.oid), ' ON ONLY ', ' ON ') AS"
	    " made_by FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE"
	    " a.amname = 'gin' AND c.relnamespace = 'chat'::regnamespace AND"
	    " NOT c.relispartition");
	world_sql("DO $$ DECLARE i record; BEGIN FOR i IN TABLE taken_indexes"
		  " LOOP EXECUTE 'DROP INDEX ' || i.name; END LOOP; END $$");
}

void
world_give_indexes(void)
{
	world_sql("DO $$ DECLARE i record; BEGIN FOR i IN TABLE taken_indexes"
		  " LOOP EXECUTE i.made_by; END LOOP; END $$");
	world_sql("DROP TABLE taken_indexes");
}
