/*
 * Personal API keys against a real Postgres and a real Redis: made, used
 * within their scopes, ended, and never stored.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/auth_world.h"
#include "../support/servers.h"
#include "../support/site_idp.h"
#include "api/api.h"
#include "auth/api_key.h"
#include "auth/api_key_cache.h"
#include "auth/session_cache.h"
#include "base/arena.h"
#include "store/pg.h"
#include "store/redis.h"

static struct caller c;
static struct signed_in s;

/* Copies of what making one gave. */
struct made {
	char id[ID_TEXT];
	char key[API_KEY_TEXT];
};

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!auth_world_provide("natter_keys_test"))
		exit(1);
}

static void
setup(void)
{
	caller_open(&c, NULL);
	caller_register(&c, &s);
}

static void
teardown(void)
{
	caller_close(&c);
}

TestSuite(api_keys, .init = setup, .fini = teardown, .timeout = 60);

static uint64_t
pg_trips(void)
{
	return pg_round_trips(c.services.pg);
}

static uint64_t
redis_trips(void)
{
	return redis_round_trips(c.services.redis);
}

static int
post(const char *body)
{
	return caller_call(&c, "POST", "/auth/keys", s.access, body);
}

static void
make(struct made *out, const char *body)
{
	int status = post(body);
	cr_assert_eq(status, 201, "%d %s", status, c.rep.body);
	snprintf(out->id, sizeof out->id, "%s", caller_text(&c, "id"));
	snprintf(out->key, sizeof out->key, "%s", caller_text(&c, "key"));
}

/* GET /me with this key. */
static int
use(const char *key)
{
	return caller_call(&c, "GET", "/me", key, NULL);
}

static void
expect_refused(const char *key)
{
	cr_expect_eq(use(key), 401);
	cr_expect_str_eq(caller_code(&c), "key_invalid");
	cr_expect_str_eq(caller_header(&c, "WWW-Authenticate"),
	    "Bearer error=\"invalid_token\"");
}

/* ---- making ---- */

Test(api_keys, a_new_key_is_shown_once)
{
	struct made m;
	make(&m, "{\"name\":\"My script\"}");
	cr_expect_eq(strlen(m.key), 67);
	cr_expect_eq(strncmp(m.key, "nk_", 3), 0);
	cr_expect_str_eq(caller_text(&c, "name"), "My script");
	cr_expect_str_eq(caller_text(&c, "scopes"), "[ \"read\", \"chat\" ]");
	cr_expect_str_eq(caller_text(&c, "ending"), m.key + 63);
	cr_expect_not_null(caller_text(&c, "expires_at"));
	cr_expect_null(caller_text(&c, "last_used_at"));
	cr_expect_eq(caller_call(&c, "GET", "/auth/keys", s.access, NULL), 200);
	cr_expect_null(strstr(c.rep.body, m.key));
	cr_expect_not_null(strstr(c.rep.body, m.id));
}

Test(api_keys, nothing_that_is_stored_is_a_key)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	cr_expect_eq(use(m.key), 200);
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.api_keys k WHERE"
				 " id = '%s' AND hash = sha256('%s'::bytea)",
			 m.id, m.key),
	    1);
	cr_expect_eq(auth_number("SELECT count(*) FROM auth.api_keys k WHERE"
				 " position('%s' in k::text) > 0",
			 m.key + 25),
	    0);
	cr_expect_str_eq(
	    auth_try("natter_app", "SELECT hash FROM auth.api_keys"), "42501");
	cr_expect_str_eq(auth_try("natter_app",
			     "UPDATE auth.api_keys SET expires_at = NULL"),
	    "42501");
	cr_expect_str_eq(
	    auth_try("natter_app", "INSERT INTO auth.api_keys (id) VALUES"
				   " (gen_random_uuid())"),
	    "42501");
}

