/*
 * What administrators do through a real nginx: stores and members, users and
 * their sessions, lists of what others keep; and that nobody else does. Events
 * and their sums, which both see, too.
 */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api/api.h"
#include "api_row.h"
#include "base/buf.h"
#include "base/id.h"
#include "calls.h"
#include "stack.h"

static struct api_caller caller; /* a user */
static struct person boss;       /* an administrator */

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

/* Asks as `p`; fails unless the status is the wanted one. */
static void
call(const struct person *p, const char *method, const char *path,
    const char *json, long status, struct answer *a)
{
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = path,
	    .token = p->token,
	    .json = json};

	http_ask(&ask, a);
	cr_assert_eq(a->status, status, "%s %s: %ld %s", method, path,
	    a->status, a->body.p);
}

static void
expect(const struct person *p, const char *method, const char *path,
    const char *json, long status)
{
	struct answer a;

	call(p, method, path, json, status, &a);
	answer_clear(&a);
}

static void
setup(void)
{
	api_caller_make(&caller);
	person_make_boss(&caller.stack, &boss);
}

static void
teardown(void)
{
	api_check_workers(&caller);
}

TestSuite(admin, .init = setup, .fini = teardown, .timeout = 120);

#define USERS  API "/admin/users"
#define STORES API "/admin/stores"

/* "<prefix>/<id><below>" */
static const char *
path_of(const char *prefix, const char *id, const char *below)
{
	static char path[4][512];
	static int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s%s", prefix, id, below);
	return p;
}

Test(admin, is_for_administrators_alone)
{
	static const char *const methods[] = {
	    [HTTP_GET] = "GET",
	    [HTTP_POST] = "POST",
	    [HTTP_PATCH] = "PATCH",
	    [HTTP_PUT] = "PUT",
	    [HTTP_DELETE] = "DELETE",
	};
	size_t n = 0;
	for (size_t i = 0; i < api_routes.n; i++) {
		const struct route *r = &api_routes.routes[i];
		bool has_body = r->body_max > 0;
		if (!strstr(r->pattern, "/admin/"))
			continue;
		cr_expect_eq(r->access, ACCESS_ADMIN, "%s", r->pattern);
		expect(&caller.person, methods[r->method], r->pattern,
		    has_body ? "{}" : NULL, 403);
		n++;
	}
	cr_expect_geq(n, 20u);
}

/* A token may say what is not so any more: the database looks itself. */
Test(admin, the_database_asks_too)
{
	char ignored[8];

	/* Redis remembers the session, and the role with it. */
	expect(&boss, "GET", API "/admin/stats", NULL, 200);
	db_value("UPDATE auth.users SET role = 'user'"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    boss.user_id, ignored, sizeof(ignored));
	expect(&boss, "GET", USERS, NULL, 403);
	expect(&boss, "GET", STORES, NULL, 403);
	expect(&boss, "GET", API "/admin/stats", NULL, 403);
	expect(
	    &boss, "GET", path_of(USERS, caller.person.user_id, ""), NULL, 403);
	expect(&boss, "DELETE", path_of(USERS, caller.person.user_id, ""), NULL,
	    403);
	expect(&boss, "PATCH", path_of(USERS, caller.person.user_id, ""),
	    "{\"is_disabled\":true}", 403);
	expect(&boss, "DELETE",
	    path_of(USERS, caller.person.user_id, "/sessions"), NULL, 403);
	expect(&caller.person, "GET", API "/me", NULL, 200);
}

static void
make_store(const char *extra, char out_id[40], char out_slug[40])
{
	char json[512];
	struct answer a;

	id_make(out_id);
	snprintf(out_slug, 40, "s%.8s%.4s", out_id + 24, out_id + 9);
	snprintf(json, sizeof(json), "{\"slug\":\"%s\",\"name\":\"Shop\"%s}",
	    out_slug, extra);
	call(&boss, "POST", STORES, json, 201, &a);
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	cr_expect_str_eq(answer_text(&a, "slug"), out_slug);
	cr_expect_str_eq(answer_text(&a, "is_active"), "true");
	answer_clear(&a);
	/* The same slug again. */
	expect(&boss, "POST", STORES, json, 409);
}

