/*
 * The database, the callers and their requests. Asserts that what only
 * prepares a test works; what is tested is judged by the test.
 */
#include <assert.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/auth_world.h"
#include "../support/ring.h"
#include "../support/schema_files.h"
#include "../support/servers.h"
#include "api/api.h"
#include "auth/queries.h"
#include "auth/site_keys.h"
#include "base/arena.h"
#include "base/keyring.h"
#include "store/pg.h"
#include "store/redis.h"

#define ARENA_MAX (1UL << 20)
#define SQL_MAX   4096
#define REDIS_MS  5000 /* a Redis that gets no CPU is not one that is away */
#define API       "/api/v1"

bool
auth_world_provide(const char *name)
{
	char *url = schema_from_files(name);
	if (!url || !servers_provide_redis())
		return false;
	(void)setenv("TEST_AUTH_URL", url, 1);
	free(url);
	return true;
}

static PGresult *
run_as(PGconn *conn, const char *fmt, va_list ap)
{
	char sql[SQL_MAX];
	(void)vsnprintf(sql, sizeof sql, fmt, ap);
	assert(PQstatus(conn) == CONNECTION_OK);
	return PQexec(conn, sql);
}

static PGresult *
run_as_superuser(const char *fmt, va_list ap)
{
	static _Thread_local PGconn *superuser;
	if (!superuser)
		superuser = PQconnectdb(getenv("TEST_AUTH_URL"));
	PGresult *r = run_as(superuser, fmt, ap);
	if (PQresultStatus(r) != PGRES_COMMAND_OK &&
	    PQresultStatus(r) != PGRES_TUPLES_OK) {
		fprintf(stderr, "%s: %s\n", fmt, PQresultErrorMessage(r));
		abort();
	}
	return r;
}

void
auth_sql(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	PQclear(run_as_superuser(fmt, ap));
	va_end(ap);
}

int64_t
auth_number(const char *fmt, ...)
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

const char *
auth_try(const char *role, const char *fmt, ...)
{
	static _Thread_local char state[8];
	char *url = server_url_with(getenv("TEST_AUTH_URL"), "user", role);
	PGconn *conn = PQconnectdb(url);
	va_list ap;
	va_start(ap, fmt);
	PGresult *r = run_as(conn, fmt, ap);
	va_end(ap);
	const char *got = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	(void)snprintf(state, sizeof state, "%s", got ? got : "");
	PQclear(r);
	PQfinish(conn);
	free(url);
	return state;
}

static bool
never(void *worker)
{
	(void)worker;
	return false;
}

void
caller_use_postgres(struct caller *c, const char *url)
{
	static const struct pg_domain *domain = &auth_domain;
	const struct pg_options options = {
	    .url = url,
	    .application = "test",
	    .timeout_ms = 10000,
	    .prepare = true,
	    .demand_unprivileged = true,
	    .domains = domain,
	    .n_domains = 1,
	};
	pg_free(c->services.pg);
	c->services.pg = pg_new(&options);
	assert(c->services.pg);
}

void
caller_use_redis_for(struct caller *c, const char *url, long timeout_ms)
{
	redis_free(c->services.redis);
	c->services.redis = redis_new(url, timeout_ms);
	assert(c->services.redis);
}

void
caller_use_redis(struct caller *c, const char *url)
{
	caller_use_redis_for(c, url, REDIS_MS);
}

void
caller_use_site(struct caller *c, const char *jwks)
{
	(void)snprintf(c->jwks, sizeof c->jwks, "%s", jwks);
	c->config.exchange_issuer = (char *)SITE_ISSUER;
	site_keys_free(c->services.site_keys);
	c->services.site_keys = site_keys_new(c->jwks);
	assert(c->services.site_keys);
}

void
caller_open(struct caller *c, const char *redis_url)
{
	assert(sodium_init() >= 0);
	*c = (struct caller){
	    .config =
		{
		    .jwt_issuer = (char *)"natter",
		    .jwt_audience = (char *)"chat-api",
		    .access_ttl_s = 600,
		    .registration = (char *)"open",
		    .password_min = 15,
		    .hash_memory_kib = 8,
		    .hash_slots = 64,
		    .run_dir = c->run_dir,
		    .exchange_issuer = (char *)"",
		    .exchange_audience = (char *)"natter",
		    .exchange_algorithms = (char *)"RS256 ES256",
		    .exchange_jwks = c->jwks,
		    .exchange_secret = (char *)"",
		    .exchange_max_age_s = 300,
		    .exchange_leeway_s = 30,
		    .exchange_address_rate = 120,
		    .exchange_username_claim = (char *)"preferred_username",
		    .exchange_name_claim = (char *)"name",
		},
	    .run_dir = "/tmp/natter-auth-XXXXXX",
	    .ip = "192.0.2.7",
	    .agent = "test/1.0",
	    .device = "",
	};
	assert(mkdtemp(c->run_dir));
	c->app_url =
	    server_url_with(getenv("TEST_AUTH_URL"), "user", "natter_app");
	c->services = (struct services){
	    .config = &c->config,
	    .keys = ring_of(RING_TEXT),
	    .is_draining = never,
	    .refuses_new = never,
	    .has_room = never,
	};
	c->req.arena = arena_new(ARENA_MAX);
	caller_use_postgres(c, c->app_url);
	caller_use_redis(c, redis_url ? redis_url : getenv("TEST_REDIS_URL"));
}