Test(api_keys, lives_90_days_unless_told_otherwise)
{
	static const struct {
		const char *body, *life;
	} rows[] = {
	    {"{\"name\":\"x\"}", "90 days"},
	    {"{\"name\":\"x\",\"expires_in\":3600}", "1 hour"},
	    {"{\"name\":\"x\",\"expires_in\":null}", NULL},
	};
	for (size_t i = 0; i < 3; i++) {
		struct made m;
		make(&m, rows[i].body);
		if (!rows[i].life)
			cr_expect_null(caller_text(&c, "expires_at"));
		cr_expect_eq(
		    auth_number("SELECT count(*) FROM auth.api_keys WHERE"
				" id = '%s' AND expires_at - created_at"
				" IS NOT DISTINCT FROM %s%s%s::interval",
			m.id, rows[i].life ? "'" : "",
			rows[i].life ? rows[i].life : "NULL",
			rows[i].life ? "'" : ""),
		    1, "%zu", i);
		cr_expect_eq(use(m.key), 200);
	}
}

Test(api_keys, names_the_field_that_is_wrong)
{
	static const struct {
		const char *body, *field;
	} rows[] = {
	    {"{}", "name"},
	    {"{\"name\":\"\"}", "name"},
	    {"{\"name\":7}", "name"},
	    {"{\"name\":\"a\\nb\"}", "name"},
	    {"{\"name\":\"0123456789012345678901234567890123456789012345678901"
	     "2345678901234567890123456789012345678901234567890\"}",
		"name"},
	    {"{\"name\":\"x\",\"scopes\":[]}", "scopes"},
	    {"{\"name\":\"x\",\"scopes\":\"read\"}", "scopes"},
	    {"{\"name\":\"x\",\"scopes\":null}", "scopes"},
	    {"{\"name\":\"x\",\"scopes\":[\"admin\"]}", "scopes"},
	    {"{\"name\":\"x\",\"scopes\":[\"read\",\"read\"]}", "scopes"},
	    {"{\"name\":\"x\",\"scopes\":[1]}", "scopes"},
	    {"{\"name\":\"x\",\"expires_in\":59}", "expires_in"},
	    {"{\"name\":\"x\",\"expires_in\":315360001}", "expires_in"},
	    {"{\"name\":\"x\",\"expires_in\":\"60\"}", "expires_in"},
	    {"{\"name\":\"x\",\"expires_in\":60.5}", "expires_in"},
	    {"{\"name\":\"x\",\"key\":\"nk_mine\"}", "key"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cr_expect_eq(post(rows[i].body), 422, "%s", rows[i].body);
		const char *field = caller_text(&c, "field");
		cr_expect(
		    field && !strcmp(field, rows[i].field), "%s", rows[i].body);
	}
}

Test(api_keys, take_a_sign_in_of_the_last_15_minutes)
{
	auth_sql("UPDATE auth.sessions SET auth_time = now() - interval"
		 " '14 min 50 s' WHERE id = '%s'",
	    s.session_id);
	cr_expect_eq(post("{\"name\":\"x\"}"), 201);
	auth_sql("UPDATE auth.sessions SET auth_time = now() - interval"
		 " '15 min 1 s' WHERE id = '%s'",
	    s.session_id);
	cr_expect_eq(post("{\"name\":\"x\"}"), 403);
	cr_expect_str_eq(caller_code(&c), "reauth_required");
}

Test(api_keys, fifty_live_ones_are_enough)
{
	struct made first, m;
	make(&first, "{\"name\":\"x\"}");
	for (int i = 1; i < 50; i++)
		make(&m, "{\"name\":\"x\"}");
	cr_expect_eq(post("{\"name\":\"x\"}"), 409);
	cr_expect_str_eq(caller_code(&c), "conflict");
	auth_sql("UPDATE auth.api_keys SET created_at = now() - interval '2 d',"
		 " expires_at = now() - interval '1 d' WHERE id = '%s'",
	    first.id);
	cr_expect_eq(post("{\"name\":\"x\"}"), 201, "expired ones are not");
}

/* ---- using ---- */

Test(api_keys, a_key_acts_as_its_owner)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	cr_assert_eq(use(m.key), 200);
	cr_expect_str_eq(caller_text(&c, "id"), s.user_id);
	cr_expect_str_eq(c.req.who.user_id, s.user_id);
	cr_expect_str_eq(c.req.who.key_id, m.id);
	cr_expect_str_eq(c.req.who.role, "user");
	cr_expect_str_eq(c.req.who.username, s.username);
	cr_expect_null(c.req.who.session_id);
	cr_expect_null(c.req.who.jti);
	cr_expect_eq(use(m.key), 200, "warm");
	cr_expect_str_eq(c.req.who.key_id, m.id);
	cr_expect_str_eq(c.req.who.username, s.username);
}

