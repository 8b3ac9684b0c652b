/*
 * What the audit log holds after each request, through a real nginx: the whole
 * table of routes is walked, so that a new route needs a line here. Rows are
 * found by the X-Request-Id that the client was told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "api/api.h"
#include "audit_steps.h"
#include "http/route.h"
#include "promises.h"
#include "stack.h"
#include "stack_shared.h"

#define SLOTS 48

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=1"}};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

static struct stack stack;

/* What answers gave, by name; "{name}" stands for it. */
static struct slot {
	char name[24];
	char value[2048];
} slots[SLOTS];
static size_t n_slots;

static void
begin(void)
{
	stack_take(&stack);
}

TestSuite(audit, .init = begin, .timeout = 120);

static struct slot *
slot(const char *name)
{
	for (size_t i = 0; i < n_slots; i++)
		if (strcmp(slots[i].name, name) == 0)
			return &slots[i];
	cr_assert_lt(n_slots, SLOTS);
	snprintf(slots[n_slots].name, sizeof(slots->name), "%s", name);
	return &slots[n_slots++];
}

static const char *
keep(const char *name, const char *value)
{
	struct slot *s = slot(name);

	snprintf(s->value, sizeof(s->value), "%s", value);
	return s->value;
}

/* The text with slots filled in; to be freed. */
static char *
fill(const char *text)
{
	struct buf b = {0};

	while (text != NULL && *text != '\0') {
		size_t n = *text == '{' ? strcspn(text, "}") : 0;
		struct slot *s = NULL;

		for (size_t i = 0; n > 1 && i < n_slots; i++)
			if (strlen(slots[i].name) == n - 1 &&
			    strncmp(slots[i].name, text + 1, n - 1) == 0)
				s = &slots[i];
		if (s != NULL)
			buf_puts(&b, s->value);
		else
			buf_putc(&b, *text);
		text += s != NULL ? n + 1 : 1;
	}
	return text == NULL ? NULL : buf_take(&b);
}

static const char rows_sql[] =
    "SELECT string_agg(t, E'\\n' ORDER BY t COLLATE \"C\") FROM ("
    "SELECT concat_ws(' ', action, 'by', actor_kind, coalesce(actor_id::text,"
    " '-'), 'of', coalesce(user_id::text, '-'), 'on', object_kind,"
    " coalesce(object_id::text, '-'), CASE WHEN details <> '{}' THEN"
    " details::text END, CASE WHEN host(ip) <> '127.0.0.1' OR ip IS NULL"
    " OR operator IS NOT NULL OR at < now() - interval '1 minute'"
    " OR natter.uuid_floor(at) > id THEN 'WRONG' END) AS t"
    " FROM audit.log WHERE request_id = $1) r";

static void
expect_rows(const char *id, const struct step *s)
{
	char got[4096];
	char *want = fill(s->rows);

	cr_assert(*id != '\0', "%s told no request's id", s->route);
	db_value(rows_sql, id, got, sizeof(got));
	cr_expect_str_eq(got, want != NULL ? want : "", "%s left\n%s\nnot\n%s",
	    s->route, got, want != NULL ? want : "");
	free(want);
}

static void
take_step(const struct step *s)
{
	char method[8] = "", id[80], name[24];
	const char *space = strchr(s->route, ' ');
	char *path = fill(s->path != NULL ? s->path : space + 1);
	char *json = fill(s->json);
	char *headers = fill("X-Natter-Device: {device}");
	struct answer a;
	struct ask ask = {.method = method,
	    .base = stack.base,
	    .path = path,
	    .token = s->token != NULL ? slot(s->token)->value : NULL,
	    .headers = {headers},
	    .json = json};

	memcpy(method, s->route, (size_t)(space - s->route));
	http_ask(&ask, &a);
	cr_assert_eq(a.status, s->status, "%s: %ld %s", s->route, a.status,
	    a.body.p != NULL ? a.body.p : "");
	for (size_t i = 0; i < 4 && s->keeps[i] != NULL; i++) {
		const char *from = strchr(s->keeps[i], '=');

		snprintf(name, sizeof(name), "%.*s", (int)(from - s->keeps[i]),
		    s->keeps[i]);
		cr_assert(*keep(name, answer_text(&a, from + 1)) != '\0', "%s",
		    s->keeps[i]);
	}
	snprintf(id, sizeof(id), "%s", answer_header(&a, "X-Request-Id"));
	expect_rows(id, s);
	answer_clear(&a);
	free(path);
	free(json);
	free(headers);
}