Test(admin, a_store_is_made_changed_and_deleted)
{
	char id[40], slug[40];
	struct answer a;

	make_store(
	    ",\"model\":\"m1\",\"metadata\":{\"a\":1,\"b\":2}", id, slug);
	call(&boss, "PATCH", path_of(STORES, id, ""),
	    "{\"name\":\"New\",\"model\":null,\"metadata\":{\"a\":null}}", 200,
	    &a);
	cr_expect_str_eq(answer_text(&a, "name"), "New");
	cr_expect_str_eq(answer_text(&a, "model"), "");
	cr_expect_str_eq(answer_text(&a, "metadata.a"), "");
	cr_expect_str_eq(answer_text(&a, "metadata.b"), "2");
	answer_clear(&a);
	expect(&boss, "GET", path_of(STORES, slug, ""), NULL, 200);
	call(&boss, "GET", STORES "?limit=1", NULL, 200, &a);
	cr_expect_str_neq(answer_text(&a, "data.0.slug"), "");
	answer_clear(&a);
	expect(&boss, "DELETE", path_of(STORES, id, ""), NULL, 204);
	expect(&boss, "GET", path_of(STORES, id, ""), NULL, 404);
	expect(&boss, "PATCH", path_of(STORES, id, ""), "{}", 404);
	expect(&boss, "DELETE", path_of(STORES, id, ""), NULL, 404);
}

/* What would be passed over in silence is refused, and nothing is changed. */
Test(admin, a_store_s_settings_are_what_natter_understands)
{
	static const struct {
		const char *json, *field;
	} rows[] = {
	    {"{\"prompt_template\":\"nowhere\"}", "settings.prompt_template"},
	    {"{\"prompt_template\":\"passages\"}", "settings.prompt_template"},
	    {"{\"prompt_template\":\"\"}", "settings.prompt_template"},
	    {"{\"prompt_template\":7}", "settings.prompt_template"},
	    {"{\"documents\":\"no\"}", "settings.documents"},
	    {"{\"tools\":0}", "settings.tools"},
	    {"{\"answer_cache\":\"true\"}", "settings.answer_cache"},
	};
	char id[40], slug[40], json[256];
	struct answer a;

	make_store(",\"settings\":{\"prompt_template\":\"default\","
		   "\"tools\":false,\"of_the_site\":[1]}",
	    id, slug);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(json, sizeof(json), "{\"settings\":%s}", rows[i].json);
		call(&boss, "PATCH", path_of(STORES, id, ""), json, 422, &a);
		cr_expect_str_eq(
		    answer_text(&a, "field"), rows[i].field, "%s", json);
		answer_clear(&a);
		snprintf(json, sizeof(json),
		    "{\"slug\":\"x%s\",\"name\":\"X\",\"settings\":%s}", slug,
		    rows[i].json);
		expect(&boss, "POST", STORES, json, 422);
	}
	call(&boss, "PATCH", path_of(STORES, id, ""),
	    "{\"settings\":{\"tools\":null,\"documents\":false}}", 200, &a);
	cr_expect_str_eq(
	    answer_text(&a, "settings.prompt_template"), "default");
	cr_expect_str_eq(answer_text(&a, "settings.tools"), "");
	cr_expect_str_eq(answer_text(&a, "settings.documents"), "false");
	answer_clear(&a);
	expect(&boss, "PATCH", path_of(STORES, id, ""),
	    "{\"settings\":{\"prompt_template\":null}}", 200);
}