Test(api_keys, serve_nowhere_under_auth)
{
	static const struct {
		const char *method, *path, *body;
	} rows[] = {
	    {"GET", "/auth/verify", NULL},
	    {"POST", "/auth/logout", NULL},
	    {"GET", "/auth/keys", NULL},
	    {"POST", "/auth/keys", "{\"name\":\"y\"}"},
	    {"DELETE", "/auth/keys/00000000-0000-7000-8000-000000000000", NULL},
	};
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	uint64_t before = pg_trips(), asked = redis_trips();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cr_expect_eq(caller_call(&c, rows[i].method, rows[i].path,
				 m.key, rows[i].body),
		    403, "%s %s", rows[i].method, rows[i].path);
		cr_expect_str_eq(caller_code(&c), "forbidden");
	}
	cr_expect_eq(pg_trips(), before);
	cr_expect_eq(redis_trips(), asked);
}

/* A later route under /auth is covered without a word here. */
Test(api_keys, no_route_under_auth_takes_one)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	for (size_t i = 0; i < api_routes.n; i++) {
		const struct route *route = &api_routes.routes[i];
		if (route->access == ACCESS_OPEN)
			continue;
		(void)caller_call(&c, "GET", "/me", m.key, NULL);
		c.req.route = route;
		bool is_auth = strstr(route->pattern, "/auth/") != NULL;
		enum err want = is_auth ? ERR_FORBIDDEN
				: route->access == ACCESS_ADMIN
				    ? ERR_INSUFFICIENT_SCOPE
				    : OK;
		cr_expect_eq(
		    api_key_check(&c.req, m.key), want, "%s", route->pattern);
	}
}

Test(api_keys, an_administrators_key_takes_the_scope_admin)
{
	struct made m, n;
	make(&m, "{\"name\":\"x\"}");
	const struct route route = {.method = HTTP_GET,
	    .pattern = "/api/v1/admin/x",
	    .access = ACCESS_ADMIN};
	auth_sql(
	    "UPDATE auth.users SET role = 'admin' WHERE id = '%s'", s.user_id);
	cr_expect_eq(use(m.key), 200);
	make(&n, "{\"name\":\"y\"}");
	auth_sql("UPDATE auth.api_keys SET scopes = '{admin}' WHERE id = '%s'",
	    n.id);
	cr_expect_eq(use(n.key), 403, "it reads nothing else");
	c.req.route = &route;
	cr_expect_eq(api_key_check(&c.req, m.key), ERR_INSUFFICIENT_SCOPE);
	cr_expect_eq(api_key_check(&c.req, n.key), OK);
	cr_expect_str_eq(c.req.who.role, "admin");
}

