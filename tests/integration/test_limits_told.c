/*
 * What users are told of their limits and what administrators set of them,
 * through a real nginx: headers, problems, /me/limits, /admin/…/limits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "calls.h"
#include "stack.h"
#include "utc_day.h"

#define PAGE "https://app.example.com"
/* Overrides hold within 15 s; others may keep this machine busy. */
#define SOON_MS 40000

static struct api_caller caller; /* a user */
static struct person boss;       /* an administrator */
static const char *conversation;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {
	    .has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_RATE_LIMIT_PER_MINUTE=3",
		"CHAT_RATE_LIMIT_PER_DAY=50", "CHAT_API_RATE_PER_MINUTE=500",
		"CHAT_STREAMS_PER_USER=4", "CHAT_MAX_TOKENS_PER_DAY=100000",
		"CHAT_ORIGINS=" PAGE},
	};

	(void)tests;
	stack_share(&o);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	stack_unshare();
}

/* Asks as `p`, for a page of another origin. */
static void
call(const struct person *p, const char *method, const char *path,
    const char *json, struct answer *a)
{
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = path,
	    .token = p->token,
	    .json = json,
	    .headers = {"Origin: " PAGE}};

	http_ask(&ask, a);
}

/* The same; fails unless the status is the wanted one. The body, to be put. */
static struct json_object *
expect(const struct person *p, const char *method, const char *path,
    const char *json, long status)
{
	struct json_object *o = NULL;
	struct answer a;

	call(p, method, path, json, &a);
	cr_assert_eq(a.status, status, "%s %s: %ld %s", method, path, a.status,
	    a.body.p);
	if (a.body.n > 0)
		cr_assert_eq(json_parse_object(a.body.p, a.body.n, &o), OK);
	answer_clear(&a);
	return o;
}

static void
done(const struct person *p, const char *method, const char *path,
    const char *json, long status)
{
	AUTO_JSON struct json_object *o = expect(p, method, path, json, status);
}

/* "<prefix>/<id><below>" */
static const char *
path_of(const char *prefix, const char *id, const char *below)
{
	static char path[16][512];
	static int next;
	char *p = path[next++ % 16];

	snprintf(p, sizeof(path[0]), "%s/%s%s", prefix, id, below);
	return p;
}

/* A user who has said nothing yet, unlike api_caller_make's. */
static void
setup(void)
{
	memset(&caller, 0, sizeof(caller));
	utc_day_begin();
	stack_take(&caller.stack);
	person_make(&caller.stack, &caller.person);
	person_make_boss(&caller.stack, &boss);
	conversation = caller.person.conversation;
}

/* Sums that no reply made are amiss to whoever adds them up. */
static void
teardown(void)
{
	const struct person *people[] = {&caller.person, &boss};
	char ignored[8];

	for (size_t i = 0; i < 2; i++)
		db_value("DELETE FROM auth.users WHERE id = $1::text::uuid"
			 " RETURNING 1",
		    people[i]->user_id, ignored, sizeof(ignored));
}

TestSuite(told, .init = setup, .fini = teardown, .timeout = 300);

/* What a header says of a limit: the number after `name";…<key>=`; -1. */
static long
told(const struct answer *a, const char *header, const char *name,
    const char *key)
{
	char item[64], parameter[8];
	const char *value = answer_header(a, header), *at, *end;

	snprintf(item, sizeof(item), "\"%s\";", name);
	snprintf(parameter, sizeof(parameter), ";%s=", key);
	at = value ? strstr(value, item) : NULL;
	end = at ? at + strcspn(at, ",") : NULL;
	at = at ? strstr(at, parameter) : NULL;
	return at && at < end ? strtol(at + strlen(parameter), NULL, 10) : -1;
}

static void
say(const char *content, bool streams, struct answer *a)
{
	char json[128];

	snprintf(json, sizeof(json), "{\"content\":\"%s\",\"stream\":%s}",
	    content, streams ? "true" : "false");
	call(&caller.person, "POST",
	    path_of(API "/conversations", conversation, "/messages"), json, a);
}