#define N(a) (sizeof(a) / sizeof((a)[0]))

Test(audit, each_request_leaves_exactly_its_rows)
{
	char name[64], before[24], after[24], text[64];

	snprintf(name, sizeof(name), "audit-%d", getpid());
	keep("name", name);
	keep("device", "a-device-id-of-22-chars-or-more");
	for (size_t i = 0; i < N(steps); i++)
		take_step(&steps[i]);
	db_value("SELECT id FROM auth.notices WHERE user_id = $1",
	    slot("user")->value, text, sizeof(text));
	keep("notice", text);
	for (size_t i = 0; i < N(last_steps) - 1; i++)
		take_step(&last_steps[i]);
	db_value("SELECT count(*) FROM audit.log WHERE user_id = $1",
	    slot("user")->value, before, sizeof(before));
	take_step(&last_steps[N(last_steps) - 1]);
	db_value("SELECT count(*) - 2 FROM audit.log WHERE user_id = $1",
	    slot("user")->value, after, sizeof(after));
	cr_expect_str_eq(after, before, "the rows outlive their user");
}

static const struct walk {
	const struct step *steps;
	size_t n;
} walks[] = {
    {steps, N(steps)},
    {last_steps, N(last_steps)},
    {record_steps, N(record_steps)},
    {admin_steps, N(admin_steps)},
};

/* Routes that no step is about; what they change is tested elsewhere. */
static const char *const elsewhere[] = {
    API "/auth/exchange", /* test_exchange */
};

static bool
is_walked(const char *route)
{
	for (size_t w = 0; w < N(walks); w++)
		for (size_t i = 0; i < walks[w].n; i++)
			if (strcmp(walks[w].steps[i].route, route) == 0)
				return true;
	for (size_t i = 0; i < N(elsewhere); i++)
		if (strcmp(elsewhere[i], strchr(route, ' ') + 1) == 0)
			return true;
	return false;
}

/* Does it change nothing, and show only what is the caller's own? */
static bool
is_plain_read(const struct route *r)
{
	const char *end = strrchr(r->pattern, '/');

	return r->method == HTTP_GET && r->access != ACCESS_ADMIN &&
	       strncmp(r->pattern, API "/admin/", strlen(API "/admin/")) != 0 &&
	       strcmp(end, "/export") != 0;
}

Test(audit, every_route_that_could_leave_rows_is_walked)
{
	static const char *const names[] = {
	    [HTTP_GET] = "GET",
	    [HTTP_POST] = "POST",
	    [HTTP_PATCH] = "PATCH",
	    [HTTP_PUT] = "PUT",
	    [HTTP_DELETE] = "DELETE",
	};

	for (size_t i = 0; i < api_routes.n; i++) {
		const struct route *r = &api_routes.routes[i];
		char route[128];

		if (is_plain_read(r))
			continue;
		snprintf(route, sizeof(route), "%s %s", names[r->method],
		    r->pattern);
		cr_expect(is_walked(route), "%s", route);
	}
}

/* GET `path` by the slot's token; the status. */
static long
get(const char *path, const char *token, struct answer *a)
{
	char *filled = fill(path);
	struct ask ask = {
	    .base = stack.base, .path = filled, .token = slot(token)->value};

	http_ask(&ask, a);
	free(filled);
	return a->status;
}

static const char *
at(const struct answer *a, size_t i, const char *member)
{
	struct json_object *o = json_tokener_parse(a->body.p);
	struct json_object *data = json_object_object_get(o, "data");
	struct json_object *row = json_object_array_get_idx(data, i);
	const char *text =
	    json_object_get_string(json_object_object_get(row, member));
	static char copy[256];

	snprintf(copy, sizeof(copy), "%s", text != NULL ? text : "");
	json_object_put(o);
	return copy;
}