Test(admin, members_see_their_stores_and_all_see_open_ones)
{
	char id[40], slug[40], below[64];
	struct answer a;

	make_store("", id, slug);
	expect(
	    &caller.person, "GET", path_of(API "/stores", slug, ""), NULL, 404);
	snprintf(below, sizeof(below), "/members/%s", caller.person.user_id);
	call(&boss, "PUT", path_of(STORES, id, below), "{}", 200, &a);
	cr_expect_str_eq(answer_text(&a, "role"), "member");
	cr_expect_str_eq(answer_text(&a, "username"), caller.person.username);
	answer_clear(&a);
	call(&boss, "PUT", path_of(STORES, id, below), "{\"role\":\"manager\"}",
	    200, &a);
	answer_clear(&a);
	call(&boss, "GET", path_of(STORES, id, "/members"), NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.role"), "manager");
	cr_expect_str_eq(answer_text(&a, "data.1.role"), "");
	answer_clear(&a);
	call(&caller.person, "GET", path_of(API "/stores", id, ""), NULL, 200,
	    &a);
	cr_expect_str_eq(answer_text(&a, "role"), "manager");
	cr_expect(!strstr(a.body.p, "system_prompt"));
	answer_clear(&a);
	expect(&boss, "DELETE", path_of(STORES, id, below), NULL, 204);
	expect(&boss, "DELETE", path_of(STORES, id, below), NULL, 404);
	expect(
	    &caller.person, "GET", path_of(API "/stores", id, ""), NULL, 404);
	expect(
	    &boss, "PATCH", path_of(STORES, id, ""), "{\"is_open\":true}", 200);
	call(&caller.person, "GET", path_of(API "/stores", slug, ""), NULL, 200,
	    &a);
	cr_expect_str_eq(answer_text(&a, "role"), "");
	answer_clear(&a);
	expect(&caller.person, "GET", API "/stores?limit=1", NULL, 200);
	expect(&boss, "PUT",
	    path_of(
		STORES, id, "/members/01a202fd-d1cc-7518-a0d5-c4dc7c639c19"),
	    "{}", 404);
}

Test(admin, users_are_listed_and_counted)
{
	char path[256];
	struct answer a;

	snprintf(path, sizeof(path), USERS "?q=%s", caller.person.username);
	call(&boss, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.id"), caller.person.user_id);
	cr_expect_str_eq(answer_text(&a, "data.1.id"), "");
	answer_clear(&a);
	snprintf(path, sizeof(path), USERS "?q=%s&role=admin",
	    caller.person.username);
	call(&boss, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.id"), "");
	answer_clear(&a);
	call(&boss, "GET", path_of(USERS, caller.person.user_id, ""), NULL, 200,
	    &a);
	cr_expect_str_eq(answer_text(&a, "conversations"), "1");
	cr_expect_str_eq(answer_text(&a, "messages"), "2");
	cr_expect_str_eq(answer_text(&a, "sessions"), "1");
	answer_clear(&a);
	expect(&boss, "GET", USERS "?limit=2", NULL, 200);
	expect(&boss, "GET",
	    path_of(USERS, "01a202fd-d1cc-7518-a0d5-c4dc7c639c19", ""), NULL,
	    404);
}

Test(admin, a_disabled_user_is_out_at_once)
{
	const char *path = path_of(USERS, caller.person.user_id, "");
	struct answer a;

	expect(&caller.person, "GET", API "/me", NULL, 200);
	call(&boss, "PATCH", path, "{\"is_disabled\":true}", 200, &a);
	cr_expect_str_eq(answer_text(&a, "is_disabled"), "true");
	cr_expect_str_eq(answer_text(&a, "sessions"), "0");
	answer_clear(&a);
	expect(&caller.person, "GET", API "/me", NULL, 401);
	expect(&boss, "PATCH", path, "{\"is_disabled\":false}", 200);
	expect(&caller.person, "GET", API "/me", NULL, 401);
}

Test(admin, sessions_end_at_once)
{
	char path[256], below[128];
	struct answer a;

	snprintf(path, sizeof(path), API "/admin/sessions?user=%s",
	    caller.person.user_id);
	call(&boss, "GET", path, NULL, 200, &a);
	snprintf(
	    below, sizeof(below), "/sessions/%s", answer_text(&a, "data.0.id"));
	cr_expect_str_eq(answer_text(&a, "data.1.id"), "");
	answer_clear(&a);
	expect(&caller.person, "GET", API "/me", NULL, 200);
	expect(&boss, "DELETE", path_of(USERS, caller.person.user_id, below),
	    NULL, 204);
	expect(&caller.person, "GET", API "/me", NULL, 401);
	expect(&boss, "DELETE", path_of(USERS, caller.person.user_id, below),
	    NULL, 404);
	call(&boss, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.id"), "");
	answer_clear(&a);
	expect(&boss, "DELETE",
	    path_of(USERS, caller.person.user_id, "/sessions"), NULL, 204);
}

Test(admin, nobody_removes_themselves)
{
	const char *path = path_of(USERS, boss.user_id, "");

	expect(&boss, "PATCH", path, "{\"is_disabled\":true}", 409);
	expect(&boss, "PATCH", path, "{\"role\":\"user\"}", 409);
	expect(&boss, "DELETE", path, NULL, 409);
	expect(&boss, "GET", API "/me", NULL, 200);
}

Test(admin, what_stays_takes_a_fresh_proof)
{
	char ignored[8];
	const char *path = path_of(USERS, caller.person.user_id, "");
	struct answer a;

	db_value("UPDATE auth.sessions SET auth_time = now() - interval"
		 " '15 minutes' WHERE user_id = $1::text::uuid RETURNING 1",
	    boss.user_id, ignored, sizeof(ignored));
	call(&boss, "PATCH", path, "{\"role\":\"admin\"}", 403, &a);
	cr_expect_str_eq(answer_text(&a, "code"), "reauth_required");
	answer_clear(&a);
	call(&boss, "DELETE", path, NULL, 403, &a);
	cr_expect_str_eq(answer_text(&a, "code"), "reauth_required");
	answer_clear(&a);
	expect(&boss, "PATCH", path, "{\"is_disabled\":true}", 200);
	expect(&boss, "PATCH", path, "{\"is_disabled\":false}", 403);
}

Test(admin, a_key_of_the_scope_admin_serves)
{
	struct person key = boss;
	struct answer a;

	call(&caller.person, "POST", API "/auth/keys",
	    "{\"name\":\"x\",\"scopes\":[\"admin\"]}", 422, &a);
	answer_clear(&a);
	call(&boss, "POST", API "/auth/keys", "{\"name\":\"x\"}", 201, &a);
	snprintf(key.token, sizeof(key.token), "%s", answer_text(&a, "key"));
	answer_clear(&a);
	expect(&key, "GET", USERS, NULL, 403);
	call(&boss, "POST", API "/auth/keys",
	    "{\"name\":\"y\",\"scopes\":[\"read\",\"admin\"]}", 201, &a);
	snprintf(key.token, sizeof(key.token), "%s", answer_text(&a, "key"));
	answer_clear(&a);
	expect(&key, "GET", USERS, NULL, 200);
	expect(&key, "POST", API "/conversations", "{}", 403);
	/* Nobody proved a password with it. */
	expect(&key, "DELETE", path_of(USERS, caller.person.user_id, ""), NULL,
	    403);
}

Test(admin, a_role_counts_from_the_next_sign_in)
{
	struct person other;

	person_make_boss(&caller.stack, &other);
	expect(&boss, "PATCH", path_of(USERS, other.user_id, ""),
	    "{\"role\":\"user\"}", 200);
	expect(&other, "GET", USERS, NULL, 401);
}

Test(admin, a_deleted_user_is_gone_with_everything)
{
	char value[16];
	const char *path = path_of(USERS, caller.person.user_id, "");

	expect(&caller.person, "POST", API "/tasks", "{\"title\":\"x\"}", 201);
	expect(&caller.person, "POST", API "/documents", "{\"content\":\"x\"}",
	    201);
	expect(&boss, "DELETE", path, NULL, 204);
	expect(&caller.person, "GET", API "/me", NULL, 401);
	db_value("SELECT (SELECT count(*) FROM chat.messages WHERE user_id ="
		 " $1::text::uuid) + (SELECT count(*) FROM chat.tasks WHERE"
		 " user_id = $1::text::uuid) + (SELECT count(*) FROM"
		 " chat.document_chunks WHERE user_id = $1::text::uuid)",
	    caller.person.user_id, value, sizeof(value));
	cr_expect_str_eq(value, "0");
	expect(&boss, "DELETE", path, NULL, 404);
}

/* What its owner sees no more, an administrator does not either. */
Test(admin, a_conversation_that_is_over_is_not_read)
{
	char id[40], path[256], ignored[40];
	struct answer a;

	call(&caller.person, "POST", API "/conversations",
	    "{\"expires_in\":60,\"title\":\"gone\"}", 201, &a);
	snprintf(id, sizeof(id), "%s", answer_text(&a, "id"));
	answer_clear(&a);
	snprintf(path, sizeof(path), API "/conversations/%s/messages", id);
	expect(&caller.person, "POST", path, "{\"content\":\"hush\"}", 201);
	snprintf(path, sizeof(path),
	    API "/admin/conversations/%s/messages?user=%s", id,
	    caller.person.user_id);
	call(&boss, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.content"), "hush");
	answer_clear(&a);
	db_value("UPDATE chat.conversations SET expires_at = now()"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    id, ignored, sizeof(ignored));
	call(&boss, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.content"), "");
	answer_clear(&a);
	call(&boss, "GET",
	    path_of(USERS, caller.person.user_id, "/conversations"), NULL, 200,
	    &a);
	cr_expect_str_neq(answer_text(&a, "data.0.id"), id);
	answer_clear(&a);
}

Test(admin, what_others_said_can_be_read)
{
	char path[256];
	struct answer a;

	call(&boss, "GET",
	    path_of(USERS, caller.person.user_id, "/conversations"), NULL, 200,
	    &a);
	cr_expect_str_eq(
	    answer_text(&a, "data.0.id"), caller.person.conversation);
	answer_clear(&a);
	snprintf(path, sizeof(path),
	    API "/admin/conversations/%s/messages?user=%s&limit=1",
	    caller.person.conversation, caller.person.user_id);
	call(&boss, "GET", path, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.content"), "hello");
	cr_expect_str_neq(answer_text(&a, "next_cursor"), "");
	answer_clear(&a);
	call(&boss, "GET", API "/admin/stats", NULL, 200, &a);
	cr_expect_str_neq(answer_text(&a, "users"), "0");
	cr_expect_str_eq(answer_text(&a, "replies_running"), "0");
	answer_clear(&a);
	expect(&boss, "GET", API "/admin/feedback", NULL, 200);
	expect(&boss, "GET", API "/admin/feedback?rating=-1", NULL, 200);
}

Test(admin, events_are_summed_by_day)
{
	char ignored[8];
	struct answer a;

	db_value("INSERT INTO chat.analytics_daily (user_id, day, category,"
		 " name, events, total, least, greatest) VALUES"
		 " ($1::text::uuid, (now() AT TIME ZONE 'UTC')::date - 1,"
		 " 'page', 'view', 7, 14, 1, 3) RETURNING 1",
	    caller.person.user_id, ignored, sizeof(ignored));
	expect(&caller.person, "POST", API "/analytics",
	    "{\"events\":[{\"category\":\"page\",\"name\":\"view\"},"
	    "{\"category\":\"page\",\"name\":\"view\",\"value\":2.5},"
	    "{\"category\":\"other\",\"name\":\"x\",\"properties\":{\"a\":1},"
	    "\"store_id\":\"01a202fd-d1cc-7518-a0d5-c4dc7c639c19\"}]}",
	    204);
	call(&caller.person, "GET", API "/me/analytics?category=page", NULL,
	    200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.events"), "2");
	cr_expect_str_eq(answer_text(&a, "data.0.total"), "3.5");
	cr_expect_str_eq(answer_text(&a, "data.0.greatest"), "2.5");
	cr_expect_str_eq(answer_text(&a, "data.1.events"), "7");
	cr_expect_str_eq(answer_text(&a, "data.2.events"), "");
	answer_clear(&a);
	call(&caller.person, "GET",
	    API "/me/analytics?from=2000-01-01&to=2000-12-31", NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.day"), "");
	answer_clear(&a);
	call(&boss, "GET", API "/me/analytics?category=page", NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.day"), "");
	answer_clear(&a);
	call(&boss, "GET", API "/admin/analytics?category=page", NULL, 200, &a);
	cr_expect_str_neq(answer_text(&a, "data.1.events"), "");
	answer_clear(&a);
}

/* Walks a list of sums by its cursors; writes "day category name events" of
 * each row to *out, and checks that no page is longer than `limit`. */
static int
walk_sums(const struct person *p, const char *path, int limit, struct buf *out)
{
	char cursor[2048] = "";
	int pages = 0;

	do {
		char url[3072], at[32];
		struct answer a;
		int n = 0;

		snprintf(url, sizeof(url), "%s&limit=%d%s%s", path, limit,
		    *cursor ? "&cursor=" : "", cursor);
		call(p, "GET", url, NULL, 200, &a);
		for (;; n++) {
			static const char *const shown[] = {
			    "day", "category", "name", "events"};

			snprintf(at, sizeof(at), "data.%d.day", n);
			if (!*answer_text(&a, at))
				break;
			for (size_t i = 0; i < 4; i++) {
				snprintf(
				    at, sizeof(at), "data.%d.%s", n, shown[i]);
				buf_printf(out, "%s%c", answer_text(&a, at),
				    i < 3 ? ' ' : '\n');
			}
		}
		cr_assert_leq(n, limit);
		snprintf(cursor, sizeof(cursor), "%s",
		    answer_text(&a, "next_cursor"));
		cr_assert(!*cursor || n == limit, "%d rows of a page", n);
		answer_clear(&a);
	} while (++pages < 100 && *cursor);
	return pages;
}

/* Two days of 60 sums each and today's events, in categories of their own: the
 * longest that there can be, and one with what a cursor has to hold. */
#define SUMS                                                               \
	"SELECT (now() AT TIME ZONE 'UTC')::date - d AS day, CASE n % 3"   \
	" WHEN 0 THEN repeat(U&'\\+01F600', 64) ELSE 'sums ' || n % 3 END" \
	" AS category, CASE WHEN n < 30 THEN 'n' || n ELSE"                \
	" repeat(U&'\\+01F601', 62) || n END AS name, n + 1 AS events"     \
	" FROM generate_series(1, 2) d, generate_series(0, 59) n"

Test(admin, sums_come_in_pages)
{
	static const char *const lists[] = {"me", "admin"};
	char sql[1024], value[8192 * 8], path[128];

	db_value("WITH s AS (" SUMS "), m AS (INSERT INTO chat.analytics_daily"
		 " (user_id, day, category, name, events, total, least,"
		 " greatest) SELECT $1::text::uuid, day, category, name,"
		 " events, 1, 1, 1 FROM s RETURNING 1) SELECT count(*) FROM m",
	    caller.person.user_id, value, sizeof(value));
	cr_assert_str_eq(value, "120");
	for (int i = 0; i < 25; i++) {
		snprintf(sql, sizeof(sql),
		    "{\"events\":[{\"category\":\"today\",\"name\":"
		    "\"n%d\"}]}",
		    i);
		expect(&caller.person, "POST", API "/analytics", sql, 204);
	}
	for (size_t i = 0; i < 2; i++) {
		const struct person *p = i == 0 ? &caller.person : &boss;
		struct buf paged = {0}, whole = {0};

		snprintf(path, sizeof(path), API "/%s/analytics?to=2999-12-31",
		    lists[i]);
		cr_expect_gt(walk_sums(p, path, 7, &paged), 20);
		(void)walk_sums(p, path, 100, &whole);
		if (i == 0) /* others add to the sums of all meanwhile */
			cr_expect_str_eq(buf_text(&paged), buf_text(&whole));
		buf_free(&whole);
		/* All of them, once, in order. */
		db_value(
		    "SELECT string_agg(x, E'\\n' ORDER BY day DESC, category,"
		    " name) || E'\\n' FROM (SELECT day, category, name,"
		    " day || ' ' || category || ' ' || name || ' ' || events"
		    " AS x FROM chat.analytics_daily WHERE user_id ="
		    " $1::text::uuid AND name NOT LIKE 'view') s",
		    caller.person.user_id, value, sizeof(value));
		cr_expect(i == 1 || strstr(buf_text(&paged), value), "%s",
		    buf_text(&paged));
		cr_expect_not_null(strstr(
		    buf_text(&paged), i == 0 ? " today n9 1\n" : " today n9 "));
		buf_free(&paged);
	}
}

/* A cursor is of its list and filters. */
Test(admin, a_cursor_of_sums_is_for_no_other_list)
{
	char url[3072], cursor[2048];
	struct answer a;

	expect(&boss, "POST", API "/analytics",
	    "{\"events\":[{\"category\":\"p\",\"name\":\"a\"},"
	    "{\"category\":\"p\",\"name\":\"b\"}]}",
	    204);
	call(&boss, "GET", API "/me/analytics?category=p&limit=1", NULL, 200,
	    &a);
	snprintf(cursor, sizeof(cursor), "%s", answer_text(&a, "next_cursor"));
	answer_clear(&a);
	snprintf(
	    url, sizeof(url), API "/me/analytics?category=p&cursor=%s", cursor);
	call(&boss, "GET", url, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.name"), "b");
	cr_expect_str_eq(answer_text(&a, "data.1.name"), "");
	answer_clear(&a);
	snprintf(url, sizeof(url), API "/me/analytics?cursor=%s", cursor);
	expect(&boss, "GET", url, NULL, 400);
	snprintf(url, sizeof(url), API "/admin/analytics?category=p&cursor=%s",
	    cursor);
	expect(&boss, "GET", url, NULL, 400);
	expect(&boss, "GET", API "/me/analytics?limit=101", NULL, 422);
}

Test(admin, a_reply_leaves_its_events)
{
	char value[64];

	db_value("SELECT string_agg(name, ' ' ORDER BY category, name)"
		 " FROM chat.analytics WHERE user_id = $1::text::uuid AND"
		 " value >= 0 AND properties ->> 'status' = 'complete'"
		 " AND conversation_id IS NOT NULL",
	    caller.person.user_id, value, sizeof(value));
	/* What was wanted, how long it took, by which model. */
	cr_expect(
	    strstr(value, "greeting duration_ms first_token_ms ") == value,
	    "%s", value);
}

/* Asks for a turn in a conversation of that store; its model. */
static void
say_in_store(const char *store, char out_model[64])
{
	char sql[512], ignored[8];
	struct answer a;

	snprintf(sql, sizeof(sql),
	    "UPDATE chat.conversations SET store_id = '%s' WHERE id ="
	    " $1::text::uuid RETURNING 1",
	    store);
	db_value(sql, caller.person.conversation, ignored, sizeof(ignored));
	person_say(&caller.stack, &caller.person, "hello", &a);
	db_value("SELECT m.model FROM chat.usage_tracking u JOIN chat.messages"
		 " m USING (user_id, id) WHERE m.conversation_id ="
		 " $1::text::uuid ORDER BY m.position DESC LIMIT 1",
	    caller.person.conversation, out_model, 64);
	answer_clear(&a);
}

Test(admin, a_stores_model_answers_there)
{
	char id[40], slug[40], model[64];

	make_store(",\"is_open\":true,\"model\":\"store-model\"", id, slug);
	say_in_store(id, model);
	cr_expect_str_eq(model, "store-model", "%s", model);
}

Test(admin, a_wrong_field_is_named)
{
#define FIELD(l, b, f) ROW(l, b, 422, .code = "invalid_field", .field = f)
#define EVENTS(e, f)   FIELD("POST " API "/analytics", e, f)
	static const struct api_row events[] = {
	    EVENTS("{}", "events"),
	    EVENTS("{\"events\":[]}", "events"),
	    EVENTS("{\"events\":{}}", "events"),
	    EVENTS("{\"events\":[1]}", "events"),
	    EVENTS("{\"events\":[{\"name\":\"a\"}]}", "category"),
	    EVENTS("{\"events\":[{\"category\":\"a\"}]}", "name"),
	    EVENTS("{\"events\":[{\"category\":\"a\",\"name\":\"b\","
		   "\"value\":\"1\"}]}",
		"value"),
	    EVENTS("{\"events\":[{\"category\":\"a\",\"name\":\"b\","
		   "\"user_id\":\"1\"}]}",
		"user_id"),
	    /* Two such would overflow the sums, a thousand digits the type. */
	    EVENTS("{\"events\":[{\"category\":\"a\",\"name\":\"b\","
		   "\"value\":1e308}]}",
		"value"),
	    EVENTS("{\"events\":[{\"category\":\"a\",\"name\":\"b\","
		   "\"value\":-1e999}]}",
		"value"),
	    EVENTS("{\"events\":[{\"category\":\"a\",\"name\":\"b\","
		   "\"value\":1e-400}]}",
		"value"),
	    EVENTS("{\"events\":[{\"category\":\"usage_tracking\","
		   "\"name\":\"cost\"}]}",
		"category"),
	    EVENTS("{\"events\":[{\"category\":\"tokens\","
		   "\"name\":\"x\"}]}",
		"category"),
	    FIELD("GET " API "/me/analytics?from=2026-13-01", NULL, "from"),
	    FIELD("GET " API "/me/analytics?from=2026-02-02&to=2026-02-01",
		NULL, "to"),
	};
	static const struct api_row rows[] = {
	    FIELD("POST " STORES, "{}", "slug"),
	    FIELD("POST " STORES, "{\"slug\":\"a\"}", "name"),
	    FIELD("POST " STORES, "{\"slug\":\"A b\",\"name\":\"x\"}", "slug"),
	    FIELD("POST " STORES,
		"{\"slug\":\"a\",\"name\":\"x\",\"model\":\"a b\"}", "model"),
	    FIELD("POST " STORES,
		"{\"slug\":\"a\",\"name\":\"x\",\"is_open\":1}", "is_open"),
	    FIELD("POST " STORES, "{\"slug\":\"a\",\"name\":\"x\",\"id\":1}",
		"id"),
	    FIELD("GET " USERS "?role=boss", NULL, "role"),
	    FIELD("GET " USERS "?disabled=2", NULL, "disabled"),
	    FIELD("GET " API "/admin/sessions", NULL, "user"),
	    FIELD("GET " API "/admin/sessions?user=x", NULL, "user"),
	    FIELD("GET " API "/admin/conversations/{c}/messages", NULL, "user"),
	    FIELD("GET " API "/admin/feedback?rating=0", NULL, "rating"),
	    FIELD("GET " API "/admin/analytics?to=x", NULL, "to"),
	    FIELD("PATCH " USERS "/01a202fd-d1cc-7518-a0d5-c4dc7c639c19",
		"{\"role\":\"boss\"}", "role"),
	    ROW("PATCH " USERS "/01a202fd-d1cc-7518-a0d5-c4dc7c639c19", "{}",
		404, .code = "not_found"),
	};
	API_ROWS_RUN(&caller, events);
	/* The rows' caller becomes the administrator. */
	snprintf(
	    caller.person.token, sizeof(caller.person.token), "%s", boss.token);
	API_ROWS_RUN(&caller, rows);
}