Test(told, short_replies_tell_what_is_left)
{
	struct answer a;

	call(&caller.person, "GET", API "/me", NULL, &a);
	cr_expect_eq(a.status, 200);
	cr_expect_eq(told(&a, "RateLimit-Policy", "api_per_minute", "q"), 500);
	cr_expect_eq(told(&a, "RateLimit-Policy", "api_per_minute", "w"), 60);
	cr_expect_geq(told(&a, "RateLimit", "api_per_minute", "r"), 490);
	cr_expect_str_eq(
	    answer_header(&a, "x-ratelimit-limit-requests"), "500");
	cr_expect_eq(
	    told(&a, "RateLimit-Policy", "tokens_per_day", "q"), 100000);
	cr_expect_str_eq(
	    answer_header(&a, "x-ratelimit-remaining-tokens"), "100000");
	answer_clear(&a);
	/* Refused ones too: they were charged. */
	call(&caller.person, "GET", API "/admin/stats", NULL, &a);
	cr_expect_eq(a.status, 403);
	cr_expect_eq(told(&a, "RateLimit-Policy", "api_per_minute", "q"), 500);
	answer_clear(&a);
	call(&caller.person, "GET", "/livez", NULL, &a);
	cr_expect_null(answer_header(&a, "RateLimit"));
	answer_clear(&a);
}

Test(told, turns_tell_it_streamed_or_not)
{
	for (int i = 0; i < 3; i++) {
		struct answer a;
		long left;

		say("Hello", i == 1, &a);
		cr_assert_eq(a.status, i == 1 ? 200 : 201, "%s", a.body.p);
		cr_expect_eq(
		    told(&a, "RateLimit-Policy", "turns_per_minute", "q"), 3);
		cr_expect_eq(
		    told(&a, "RateLimit-Policy", "turns_per_day", "w"), 86400);
		/* One may have come back meanwhile. */
		left = told(&a, "RateLimit", "turns_per_minute", "r");
		cr_expect(left >= 2 - i && left <= 2, "%ld", left);
		cr_expect_eq(
		    told(&a, "RateLimit", "turns_per_day", "r"), 49 - i);
		cr_expect_eq(
		    atol(answer_header(&a, "x-ratelimit-remaining-requests")),
		    left);
		cr_expect_not_null(strchr(
		    answer_header(&a, "x-ratelimit-reset-requests"), 's'));
		answer_clear(&a);
	}
}

/* A name that a comma, a blank or the end follows. */
static bool
is_named(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (; list && (list = strstr(list, name)); list += n) {
		if (strchr(", ", list[n]))
			return true;
	}
	return false;
}

Test(told, a_429_names_what_it_violates)
{
	static const char *const exposed[] = {"RateLimit", "RateLimit-Policy",
	    "Retry-After", "X-RateLimit-Limit-Requests",
	    "X-RateLimit-Remaining-Requests", "X-RateLimit-Reset-Requests",
	    "X-RateLimit-Limit-Tokens", "X-RateLimit-Remaining-Tokens",
	    "X-RateLimit-Reset-Tokens"};
	AUTO_JSON struct json_object *o = NULL;
	struct json_object *names, *line;
	struct answer a = {0};
	long wait;

	/* Three at once and one every 20 s. */
	for (int i = 0; i < 30 && a.status != 429; i++) {
		answer_clear(&a);
		say("Hello", i % 2, &a);
	}
	cr_assert_eq(a.status, 429);
	cr_expect_str_eq(
	    answer_header(&a, "Content-Type"), "application/problem+json");
	for (size_t i = 0; i < sizeof(exposed) / sizeof(*exposed); i++)
		cr_expect(
		    is_named(answer_header(&a, "Access-Control-Expose-Headers"),
			exposed[i]),
		    "%s", exposed[i]);
	wait = atol(answer_header(&a, "Retry-After"));
	cr_expect(wait >= 1 && wait <= 20, "%ld", wait);
	cr_expect_eq(told(&a, "RateLimit", "turns_per_minute", "r"), 0);
	cr_expect_eq(told(&a, "RateLimit", "turns_per_minute", "t"), wait);
	cr_assert_eq(json_parse_object(a.body.p, a.body.n, &o), OK);
	cr_expect_str_eq(answer_text(&a, "code"), "rate_limited");
	cr_expect_str_eq(answer_text(&a, "type"),
	    "https://iana.org/assignments/http-problem-types#quota-exceeded");
	names = json_object_object_get(o, "violated-policies");
	cr_assert_eq(json_object_array_length(names), 1);
	cr_expect_str_eq(
	    json_object_get_string(json_object_array_get_idx(names, 0)),
	    "turns_per_minute");
	line =
	    json_object_array_get_idx(json_object_object_get(o, "limits"), 0);
	cr_expect_eq(
	    json_object_get_int(json_object_object_get(line, "limit")), 3);
	cr_expect_eq(
	    json_object_get_int(json_object_object_get(line, "retry_after")),
	    wait);
	answer_clear(&a);
}