Test(api_keys, do_what_their_scopes_say)
{
	static const struct {
		const char *body;
		enum err read, chat;
	} rows[] = {
	    {"{\"name\":\"x\"}", OK, OK},
	    {"{\"name\":\"x\",\"scopes\":[\"chat\",\"read\"]}", OK, OK},
	    {"{\"name\":\"x\",\"scopes\":[\"read\"]}", OK,
		ERR_INSUFFICIENT_SCOPE},
	    {"{\"name\":\"x\",\"scopes\":[\"chat\"]}", ERR_INSUFFICIENT_SCOPE,
		OK},
	};
	static const struct route read = {
	    .method = HTTP_GET, .pattern = "/api/v1/x", .access = ACCESS_USER};
	static const enum http_method writing[] = {
	    HTTP_POST, HTTP_PATCH, HTTP_PUT, HTTP_DELETE};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct made m;
		make(&m, rows[i].body);
		c.req.route = &read;
		cr_expect_eq(api_key_check(&c.req, m.key), rows[i].read);
		for (size_t j = 0; j < 4; j++) {
			struct route write = read;
			write.method = writing[j];
			c.req.route = &write;
			cr_expect_eq(
			    api_key_check(&c.req, m.key), rows[i].chat);
		}
	}
}

Test(api_keys, a_missing_scope_is_named)
{
	struct made m;
	make(&m, "{\"name\":\"x\",\"scopes\":[\"chat\"]}");
	cr_expect_eq(use(m.key), 403);
	cr_expect_str_eq(caller_code(&c), "insufficient_scope");
	cr_expect_not_null(strstr(c.rep.body, "It takes read."));
	cr_expect_str_eq(caller_header(&c, "WWW-Authenticate"),
	    "Bearer error=\"insufficient_scope\"");
}

Test(api_keys, a_warm_key_asks_redis_once_and_postgres_never)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	uint64_t before = pg_trips(), asked = redis_trips();
	cr_assert_eq(use(m.key), 200);
	cr_expect_eq(pg_trips() - before, 2, "the check and /me itself");
	cr_expect_eq(redis_trips() - asked, 2);
	before = pg_trips();
	asked = redis_trips();
	cr_assert_eq(use(m.key), 200);
	cr_expect_eq(pg_trips() - before, 1, "/me itself");
	cr_expect_eq(redis_trips() - asked, 1);
}

Test(api_keys, texts_that_are_no_keys_ask_nobody)
{
	struct made m;
	char text[API_KEY_TEXT + 2];
	make(&m, "{\"name\":\"x\"}");
	uint64_t before = pg_trips(), asked = redis_trips();
	expect_refused("nk_");
	expect_refused("nk_x");
	snprintf(text, sizeof text, "%.66s", m.key);
	expect_refused(text);
	snprintf(text, sizeof text, "%sA", m.key);
	expect_refused(text);
	snprintf(text, sizeof text, "%s", m.key);
	text[40] = '+';
	expect_refused(text);
	text[40] = '=';
	expect_refused(text);
	char *huge = malloc(1 << 20);
	memset(huge, 'A', (1 << 20) - 1);
	huge[(1 << 20) - 1] = '\0';
	memcpy(huge, "nk_", 3);
	c.req.detail = NULL;
	cr_expect_eq(api_key_check(&c.req, huge), ERR_KEY_INVALID);
	free(huge);
	cr_expect_eq(pg_trips(), before);
	cr_expect_eq(redis_trips(), asked);
	cr_expect_eq(
	    caller_call(&c, "GET", "/me", "NK_x", NULL), 401, "one spelling");
	cr_expect_str_eq(caller_code(&c), "token_invalid");
}

Test(api_keys, a_changed_character_anywhere_is_refused)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	for (char *p = m.key + 3; *p; p++) {
		char was = *p;
		*p = was == 'A' ? 'B' : 'A';
		expect_refused(m.key);
		*p = was;
	}
	cr_expect_eq(use(m.key), 200);
}