void
caller_close(struct caller *c)
{
	for (int i = 0; i < 64; i++) {
		char path[64];
		(void)snprintf(
		    path, sizeof path, "%s/hash-%d.lock", c->run_dir, i);
		(void)unlink(path);
	}
	(void)rmdir(c->run_dir);
	(void)json_object_put(c->answer);
	pg_free(c->services.pg);
	redis_free(c->services.redis);
	site_keys_free(c->services.site_keys);
	keyring_free(c->services.keys);
	arena_free(c->req.arena);
	free(c->app_url);
}

static const char *
or_empty(const char *s)
{
	return s ? s : "";
}

static void
prepare(struct caller *c, const char *method, const char *path,
    const char *token, const char *body)
{
	struct arena *a = c->req.arena;
	arena_reset(a, ARENA_MAX);
	c->rep = (struct reply){0};
	c->req = (struct request){
	    .arena = a,
	    .services = &c->services,
	    .method = route_method(method),
	    .method_name = method,
	    .path = arena_printf(a, API "%s", path),
	    .query = "",
	    .body = arena_strdup(a, body ? body : ""),
	    .body_len = body ? strlen(body) : 0,
	    .request_id = "test",
	    .remote_addr = c->ip,
	    .user_agent = c->agent,
	    .authorization = token ? arena_printf(a, "Bearer %s", token) : "",
	    .content_type = "application/json",
	    .accept = "",
	    .cookie = or_empty(c->cookie),
	    .origin = or_empty(c->origin),
	    .sec_fetch_site = or_empty(c->sec_fetch_site),
	    .cors_method = "",
	    .cors_headers = "",
	    .natter_client = or_empty(c->natter_client),
	    .device = c->device,
	    .idempotency_key = "",
	    .last_event_id = "",
	};
}

int
caller_call(struct caller *c, const char *method, const char *path,
    const char *token, const char *body)
{
	prepare(c, method, path, token, body);
	if (api_route(&c->req, &c->rep, c->req.body_len) == OK)
		api_handle(&c->req, &c->rep);
	(void)json_object_put(c->answer);
	c->answer =
	    c->rep.body_len > 0 ? json_tokener_parse(c->rep.body) : NULL;
	return c->rep.status;
}

static struct json_object *
member(const struct caller *c, const char *path)
{
	struct json_object *o = c->answer;
	char copy[64], *rest = copy, *name;
	(void)snprintf(copy, sizeof copy, "%s", path);
	while (o && (name = strsep(&rest, ".")))
		if (!json_object_object_get_ex(o, name, &o))
			return NULL;
	return o;
}

const char *
caller_text(const struct caller *c, const char *path)
{
	struct json_object *o = member(c, path);
	return o ? json_object_get_string(o) : NULL;
}

int64_t
caller_number(const struct caller *c, const char *path)
{
	return json_object_get_int64(member(c, path));
}

const char *
caller_code(const struct caller *c)
{
	const char *code = caller_text(c, "code");
	return code ? code : "";
}

const char *
caller_header(const struct caller *c, const char *name)
{
	for (size_t i = 0; i < c->rep.n_headers; i++)
		if (strcmp(c->rep.headers[i].name, name) == 0)
			return c->rep.headers[i].value;
	return NULL;
}

static void
copy(char *to, size_t room, const char *from)
{
	assert(from && strlen(from) < room);
	memcpy(to, from, strlen(from) + 1);
}

static void
keep(const struct caller *c, struct signed_in *out)
{
	copy(out->username, sizeof out->username,
	    caller_text(c, "user.username"));
	copy(out->user_id, sizeof out->user_id, caller_text(c, "user.id"));
	copy(out->session_id, sizeof out->session_id,
	    caller_text(c, "session_id"));
	copy(out->access, sizeof out->access, caller_text(c, "access_token"));
	copy(
	    out->refresh, sizeof out->refresh, caller_text(c, "refresh_token"));
}

static void
sign(struct caller *c, const char *path, int want, const char *username)
{
	char body[256];
	(void)snprintf(body, sizeof body,
	    "{\"username\":\"%s\",\"password\":\"" PASSWORD "\"}", username);
	int status = caller_call(c, "POST", path, NULL, body);
	if (status != want) {
		fprintf(stderr, "%s: %d %s: %s\n", path, status,
		    c->rep.body ? c->rep.body : "",
		    c->req.why ? c->req.why : "");
		abort();
	}
}

void
caller_register(struct caller *c, struct signed_in *out)
{
	char id[ID_TEXT], username[64];
	id_make(id);
	(void)snprintf(username, sizeof username, "u-%s", id);
	sign(c, "/auth/register", 201, username);
	keep(c, out);
}

void
caller_login(struct caller *c, struct signed_in *s)
{
	sign(c, "/auth/login", 200, s->username);
	keep(c, s);
}

int
caller_refresh(
    struct caller *c, const char *refresh_token, struct signed_in *out)
{
	char body[512];
	(void)snprintf(
	    body, sizeof body, "{\"refresh_token\":\"%s\"}", refresh_token);
	int status = caller_call(c, "POST", "/auth/refresh", NULL, body);
	if (status == 200)
		keep(c, out);
	return status;
}

int
caller_verify(struct caller *c, const char *access_token)
{
	return caller_call(c, "GET", "/auth/verify", access_token, NULL);
}