/* The limit of that name in a list of {"name", …}; NULL. */
static struct json_object *
limit_in(struct json_object *lines, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(lines); i++) {
		struct json_object *l = json_object_array_get_idx(lines, i);

		if (strcmp(json_object_get_string(
			       json_object_object_get(l, "name")),
			name) == 0)
			return l;
	}
	return NULL;
}

/* A number of it: -1 for null, -2 where it is not there. */
static long
number_of(struct json_object *list, const char *name, const char *key)
{
	struct json_object *l = limit_in(list, name), *v = NULL;

	if (!l || !json_object_object_get_ex(l, key, &v))
		return -2;
	return v ? (long)json_object_get_int64(v) : -1;
}

/* The caller's own limits. */
static struct json_object *
limits_of(struct json_object *o)
{
	return json_object_object_get(o, "limits");
}

Test(told, me_limits_reads_and_charges_no_turn)
{
	struct answer a;

	for (int i = 0; i < 3; i++) {
		AUTO_JSON struct json_object *o =
		    expect(&caller.person, "GET", API "/me/limits", NULL, 200);

		cr_expect_eq(
		    number_of(limits_of(o), "turns_per_minute", "limit"), 3);
		cr_expect_eq(
		    number_of(limits_of(o), "turns_per_minute", "remaining"),
		    3);
		cr_expect_eq(
		    number_of(limits_of(o), "turns_per_minute", "reset"), 0);
		cr_expect_geq(
		    number_of(limits_of(o), "api_per_minute", "remaining"),
		    480);
		cr_expect_eq(
		    number_of(limits_of(o), "streams", "remaining"), 4);
		/* What is not limited is not listed. */
		cr_expect_null(limit_in(limits_of(o), "cost_per_day"));
		cr_expect_null(limit_in(limits_of(o), "address_per_minute"));
	}
	say("Hello", false, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	answer_clear(&a);
	AUTO_JSON struct json_object *o =
	    expect(&caller.person, "GET", API "/me/limits", NULL, 200);
	cr_expect_eq(number_of(limits_of(o), "turns_per_day", "remaining"), 49);
	cr_expect_leq(number_of(limits_of(o), "turns_per_minute", "reset"), 20);
	cr_expect_eq(number_of(limits_of(o), "turns_per_day", "window"), 86400);
}

/* Those of a store; NULL where it is not there. */
static struct json_object *
limits_in_store(struct json_object *o, const char *id)
{
	struct json_object *stores = json_object_object_get(o, "stores");

	for (size_t i = 0; i < json_object_array_length(stores); i++) {
		struct json_object *s = json_object_array_get_idx(stores, i);

		if (strcmp(json_object_get_string(
			       json_object_object_get(s, "store_id")),
			id) == 0)
			return json_object_object_get(s, "limits");
	}
	return NULL;
}

/* What of the budgets is used and held back, the user's and a store's. */
Test(told, me_limits_has_the_budgets)
{
	char slug[64], store[40], body[256], ignored[8];

	snprintf(slug, sizeof(slug), "s-%.13s", caller.person.user_id);
	snprintf(body, sizeof(body),
	    "{\"slug\":\"%s\",\"name\":\"Shop\",\"is_open\":true}", slug);
	AUTO_JSON struct json_object *made =
	    expect(&boss, "POST", API "/admin/stores", body, 201);
	snprintf(store, sizeof(store), "%s",
	    json_object_get_string(json_object_object_get(made, "id")));
	done(&boss, "PATCH", path_of(API "/admin/stores", store, "/limits"),
	    "{\"tokens_per_month\":1000,\"turns_per_minute\":2}", 200);
	done(&boss, "PATCH",
	    path_of(API "/admin/users", caller.person.user_id, "/limits"),
	    "{\"cost_per_day\":250,\"tokens_per_month\":0}", 200);
	db_value("INSERT INTO chat.token_budgets (user_id, id, period,"
		 " starts_on, tokens_used, tokens_reserved, cost_used,"
		 " cost_reserved) VALUES ($1::text::uuid, gen_random_uuid(),"
		 " 'day', (now() AT TIME ZONE 'UTC')::date, 30000, 4000, 1.005,"
		 " 0.5) RETURNING 1",
	    caller.person.user_id, ignored, sizeof(ignored));
	snprintf(body, sizeof(body), "%s%s", caller.person.user_id, store);
	db_value("INSERT INTO chat.token_budgets (user_id, id, store_id,"
		 " period, starts_on, tokens_used) VALUES ("
		 "left($1, 36)::uuid, gen_random_uuid(),"
		 " right($1, 36)::uuid, 'month', date_trunc('month',"
		 " now() AT TIME ZONE 'UTC')::date, 5000) RETURNING 1",
	    body, ignored, sizeof(ignored));

	AUTO_JSON struct json_object *o =
	    expect(&caller.person, "GET", API "/me/limits", NULL, 200);
	struct json_object *own = limits_of(o);
	cr_expect_eq(number_of(own, "tokens_per_day", "used"), 30000);
	cr_expect_eq(number_of(own, "tokens_per_day", "reserved"), 4000);
	cr_expect_eq(number_of(own, "tokens_per_day", "remaining"), 66000);
	cr_expect_leq(number_of(own, "tokens_per_day", "reset"), 86400);
	cr_expect_eq(number_of(own, "cost_per_day", "used"), 101);
	cr_expect_eq(number_of(own, "cost_per_day", "remaining"), 99);
	cr_expect_null(limit_in(own, "tokens_per_month"));

	struct json_object *theirs = limits_in_store(o, store);
	cr_assert_not_null(theirs);
	cr_expect_eq(json_object_array_length(theirs), 2);
	cr_expect_eq(number_of(theirs, "tokens_per_month", "limit"), 1000);
	cr_expect_eq(number_of(theirs, "tokens_per_month", "remaining"), 0);
	cr_expect_geq(
	    number_of(theirs, "tokens_per_month", "window"), 28 * 86400);
	cr_expect_eq(number_of(theirs, "turns_per_minute", "remaining"), 2);

	/* With those budgets there would be none. */
	done(&boss, "PATCH", path_of(API "/admin/stores", store, "/limits"),
	    "{\"tokens_per_month\":null}", 200);
	done(&boss, "PATCH",
	    path_of(API "/admin/users", caller.person.user_id, "/limits"),
	    "{\"cost_per_day\":null}", 200);

	/* A turn there is charged to the store's bucket, not to the user's. */
	snprintf(body, sizeof(body), "{\"store_id\":\"%s\"}", store);
	AUTO_JSON struct json_object *talk =
	    expect(&caller.person, "POST", API "/conversations", body, 201);
	conversation =
	    json_object_get_string(json_object_object_get(talk, "id"));
	struct answer a;
	say("Hello", false, &a);
	cr_assert_eq(a.status, 201, "%s", a.body.p);
	cr_expect_eq(told(&a, "RateLimit-Policy", "turns_per_minute", "q"), 2);
	answer_clear(&a);
	AUTO_JSON struct json_object *said =
	    expect(&caller.person, "GET", API "/me/limits", NULL, 200);
	cr_expect_eq(
	    number_of(limits_of(said), "turns_per_minute", "remaining"), 3);
	theirs = limits_in_store(said, store);
	cr_assert_not_null(theirs);
	cr_expect_eq(number_of(theirs, "turns_per_minute", "remaining"), 1);

	/* Of an inactive store nothing is said. */
	done(&boss, "PATCH", path_of(API "/admin/stores", store, ""),
	    "{\"is_active\":false}", 200);
	AUTO_JSON struct json_object *later =
	    expect(&caller.person, "GET", API "/me/limits", NULL, 200);
	cr_expect_null(limits_in_store(later, store));
	done(&boss, "DELETE", path_of(API "/admin/stores", store, ""), NULL,
	    204);
}

/* Redis knows what is left of requests: nobody guesses when it is away. */
Test(told, me_limits_without_redis_says_what_it_knows)
{
	struct stack_options o = {
	    .settings = {"CHAT_RATE_LIMIT_PER_MINUTE=3",
		"CHAT_RATE_LIMIT_PER_DAY=50", "CHAT_STREAMS_PER_USER=4"},
	    .redis_url = "redis://127.0.0.1:1",
	    .may_be_unready = true,
	};
	struct api_caller before = caller;

	memset(&caller, 0, sizeof(caller));
	stack_start(&caller.stack, &o);
	person_make(&caller.stack, &caller.person);
	AUTO_JSON struct json_object *got =
	    expect(&caller.person, "GET", API "/me/limits", NULL, 200);
	cr_expect_eq(number_of(limits_of(got), "turns_per_minute", "limit"), 3);
	cr_expect_eq(
	    number_of(limits_of(got), "turns_per_minute", "remaining"), -1);
	cr_expect_eq(
	    number_of(limits_of(got), "turns_per_minute", "reset"), -1);
	cr_expect_eq(number_of(limits_of(got), "streams", "remaining"), 4);
	stack_stop(&caller.stack);
	caller = before;
}

static bool
is_five(void *arg)
{
	struct answer a;
	long limit;

	(void)arg;
	say("Hello", false, &a);
	limit = told(&a, "RateLimit-Policy", "turns_per_minute", "q");
	answer_clear(&a);
	return limit == 5;
}

Test(told, an_override_holds_without_a_restart)
{
	struct answer a;
	char path[128];

	snprintf(path, sizeof(path), API "/admin/users/%s/limits",
	    caller.person.user_id);

	say("Hello", false, &a);
	cr_expect_eq(told(&a, "RateLimit-Policy", "turns_per_minute", "q"), 3);
	answer_clear(&a);
	done(&boss, "PATCH", path, "{\"turns_per_minute\":5}", 200);
	AUTO_JSON struct json_object *o =
	    expect(&caller.person, "GET", API "/me/limits", NULL, 200);
	cr_expect_eq(number_of(limits_of(o), "turns_per_minute", "limit"), 5);
	cr_assert(wait_until(is_five, NULL, SOON_MS));
	done(&boss, "DELETE", path, NULL, 204);
}

/* The source of a limit that /admin/…/limits gave. */
static const char *
source_of(struct json_object *o, const char *name)
{
	return json_object_get_string(
	    json_object_object_get(limit_in(limits_of(o), name), "source"));
}

Test(told, overrides_say_where_a_number_comes_from)
{
	const char *user =
	    path_of(API "/admin/users", caller.person.user_id, "/limits");
	const char *role = API "/admin/roles/user/limits";
	AUTO_JSON struct json_object *before =
	    expect(&boss, "GET", user, NULL, 200);
	cr_expect_str_eq(source_of(before, "streams"), "setting");
	cr_expect_eq(number_of(limits_of(before), "streams", "limit"), 4);

	done(&boss, "PATCH", role,
	    "{\"cost_per_month\":700000000,\"tokens_per_month\":800000000000}",
	    200);
	done(&boss, "PATCH", user, "{\"tokens_per_month\":900000000000}", 200);
	AUTO_JSON struct json_object *o = expect(&boss, "GET", user, NULL, 200);
	cr_expect_str_eq(source_of(o, "cost_per_month"), "role");
	cr_expect_eq(
	    number_of(limits_of(o), "cost_per_month", "limit"), 700000000);
	cr_expect_str_eq(source_of(o, "tokens_per_month"), "user");
	cr_expect_eq(
	    number_of(limits_of(o), "tokens_per_month", "limit"), 900000000000);
	cr_expect_eq(
	    json_object_object_length(json_object_object_get(o, "overrides")),
	    1);

	/* Null takes one back; what is not named stays. */
	AUTO_JSON struct json_object *patched = expect(&boss, "PATCH", user,
	    "{\"tokens_per_month\":null,\"turns_per_day\":0}", 200);
	cr_expect_str_eq(source_of(patched, "tokens_per_month"), "role");
	cr_expect_str_eq(source_of(patched, "turns_per_day"), "user");
	cr_expect_eq(
	    number_of(limits_of(patched), "turns_per_day", "limit"), 0);
	done(&boss, "DELETE", role, NULL, 204);
	AUTO_JSON struct json_object *after =
	    expect(&boss, "GET", user, NULL, 200);
	cr_expect_str_eq(source_of(after, "cost_per_month"), "setting");
}

Test(told, what_is_no_limit_is_refused_by_name)
{
	static const struct {
		const char *body, *field;
	} rows[] = {
	    {"{\"turns\":1}", "turns"},
	    {"{\"streams\":-1}", "streams"},
	    {"{\"streams\":1.5}", "streams"},
	    {"{\"streams\":1e3}", "streams"},
	    {"{\"streams\":\"5\"}", "streams"},
	    {"{\"streams\":true}", "streams"},
	    {"{\"cost_per_day\":1000000000001}", "cost_per_day"},
	    {"{\"cost_per_day\":9999999999999999}", "cost_per_day"},
	    {"{\"streams\":4,\"api_per_minute\":[]}", "api_per_minute"},
	};
	static const char nobody[] = "00000000-0000-7000-8000-000000000000";
	const char *user =
	    path_of(API "/admin/users", caller.person.user_id, "/limits");
	struct answer a;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		call(&boss, "PATCH", user, rows[i].body, &a);
		cr_expect_eq(a.status, 422, "%s: %ld", rows[i].body, a.status);
		cr_expect_str_eq(answer_text(&a, "field"), rows[i].field);
		answer_clear(&a);
	}
	AUTO_JSON struct json_object *o = expect(&boss, "GET", user, NULL, 200);
	cr_expect_eq(
	    json_object_object_length(json_object_object_get(o, "overrides")),
	    0);
	done(&boss, "PATCH", user, "[]", 400);
	done(&boss, "PATCH", user, "{\"cost_per_day\":1000000000000}", 200);

	/* A store has no limit of requests that are in none. */
	call(&boss, "PATCH", path_of(API "/admin/stores", nobody, "/limits"),
	    "{\"api_per_minute\":5}", &a);
	cr_expect_eq(a.status, 422);
	cr_expect_str_eq(answer_text(&a, "field"), "api_per_minute");
	answer_clear(&a);
	for (int i = 0; i < 2; i++) {
		const char *prefix =
		    i ? API "/admin/stores" : API "/admin/users";

		done(&boss, "GET", path_of(prefix, nobody, "/limits"), NULL,
		    404);
		done(&boss, "PATCH", path_of(prefix, nobody, "/limits"),
		    "{\"streams\":5}", 404);
		done(&boss, "DELETE", path_of(prefix, nobody, "/limits"), NULL,
		    404);
		done(&boss, "GET", path_of(prefix, "x", "/limits"), NULL, 404);
	}
	done(&boss, "GET", API "/admin/roles/king/limits", NULL, 404);
	done(&boss, "PATCH", API "/admin/roles/king/limits", "{\"streams\":5}",
	    404);
	done(&caller.person, "GET", user, NULL, 403);
	done(&caller.person, "PATCH", user, "{\"streams\":5}", 403);
}

