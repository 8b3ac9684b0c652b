/*
 * Tasks through a real nginx: made, changed, done, deleted, each with its row
 * in the log; lists by every filter; nobody else's business.
 */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "stack.h"

static struct api_caller caller;

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

static void
setup(void)
{
	api_caller_make(&caller);
}

static void
teardown(void)
{
	api_check_workers(&caller);
}

TestSuite(tasks, .init = setup, .fini = teardown, .timeout = 120);

#define ALL API "/tasks"

/* Asks as `p`, for the task `id` where the path has a %s. */
static void
call(const struct person *p, const char *method, const char *path,
    const char *id, const char *json, long status, struct answer *a)
{
	const char *gap = strstr(path, "%s");
	char filled[512];
	struct ask ask = {.method = method,
	    .base = caller.stack.base,
	    .path = filled,
	    .token = p->token,
	    .json = json};

	if (gap)
		snprintf(filled, sizeof(filled), "%.*s%s%s", (int)(gap - path),
		    path, id, gap + 2);
	else
		snprintf(filled, sizeof(filled), "%s", path);
	http_ask(&ask, a);
	cr_assert_eq(a->status, status, "%s %s: %ld %s", method, filled,
	    a->status, a->body.p);
}

static void
make(const char *json, char out_id[40])
{
	struct answer a;

	call(&caller.person, "POST", ALL, NULL, json, 201, &a);
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

Test(tasks, a_new_one_has_every_member)
{
	struct answer a;

	call(&caller.person, "POST", ALL, NULL, "{\"title\":\"Write\"}", 201,
	    &a);
	cr_expect_str_eq(answer_text(&a, "title"), "Write");
	cr_expect_str_eq(answer_text(&a, "status"), "open");
	cr_expect_str_eq(answer_text(&a, "priority"), "normal");
	cr_expect_str_eq(answer_text(&a, "due_at"), "");
	cr_expect_str_eq(answer_text(&a, "completed_at"), "");
	cr_expect(strstr(answer_header(&a, "Location"), "/api/v1/tasks/"));
	answer_clear(&a);
}

Test(tasks, done_has_its_time_until_it_is_open_again)
{
	char id[40], first[64];
	struct answer a;

	make("{\"title\":\"Write\"}", id);
	call(&caller.person, "PATCH", ALL "/%s", id, "{\"status\":\"done\"}",
	    200, &a);
	snprintf(first, sizeof(first), "%s", answer_text(&a, "completed_at"));
	cr_expect_neq(*first, '\0');
	answer_clear(&a);
	call(&caller.person, "PATCH", ALL "/%s", id,
	    "{\"status\":\"done\",\"title\":\"Wrote\"}", 200, &a);
	cr_expect_str_eq(answer_text(&a, "completed_at"), first);
	answer_clear(&a);
	call(&caller.person, "PATCH", ALL "/%s", id, "{\"status\":\"open\"}",
	    200, &a);
	cr_expect_str_eq(answer_text(&a, "completed_at"), "");
	cr_expect_str_eq(answer_text(&a, "title"), "Wrote");
	answer_clear(&a);
}

Test(tasks, a_change_leaves_what_it_does_not_name)
{
	char id[40];
	struct answer a;

	make("{\"title\":\"Pay\",\"due_at\":\"2026-03-01T12:00:00+02:00\","
	     "\"tags\":[\"a\",\"b\"],\"metadata\":{\"x\":1,\"y\":2}}",
	    id);
	call(&caller.person, "PATCH", ALL "/%s", id,
	    "{\"metadata\":{\"x\":null,\"z\":3},\"priority\":\"high\"}", 200,
	    &a);
	cr_expect_str_eq(
	    answer_text(&a, "due_at"), "2026-03-01T10:00:00.000000Z");
	cr_expect_str_eq(answer_text(&a, "tags.1"), "b");
	cr_expect_str_eq(answer_text(&a, "metadata.y"), "2");
	cr_expect_str_eq(answer_text(&a, "metadata.z"), "3");
	cr_expect_str_eq(answer_text(&a, "metadata.x"), "");
	answer_clear(&a);
	call(&caller.person, "PATCH", ALL "/%s", id,
	    "{\"due_at\":null,\"tags\":[]}", 200, &a);
	cr_expect_str_eq(answer_text(&a, "due_at"), "");
	cr_expect_str_eq(answer_text(&a, "tags.0"), "");
	cr_expect_str_eq(answer_text(&a, "priority"), "high");
	answer_clear(&a);
}

Test(tasks, each_operation_is_logged)
{
	static const char gone[] = "01a202fd-d1cc-7518-a0d5-c4dc7c639c19";
	char id[40];
	struct answer a;

	make("{\"title\":\"Log me\",\"priority\":\"low\"}", id);
	call(&caller.person, "PATCH", ALL "/%s", id, "{\"status\":\"done\"}",
	    200, &a);
	answer_clear(&a);
	call(&caller.person, "GET", ALL "/%s", id, NULL, 200, &a);
	answer_clear(&a);
	call(&caller.person, "DELETE", ALL "/%s", id, NULL, 204, &a);
	answer_clear(&a);
	call(&caller.person, "PATCH", ALL "/%s", gone, "{\"title\":\"x\"}", 404,
	    &a);
	answer_clear(&a);

	call(&caller.person, "GET", ALL "/%s/operations", id, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.operation_type"), "delete");
	cr_expect_str_eq(answer_text(&a, "data.1.operation_type"), "update");
	cr_expect_str_eq(answer_text(&a, "data.1.parameters.status"), "done");
	cr_expect_str_eq(answer_text(&a, "data.1.result.title"), "Log me");
	cr_expect_str_eq(answer_text(&a, "data.1.result.status"), "done");
	cr_expect_str_eq(answer_text(&a, "data.2.operation_type"), "create");
	cr_expect_str_eq(answer_text(&a, "data.2.parameters.priority"), "low");
	cr_expect_str_eq(answer_text(&a, "data.2.source"), "api");
	cr_expect_str_eq(answer_text(&a, "data.2.is_success"), "true");
	cr_expect_str_eq(answer_text(&a, "data.3.operation_type"), "");
	answer_clear(&a);

	call(&caller.person, "GET", ALL "/operations?type=update&limit=1", NULL,
	    NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.is_success"), "false");
	cr_expect_str_eq(answer_text(&a, "data.0.error_code"), "not_found");
	cr_expect_str_eq(answer_text(&a, "data.0.task_id"), "");
	cr_expect_str_neq(answer_text(&a, "next_cursor"), "");
	answer_clear(&a);
	call(&caller.person, "GET", ALL "/operations", NULL, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.3.operation_type"), "create");
	cr_expect_str_eq(answer_text(&a, "data.4.id"), "");
	answer_clear(&a);
}

/* The titles that a list shows, in order. */
static void
expect_titles(const char *query, const char *want)
{
	char path[512], got[256] = "", member[32];
	struct answer a;

	snprintf(path, sizeof(path), ALL "?%s", query);
	call(&caller.person, "GET", path, NULL, NULL, 200, &a);
	for (int i = 0; i < 10; i++) {
		snprintf(member, sizeof(member), "data.%d.title", i);
		strcat(got, answer_text(&a, member));
	}
	cr_expect_str_eq(got, want, "%s gave %s", query, got);
	answer_clear(&a);
}

Test(tasks, a_list_is_filtered)
{
	static const struct {
		const char *query, *want;
	} rows[] = {
	    {"", "dcba"},
	    {"status=open", "dcb"},
	    {"status=done", "a"},
	    {"priority=urgent", "b"},
	    {"tag=home", "cb"},
	    {"tag=office", ""},
	    {"q=B", "b"},
	    {"due_before=2026-02-01T00:00:00Z", "c"},
	    {"due_after=2026-02-01T00:00:00Z", "ba"},
	    {"order=due", "cb"},
	    {"order=due&tag=home&priority=urgent", "b"},
	    {"metadata=%7B%22k%22:%5B1%5D%7D", "d"},
	    {"status=open&tag=home&q=c", "c"},
	};
	char id[40];

	make("{\"title\":\"a\",\"status\":\"done\","
	     "\"due_at\":\"2026-02-03T00:00:00Z\"}",
	    id);
	make("{\"title\":\"b\",\"priority\":\"urgent\",\"tags\":[\"home\"],"
	     "\"due_at\":\"2026-02-02T00:00:00Z\"}",
	    id);
	make("{\"title\":\"c\",\"tags\":[\"x\",\"home\"],"
	     "\"due_at\":\"2026-01-01T00:00:00Z\"}",
	    id);
	make("{\"title\":\"d\",\"metadata\":{\"k\":[1,2]}}", id);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect_titles(rows[i].query, rows[i].want);
}

Test(tasks, a_list_is_paged_in_either_order)
{
	static const char *const orders[] = {"created", "due"};
	char id[40], json[128], path[512], cursor[256];
	struct answer a;

	for (int i = 0; i < 7; i++) {
		snprintf(json, sizeof(json),
		    "{\"title\":\"%d\",\"due_at\":"
		    "\"2026-02-0%dT00:00:00Z\"}",
		    i, i / 2 + 1);
		make(json, id);
	}
	for (size_t k = 0; k < 2; k++) {
		char got[32] = "";
		cursor[0] = '\0';
		do {
			snprintf(path, sizeof(path),
			    ALL "?order=%s&limit=2%s%s", orders[k],
			    *cursor ? "&cursor=" : "", cursor);
			call(&caller.person, "GET", path, NULL, NULL, 200, &a);
			strcat(got, answer_text(&a, "data.0.title"));
			strcat(got, answer_text(&a, "data.1.title"));
			snprintf(cursor, sizeof(cursor), "%s",
			    answer_text(&a, "next_cursor"));
			answer_clear(&a);
		} while (*cursor && strlen(got) < 20);
		cr_expect_str_eq(got, k == 0 ? "6543210" : "0123456");
	}
}

Test(tasks, another_users_is_not_there)
{
	struct person other;
	struct answer a;
	char id[40];

	person_make(&caller.stack, &other);
	make("{\"title\":\"Mine\"}", id);
	call(&other, "GET", ALL "/%s", id, NULL, 404, &a);
	answer_clear(&a);
	call(&other, "PATCH", ALL "/%s", id, "{\"title\":\"x\"}", 404, &a);
	answer_clear(&a);
	call(&other, "DELETE", ALL "/%s", id, NULL, 404, &a);
	answer_clear(&a);
	call(&other, "GET", ALL "/%s/operations", id, NULL, 404, &a);
	answer_clear(&a);
	call(&other, "GET", ALL, NULL, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.id"), "");
	answer_clear(&a);
	call(&caller.person, "GET", ALL "/%s", id, NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "title"), "Mine");
	answer_clear(&a);
}

Test(tasks, a_wrong_field_is_named)
{
#define FIELD(l, b, f) ROW(l, b, 422, .code = "invalid_field", .field = f)
#define NEW            "POST " ALL
#define QUERY(q, f)    FIELD("GET " ALL "?" q, NULL, f)
	static const struct api_row rows[] = {
	    FIELD(NEW, "{}", "title"),
	    FIELD(NEW, "{\"title\":null}", "title"),
	    FIELD(NEW, "{\"title\":\"\"}", "title"),
	    FIELD(NEW, "{\"title\":\"a\",\"status\":\"later\"}", "status"),
	    FIELD(NEW, "{\"title\":\"a\",\"status\":null}", "status"),
	    FIELD(NEW, "{\"title\":\"a\",\"priority\":1}", "priority"),
	    FIELD(NEW, "{\"title\":\"a\",\"due_at\":\"tomorrow\"}", "due_at"),
	    /* In UTC: 10000-01-01, and a day before Christ. */
	    FIELD(NEW,
		"{\"title\":\"a\",\"due_at\":\"9999-12-31T23:59:59-01:00\"}",
		"due_at"),
	    FIELD(NEW,
		"{\"title\":\"a\",\"due_at\":\"0001-01-01T00:00:00+01:00\"}",
		"due_at"),
	    FIELD(NEW, "{\"title\":\"a\",\"due_at\":\"2026-02-29T00:00:00Z\"}",
		"due_at"),
	    FIELD(NEW, "{\"title\":\"a\",\"due_at\":\"2026-02-28T24:00:00Z\"}",
		"due_at"),
	    FIELD(NEW, "{\"title\":\"a\",\"due_at\":\"2026-02-28T10:00:00\"}",
		"due_at"),
	    FIELD(NEW, "{\"title\":\"a\",\"due_at\":\"infinity\"}", "due_at"),
	    FIELD(NEW, "{\"title\":\"a\",\"tags\":\"x\"}", "tags"),
	    FIELD(NEW, "{\"title\":\"a\",\"tags\":[1]}", "tags"),
	    FIELD(NEW, "{\"title\":\"a\",\"tags\":[\"\"]}", "tags"),
	    FIELD(NEW, "{\"title\":\"a\",\"metadata\":3}", "metadata"),
	    FIELD(
		NEW, "{\"title\":\"a\",\"completed_at\":null}", "completed_at"),
	    FIELD(NEW, "{\"title\":\"a\",\"user_id\":\"b\"}", "user_id"),
	    QUERY("status=x", "status"),
	    QUERY("priority=", "priority"),
	    QUERY("due_before=2026", "due_before"),
	    QUERY("due_after=now", "due_after"),
	    QUERY("tag=", "tag"),
	    QUERY("q=", "q"),
	    QUERY("order=title", "order"),
	    QUERY("metadata=x", "metadata"),
	    QUERY("limit=101", "limit"),
	    FIELD("GET " ALL "/operations?type=make", NULL, "type"),
	    ROW("GET " ALL "?cursor=x", NULL, 400, .code = "bad_cursor"),
	    ROW("GET " ALL "/x", NULL, 404, .code = "not_found"),
	    ROW("PATCH " ALL "/x", "{}", 404, .code = "not_found"),
	    ROW("DELETE " ALL "/x", NULL, 404, .code = "not_found"),
	    ROW("GET " ALL "/x/operations", NULL, 404, .code = "not_found"),
	    ROW("GET " ALL, NULL, 401, .code = "token_missing",
		.is_nobody = true),
	};
#undef FIELD

	API_ROWS_RUN(&caller, rows);
}
