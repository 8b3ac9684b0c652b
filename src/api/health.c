/*
 * /livez: the process answers. /readyz: it can serve: Postgres answers, its
 * schema is the one this program was built for, and the worker is not leaving.
 * Redis is a cache: without it the answer is 200 with status `degraded`, so
 * that a load balancer does not take away a server that still works.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/schema_version.h"
#include "base/json.h"
#include "chat/queries.h"
#include "http/reply.h"
#include "http/request.h"
#include "store/pg.h"
#include "store/redis.h"

struct readiness {
	bool has_postgres;
	bool has_redis;
	bool is_draining;
	int64_t schema_found; /* newest migration; 0 = unknown */
};

enum err
api_livez(struct request *req, struct reply *rep)
{
	struct json_object *o = json_object_new_object();

	json_put_text(o, "status", "ok");
	return reply_json(req, rep, 200, o);
}

static void
ask_postgres(struct request *req, struct readiness *r)
{
	struct pg_call call = {.query = chat_query(CHAT_SCHEMA_VERSION)};

	enum err e = pg_run(req->services->pg, NULL, &call, 1);

	r->has_postgres = e != ERR_UNAVAILABLE;
	if (e != OK) {
		req->why = pg_why(req->services->pg);
		return;
	}
	r->schema_found = pg_number(call.result, 0, 0);
	pg_calls_clear(&call, 1);
}

static void
ask_redis(struct request *req, struct readiness *r)
{
	const char *argv[] = {"PING"};
	AUTO_REPLY redisReply *reply = NULL;

	r->has_redis =
	    redis_command(req->services->redis, 1, argv, NULL, &reply) == OK;
}

static bool
is_ready(const struct readiness *r)
{
	return !r->is_draining && r->has_postgres &&
	       r->schema_found == SCHEMA_VERSION;
}

static const char *
status_word(const struct readiness *r)
{
	if (r->is_draining)
		return "draining";
	if (!is_ready(r))
		return "unavailable";
	return r->has_redis ? "ok" : "degraded";
}

enum err
api_readyz(struct request *req, struct reply *rep)
{
	struct services *services = req->services;
	struct json_object *o = json_object_new_object();
	struct readiness r = {
	    .is_draining = services->is_draining(services->worker)};

	ask_postgres(req, &r);
	ask_redis(req, &r);
	json_put_text(o, "status", status_word(&r));
	json_put_text(o, "postgres", r.has_postgres ? "ok" : "away");
	json_put_text(o, "redis", r.has_redis ? "ok" : "away");
	json_put_number(o, "schema_version", r.schema_found);
	json_put_number(o, "schema_wanted", SCHEMA_VERSION);
	json_put_flag(o, "draining", r.is_draining);
	if (is_ready(&r))
		return reply_json(req, rep, 200, o);
	reply_header(rep, "Retry-After", "2");
	return reply_json(req, rep, 503, o);
}