Test(api_keys, a_key_under_another_users_name_is_nobodys)
{
	struct made mine, theirs;
	make(&mine, "{\"name\":\"x\"}");
	caller_register(&c, &s);
	make(&theirs, "{\"name\":\"x\"}");
	char mixed[API_KEY_TEXT];
	/* 21 characters of user are 126 of its 128 bits: the versions and
	 * times differ before. */
	memcpy(mixed, theirs.key, sizeof mixed);
	memcpy(mixed + 25, mine.key + 25, sizeof mixed - 25);
	expect_refused(mixed);
}

Test(api_keys, use_is_noted_at_most_once_in_5_minutes)
{
	struct made m;
	struct server server;
	cr_assert(server_start_redis(&server, NULL));
	caller_use_redis(&c, server.url);
	make(&m, "{\"name\":\"x\"}");
	c.ip = "203.0.113.5";
	cr_assert_eq(use(m.key), 200);
#define USED                                                     \
	"SELECT count(*) FROM auth.api_keys WHERE id = '%s' AND" \
	" last_used_at > now() - interval '10 s' AND ip_last = '%s'"
	cr_expect_eq(auth_number(USED, m.id, c.ip), 1);
	c.ip = "203.0.113.6";
	AUTO_REPLY redisReply *reply = NULL;
	const char *flush[] = {"FLUSHALL"};
	cr_assert_eq(
	    redis_command(c.services.redis, 1, flush, NULL, &reply), OK);
	cr_assert_eq(use(m.key), 200, "cold again");
	cr_expect_eq(auth_number(USED, m.id, "203.0.113.5"), 1);
	auth_sql("UPDATE auth.api_keys SET last_used_at = now() - interval"
		 " '301 s' WHERE id = '%s'",
	    m.id);
	AUTO_REPLY redisReply *again = NULL;
	cr_assert_eq(
	    redis_command(c.services.redis, 1, flush, NULL, &again), OK);
	cr_assert_eq(use(m.key), 200);
	cr_expect_eq(auth_number(USED, m.id, c.ip), 1);
	cr_assert_eq(caller_call(&c, "GET", "/auth/keys", s.access, NULL), 200);
	cr_expect_not_null(
	    strstr(c.rep.body, "\"last_used_ip\":\"203.0.113.6\""), "%s",
	    c.rep.body);
	server_remove(&server);
}

/* ---- endings ---- */

static int
end_key(const char *id)
{
	char path[128];
	snprintf(path, sizeof path, "/auth/keys/%s", id);
	return caller_call(&c, "DELETE", path, s.access, NULL);
}

Test(api_keys, revoking_reaches_the_next_request)
{
	struct made m, other;
	make(&m, "{\"name\":\"x\"}");
	make(&other, "{\"name\":\"y\"}");
	cr_assert_eq(use(m.key), 200, "warm");
	cr_expect_eq(end_key(m.id), 204);
	uint64_t before = pg_trips();
	expect_refused(m.key);
	cr_expect_eq(pg_trips(), before, "the tombstone is enough");
	cr_expect_eq(use(other.key), 200);
	cr_expect_eq(end_key(m.id), 404, "once");
	cr_assert_eq(caller_call(&c, "GET", "/auth/keys", s.access, NULL), 200);
	cr_expect_null(strstr(c.rep.body, m.id));
	cr_expect_not_null(strstr(c.rep.body, other.id));
}

Test(api_keys, nobody_revokes_or_sees_somebody_elses)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	caller_register(&c, &s);
	cr_expect_eq(end_key(m.id), 404);
	cr_expect_eq(end_key("nonsense"), 404);
	cr_assert_eq(caller_call(&c, "GET", "/auth/keys", s.access, NULL), 200);
	cr_expect_str_eq(c.rep.body, "{\"data\":[]}");
	cr_expect_eq(use(m.key), 200);
}

Test(api_keys, an_expired_key_is_refused)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	auth_sql("UPDATE auth.api_keys SET created_at = now() - interval '2 d',"
		 " expires_at = now() WHERE id = '%s'",
	    m.id);
	expect_refused(m.key);
}