static size_t
count(const struct answer *a)
{
	struct json_object *o = json_tokener_parse(a->body.p);
	size_t n = json_object_array_length(json_object_object_get(o, "data"));

	json_object_put(o);
	return n;
}

static void
make(struct person *p, const char *user, const char *token)
{
	person_make(&stack, p);
	keep(user, p->user_id);
	keep(token, p->token);
}

/* Makes an administrator of `p`, who signs in anew. */
static void
promote(const struct person *p, const char *token)
{
	char json[256], gone[8];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = API "/auth/login",
	    .json = json};
	struct answer a;

	db_value("UPDATE auth.users SET role = 'admin' WHERE id = $1",
	    p->user_id, gone, sizeof(gone));
	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"correct horse %s\"}",
	    p->username, p->username + strlen("person-"));
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	keep(token, answer_text(&a, "access_token"));
	answer_clear(&a);
}

Test(audit, records_and_exports_leave_exactly_their_rows)
{
	struct person me;

	make(&me, "user", "t");
	keep("device", "a-device-id-of-22-chars-or-more");
	for (size_t i = 0; i < N(record_steps); i++)
		take_step(&record_steps[i]);
}

Test(audit, administrators_leave_exactly_their_rows)
{
	struct person boss;
	char name[64];

	make(&boss, "boss", "b");
	promote(&boss, "b");
	snprintf(name, sizeof(name), "audit-%d", getpid());
	keep("name", name);
	keep("device", "a-device-id-of-22-chars-or-more");
	for (size_t i = 0; i < N(admin_steps); i++)
		take_step(&admin_steps[i]);
}

Test(audit, users_page_through_their_own_log_and_nobody_elses)
{
	struct person me, other;
	struct answer a;
	char path[2048], first[64];

	make(&me, "me", "t");
	make(&other, "other", "o");
	cr_assert_eq(get(API "/me/audit?limit=1", "t", &a), 200);
	cr_expect_eq(count(&a), 1);
	cr_expect_str_eq(at(&a, 0, "action"), "session.create");
	cr_expect_str_eq(at(&a, 0, "user_id"), me.user_id);
	cr_expect_str_eq(at(&a, 0, "actor"), "user");
	cr_expect_str_eq(at(&a, 0, "ip"), "127.0.0.1");
	snprintf(first, sizeof(first), "%s", at(&a, 0, "id"));
	snprintf(path, sizeof(path), API "/me/audit?limit=1&cursor=%s",
	    answer_text(&a, "next_cursor"));
	answer_clear(&a);
	cr_assert_eq(get(path, "t", &a), 200);
	cr_expect_str_eq(at(&a, 0, "action"), "user.create");
	cr_expect_str_lt(at(&a, 0, "id"), first);
	cr_expect_str_eq(answer_text(&a, "next_cursor"), "");
	answer_clear(&a);
	cr_expect_eq(get(path, "o", &a), 400, "another's cursor");
	answer_clear(&a);
}