Test(told, all_overrides_are_listed_page_by_page)
{
	const char *user =
	    path_of(API "/admin/users", caller.person.user_id, "/limits");
	char path[1024] = API "/admin/limits?limit=2";
	int mine = 0;

	done(&boss, "PATCH", user,
	    "{\"streams\":1,\"turns_per_day\":2,\"tokens_per_day\":3}", 200);
	for (;;) {
		AUTO_JSON struct json_object *o =
		    expect(&boss, "GET", path, NULL, 200);
		struct json_object *data = json_object_object_get(o, "data");
		const char *next = json_object_get_string(
		    json_object_object_get(o, "next_cursor"));

		for (size_t i = 0; i < json_object_array_length(data); i++) {
			const char *id =
			    json_object_get_string(json_object_object_get(
				json_object_array_get_idx(data, i), "user_id"));

			mine += id && strcmp(id, caller.person.user_id) == 0;
		}
		if (!next)
			break;
		snprintf(path, sizeof(path),
		    API "/admin/limits?limit=2&cursor=%s", next);
	}
	cr_expect_eq(mine, 3);
	done(&boss, "DELETE", user, NULL, 204);
	AUTO_JSON struct json_object *o = expect(&boss, "GET", user, NULL, 200);
	cr_expect_eq(
	    json_object_object_length(json_object_object_get(o, "overrides")),
	    0);
}