Test(api_keys, redis_never_allows_beyond_the_end)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	auth_sql("UPDATE auth.api_keys SET expires_at = now() + interval '8 s'"
		 " WHERE id = '%s'",
	    m.id);
	cr_assert_eq(use(m.key), 200);
	cr_assert_eq(use(m.key), 200, "warm");
	auth_sql("SELECT pg_sleep_until(expires_at + interval '0.1 s')"
		 " FROM auth.api_keys WHERE id = '%s'",
	    m.id);
	cr_expect_leq(use(m.key), 401);
	auth_sql("SELECT pg_sleep(1)"); /* its TTL counts whole seconds */
	expect_refused(m.key);
}

Test(api_keys, ends_with_its_owner)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	cr_assert_eq(use(m.key), 200, "warm");
	auth_sql("SELECT * FROM auth.user_admin_set_disabled('%s', true)",
	    s.username);
	/* As natterctl does. */
	cr_assert_eq(
	    session_cache_distrust(c.services.redis, c.req.arena, s.user_id),
	    OK);
	expect_refused(m.key);
	auth_sql("SELECT * FROM auth.user_admin_set_disabled('%s', false)",
	    s.username);
	cr_expect_eq(use(m.key), 200, "and is back at once");
	cr_expect_eq(use(m.key), 200);
	auth_sql("DELETE FROM auth.users WHERE id = '%s'", s.user_id);
	cr_expect_eq(use(m.key), 401);
}

Test(api_keys, outlive_sessions)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	cr_assert_eq(caller_call(&c, "POST", "/auth/logout", s.access,
			 "{\"scope\":\"all\"}"),
	    204);
	cr_expect_eq(use(m.key), 200);
}

/* ---- stores that are away ---- */

Test(api_keys, n22_without_redis_postgres_tells)
{
	struct made live, dead;
	struct server server;
	cr_assert(server_start_redis(&server, NULL));
	caller_use_redis(&c, server.url);
	make(&live, "{\"name\":\"x\"}");
	make(&dead, "{\"name\":\"y\"}");
	cr_assert_eq(use(live.key), 200);
	cr_assert_eq(use(dead.key), 200);
	server_stop(&server, SIGKILL);
	cr_expect_eq(end_key(dead.id), 204);
	for (int i = 0; i < 5; i++) {
		cr_expect_eq(use(live.key), 200);
		expect_refused(dead.key);
	}
	server_remove(&server);
}

Test(api_keys, n24_without_either_it_is_unavailable)
{
	struct made m;
	make(&m, "{\"name\":\"x\"}");
	caller_use_redis(&c, "unix:///nonexistent");
	caller_use_postgres(&c, "host=/nonexistent");
	cr_expect_eq(use(m.key), 503);
	cr_expect_not_null(caller_header(&c, "Retry-After"));
}

Test(api_keys, n23_a_full_redis_keeps_no_revoked_key)
{
	static const char *const options[] = {
	    "--maxmemory", "2mb", "--maxmemory-policy", "noeviction", NULL};
	struct made m;
	struct server server;
	cr_assert(server_start_redis(&server, options));
	caller_use_redis(&c, server.url);
	make(&m, "{\"name\":\"x\"}");
	cr_assert_eq(use(m.key), 200, "warm");
	for (int i = 0, full = 0; i < 4000 && !full; i++) {
		char *name = idp_text("fill:%d", i);
		char *value = idp_text("%4000s", "");
		const char *set[] = {"SET", name, value};
		AUTO_REPLY redisReply *reply = NULL;
		full =
		    redis_command(c.services.redis, 3, set, NULL, &reply) != OK;
		free(name);
		free(value);
	}
	/* A breaker that opened would hide what is tested. */
	caller_use_redis(&c, server.url);
	cr_expect_eq(end_key(m.id), 204);
	caller_use_redis(&c, server.url);
	expect_refused(m.key);
	server_remove(&server);
}