Test(audit, administrators_filter_the_log_and_are_noted_in_it)
{
	static const char *const bad[] = {"user=x", "action=A;", "from=today",
	    "to=2026-13-01", "limit=0", "cursor=x"};
	struct person me, boss;
	struct answer a;
	char path[256];

	make(&me, "me", "t");
	make(&boss, "boss", "b");
	promote(&boss, "b");
	cr_expect_eq(get(API "/admin/audit", "t", &a), 403);
	cr_expect_str_eq(answer_text(&a, "code"), "forbidden");
	answer_clear(&a);
	cr_assert_eq(
	    get(API "/admin/audit?user={me}&action=user.create", "b", &a), 200,
	    "%s", a.body.p);
	cr_expect_eq(count(&a), 1);
	cr_expect_str_eq(at(&a, 0, "object_id"), me.user_id);
	answer_clear(&a);
	cr_assert_eq(
	    get(API "/admin/audit?user={me}&to=2020-01-01", "b", &a), 200);
	cr_expect_eq(count(&a), 0);
	answer_clear(&a);
	cr_assert_eq(get(API "/admin/audit?user={me}&"
			     "from=2020-01-01T00:00:00Z&limit=2",
			 "b", &a),
	    200);
	cr_expect_eq(count(&a), 2);
	cr_expect_str_eq(at(&a, 0, "action"), "audit.read");
	cr_expect_str_eq(at(&a, 0, "actor"), "admin");
	cr_expect_str_eq(at(&a, 0, "actor_id"), boss.user_id);
	answer_clear(&a);
	/* Whose data was read is told; from where an administrator did, not. */
	cr_assert_eq(get(API "/me/audit?limit=1", "t", &a), 200);
	cr_expect_str_eq(at(&a, 0, "action"), "audit.read");
	cr_expect_str_eq(at(&a, 0, "actor"), "admin");
	cr_expect_str_eq(at(&a, 0, "ip"), "");
	cr_expect_str_eq(at(&a, 0, "request_id"), "");
	answer_clear(&a);
	for (size_t i = 0; i < N(bad); i++) {
		snprintf(path, sizeof(path), API "/admin/audit?%s", bad[i]);
		long status = get(path, "b", &a);
		cr_expect(
		    status == 422 || status == 400, "%s: %ld", bad[i], status);
		answer_clear(&a);
	}
}

/* A store's managers change each other's documents: that they did is told. */
Test(audit, where_another_user_was_is_not_told)
{
	struct person me, other;
	struct answer a;
	char ignored[64], json[256], path[256];
	struct ask ask = {
	    .method = "POST", .base = stack.base, .path = API "/documents"};

	make(&me, "me", "t");
	make(&other, "other", "o");
	db_value("WITH s AS (INSERT INTO chat.stores (id, slug, name)"
		 " SELECT u.id, 'audit-' || right(u.id::text, 12), 'x'"
		 " FROM auth.users u WHERE u.id = $1::text::uuid RETURNING id)"
		 " SELECT id FROM s",
	    me.user_id, ignored, sizeof(ignored));
	db_value("INSERT INTO chat.store_members (user_id, store_id, role)"
		 " SELECT $1::text::uuid, $1::text::uuid, 'manager'"
		 " RETURNING 1",
	    me.user_id, ignored, sizeof(ignored));
	snprintf(json, sizeof(json), "%s/%s", me.user_id, other.user_id);
	db_value("INSERT INTO chat.store_members (user_id, store_id, role)"
		 " SELECT split_part($1, '/', 2)::uuid,"
		 " split_part($1, '/', 1)::uuid, 'manager' RETURNING 1",
	    json, ignored, sizeof(ignored));
	snprintf(json, sizeof(json),
	    "{\"content\":\"prices\",\"store_id\":\"%s\"}", me.user_id);
	ask.token = me.token;
	ask.json = json;
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	snprintf(
	    path, sizeof(path), API "/documents/%s", answer_text(&a, "id"));
	answer_clear(&a);
	ask = (struct ask){.method = "PATCH",
	    .base = stack.base,
	    .path = path,
	    .token = other.token,
	    .json = "{\"title\":\"new\"}"};
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	answer_clear(&a);
	cr_assert_eq(get(API "/me/audit?limit=1", "t", &a), 200);
	cr_expect_str_eq(at(&a, 0, "action"), "document.update");
	cr_expect_str_eq(at(&a, 0, "actor_id"), other.user_id);
	cr_expect_str_eq(at(&a, 0, "ip"), "");
	cr_expect_str_eq(at(&a, 0, "request_id"), "");
	answer_clear(&a);
}

Test(audit, a_turn_and_a_refresh_leave_nothing)
{
	struct person me;
	struct answer a;
	char before[24], after[24];

	make(&me, "me", "t");
	db_value("SELECT count(*) FROM audit.log WHERE user_id = $1",
	    me.user_id, before, sizeof(before));
	for (int i = 0; i < 3; i++) {
		person_say(&stack, &me, "Hello", &a);
		cr_assert(answer_ends_with(&a, "done"));
		answer_clear(&a);
	}
	db_value("SELECT count(*) FROM audit.log WHERE user_id = $1",
	    me.user_id, after, sizeof(after));
	cr_expect_str_eq(after, before);
}
