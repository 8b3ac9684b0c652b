/*
 * A store's tools as administrators keep them, through nginx: what may be
 * registered, who may, what is shown and noted, and who can read a secret.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "calls.h"
#include "log_lines.h"
#include "shop.h"
#include "stack_shared.h"

static struct stack stack;
static struct shop shop;

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {.has_model = true,
	    .settings = {
		"CHAT_WORKERS=1", "CHAT_TOOLS_ALLOW=127.0.0.1 10.1.0.0/16"}};

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
	stack_take(&stack);
	shop_make(&stack, &shop);
}

TestSuite(store_tools, .init = setup, .timeout = 120);

#define TOOL(name, more)                                                       \
	"{\"name\":\"" name "\",\"description\":\"d\",\"url\":"                \
	"\"https://shop.example/x\",\"parameters\":{\"type\":\"object\"}" more \
	"}"

static void
expect(const char *method, const char *path, const char *json, long status)
{
	struct answer a;

	shop_call(&shop, method, path, json, status, &a);
	answer_clear(&a);
}

static const char *
path_of(const char *tool, const char *below)
{
	char path[128];

	snprintf(path, sizeof(path), "/%s%s", tool, below);
	return shop_path(&shop, path);
}

Test(store_tools, a_secret_is_shown_once_where_natter_made_it)
{
	static const char own[] = "a-secret-of-the-administrators-own";
	struct answer a;
	char secret[64], want[160];

	shop_add_tool(&shop, "order_status", "http://127.0.0.1:1/x", 5000);
	cr_expect_eq(strncmp(shop.secret, "nts_", 4), 0);
	shop_call(&shop, "GET", path_of(shop.tool, ""), NULL, 200, &a);
	cr_expect_null(strstr(a.body.p, "\"secret\""));
	cr_expect_null(strstr(a.body.p, shop.secret));
	cr_expect_str_eq(answer_text(&a, "name"), "order_status");
	cr_expect_str_eq(answer_text(&a, "method"), "POST");
	cr_expect_str_eq(answer_text(&a, "timeout_ms"), "5000");
	cr_expect_str_eq(
	    answer_text(&a, "parameters.required"), "[ \"order\" ]");
	answer_clear(&a);
	shop_call(&shop, "GET", shop_path(&shop, ""), NULL, 200, &a);
	cr_expect_null(strstr(a.body.p, shop.secret));
	answer_clear(&a);

	shop_call(&shop, "POST", shop_path(&shop, ""),
	    TOOL("own", ",\"secret\":\"a-secret-of-the-administrators-own\""),
	    201, &a);
	cr_expect_null(strstr(a.body.p, own), "its owner has it");
	snprintf(want, sizeof(want), "/api/v1/admin/stores/%s/tools/%s",
	    shop.store, answer_text(&a, "id"));
	cr_expect_str_eq(answer_header(&a, "Location"), want);
	answer_clear(&a);

	db_value("SELECT secret FROM chat.store_tools WHERE id = $1::uuid",
	    shop.tool, secret, sizeof(secret));
	cr_expect_str_eq(secret, shop.secret);
	cr_expect_not(log_says(stack.log, shop.secret));
	cr_expect_not(log_says(stack.log, own));
}

Test(store_tools, a_secret_changes_with_both_good_for_a_while)
{
	char text[128];
	struct answer a;

	shop_add_tool(&shop, "order_status", "https://shop.example/x", 5000);
	shop_call(&shop, "POST", path_of(shop.tool, "/secret"), "{}", 200, &a);
	cr_expect_eq(strncmp(answer_text(&a, "secret"), "nts_", 4), 0);
	cr_expect_str_neq(answer_text(&a, "secret"), shop.secret);
	cr_expect_str_neq(answer_text(&a, "secret_before_until"), "");
	answer_clear(&a);
	db_value("SELECT secret_before || ' ' || (secret_before_until BETWEEN"
		 " now() + interval '23 hours' AND now() + interval '1 day')"
		 " FROM chat.store_tools WHERE id = $1::uuid",
	    shop.tool, text, sizeof(text));
	cr_expect_eq(strncmp(text, shop.secret, strlen(shop.secret)), 0);
	cr_expect_not_null(strstr(text, " true"));

	/* Who leaked one wants it gone. */
	shop_call(&shop, "POST", path_of(shop.tool, "/secret"),
	    "{\"overlap_seconds\":0}", 200, &a);
	cr_expect_str_eq(answer_text(&a, "secret_before_until"), "");
	answer_clear(&a);
	db_value("SELECT secret_before IS NULL FROM chat.store_tools"
		 " WHERE id = $1::uuid",
	    shop.tool, text, sizeof(text));
	cr_expect_str_eq(text, "t");

	expect("POST", path_of(shop.tool, "/secret"), NULL, 200);
	expect("POST", path_of(shop.tool, "/secret"),
	    "{\"overlap_seconds\":-1}", 422);
	expect("POST", path_of(shop.tool, "/secret"),
	    "{\"overlap_seconds\":2592001}", 422);
	expect("POST", path_of(shop.tool, "/secret"), "{\"secret\":\"short\"}",
	    422);
	expect("POST", path_of(shop.tool, "/secret"), "{\"name\":\"x\"}", 422);
}

Test(store_tools, what_does_not_fit_is_refused_by_its_field)
{
	static const struct {
		const char *json, *field;
	} rows[] = {
	    {TOOL("order status", ""), "name"},
	    {TOOL("create_task", ""), "name"},
	    {"{\"description\":\"d\",\"url\":\"https://x.example/\","
	     "\"parameters\":{\"type\":\"object\"}}",
		"name"},
	    {"{\"name\":\"a\",\"url\":\"https://x.example/\","
	     "\"parameters\":{\"type\":\"object\"}}",
		"description"},
	    {"{\"name\":\"a\",\"description\":\"d\","
	     "\"parameters\":{\"type\":\"object\"}}",
		"url"},
	    {"{\"name\":\"a\",\"description\":\"d\",\"url\":\"https://x.y/\"}",
		"parameters"},
	    {"{\"name\":\"a\",\"description\":\"d\",\"url\":\"https://x.y/\","
	     "\"parameters\":\"x\"}",
		"parameters"},
	    {"{\"name\":\"a\",\"description\":\"d\",\"url\":\"https://x.y/\","
	     "\"parameters\":{\"type\":\"object\",\"required\":[\"b\"]}}",
		"parameters"},
	    {"{\"name\":\"a\",\"description\":\"d\","
	     "\"url\":\"http://127.0.0.2/\","
	     "\"parameters\":{\"type\":\"object\"}}",
		"url"},
	    {TOOL("a", ",\"method\":\"GET\""), "method"},
	    {TOOL("a", ",\"timeout_ms\":99"), "timeout_ms"},
	    {TOOL("a", ",\"timeout_ms\":\"5000\""), "timeout_ms"},
	    {TOOL("a", ",\"timeout_ms\":500.5"), "timeout_ms"},
	    {TOOL("a", ",\"is_active\":1"), "is_active"},
	    {TOOL("a", ",\"secret\":\"short\""), "secret"},
	    {TOOL("a", ",\"headers\":{}"), "headers"},
	    {TOOL("a", ",\"description\":null"), "description"},
	};
	struct answer a;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		shop_call(
		    &shop, "POST", shop_path(&shop, ""), rows[i].json, 422, &a);
		cr_expect_str_eq(answer_text(&a, "field"), rows[i].field,
		    "%s: %s", rows[i].json, a.body.p);
		answer_clear(&a);
	}
	expect("POST", shop_path(&shop, ""), "[]", 400);
	shop_call(&shop, "GET", shop_path(&shop, ""), NULL, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data"), "[ ]");
	answer_clear(&a);
}

Test(store_tools, a_tool_is_changed_and_removed)
{
	static const char nobody[] = "018f0000-0000-7000-8000-000000000000";
	char text[64];
	struct answer a;

	shop_add_tool(&shop, "order_status", "http://10.1.2.3/x", 5000);
	expect("POST", shop_path(&shop, ""), TOOL("order_status", ""), 409);
	shop_call(&shop, "PATCH", path_of(shop.tool, ""),
	    "{\"name\":\"where_is_it\",\"timeout_ms\":100,\"method\":\"PUT\","
	    "\"is_active\":false}",
	    200, &a);
	cr_expect_str_eq(answer_text(&a, "name"), "where_is_it");
	cr_expect_str_eq(answer_text(&a, "method"), "PUT");
	cr_expect_str_eq(answer_text(&a, "timeout_ms"), "100");
	cr_expect_str_eq(answer_text(&a, "is_active"), "false");
	cr_expect_str_eq(answer_text(&a, "url"), "http://10.1.2.3/x");
	answer_clear(&a);
	expect("PATCH", path_of(shop.tool, ""), "{}", 200);
	expect("PATCH", path_of(shop.tool, ""), "{\"secret\":\"x\"}", 422);
	expect("PATCH", path_of(shop.tool, ""), "{\"url\":\"ftp://x\"}", 422);
	expect("PATCH", path_of(nobody, ""), "{}", 404);
	expect("PATCH", path_of("x", ""), "{}", 404);
	expect("GET", path_of(nobody, ""), NULL, 404);
	expect("POST", path_of(nobody, "/secret"), "{}", 404);
	expect("DELETE", path_of(nobody, ""), NULL, 404);
	expect("POST",
	    "/api/v1/admin/stores/018f0000-0000-7000-8000-000000000000/tools",
	    TOOL("a", ""), 404);
	expect("DELETE", path_of(shop.tool, ""), NULL, 204);
	expect("DELETE", path_of(shop.tool, ""), NULL, 404);
	db_value("SELECT count(*) FROM audit.log WHERE object_id = $1::uuid AND"
		 " action IN ('store_tool.create', 'store_tool.update',"
		 " 'store_tool.delete') AND actor_id IS NOT NULL",
	    shop.store, text, sizeof(text));
	cr_expect_str_eq(text, "3");
}

Test(store_tools, one_stores_tool_is_not_reached_through_another)
{
	struct shop other;

	shop_make(&stack, &other);
	shop_add_tool(&shop, "order_status", "https://shop.example/x", 5000);
	expect("GET", path_of(shop.tool, ""), NULL, 200);
	memcpy(other.tool, shop.tool, sizeof(other.tool));
	shop = other;
	expect("GET", path_of(shop.tool, ""), NULL, 404);
	expect("PATCH", path_of(shop.tool, ""), "{\"is_active\":false}", 404);
	expect("POST", path_of(shop.tool, "/secret"), "{}", 404);
	expect("DELETE", path_of(shop.tool, ""), NULL, 404);
}

Test(store_tools, there_are_at_most_32_of_64_kib)
{
	char json[16384];
	size_t n;

	for (int i = 0; i < 32; i++) {
		snprintf(json, sizeof(json), TOOL("t%d", ""), i);
		expect("POST", shop_path(&shop, ""), json, 201);
	}
	expect("POST", shop_path(&shop, ""), TOOL("one_more", ""), 422);
	shop_make(&stack, &shop);
	for (int i = 0; i < 9; i++) {
		n = (size_t)snprintf(json, sizeof(json),
		    "{\"name\":\"t%d\",\"description\":\"d\",\"url\":"
		    "\"https://x.example/\",\"parameters\":{\"type\":"
		    "\"object\",\"description\":\"",
		    i);
		memset(json + n, 'a', 8000);
		memcpy(json + n + 8000, "\"}}", 4);
		expect("POST", shop_path(&shop, ""), json, i < 8 ? 201 : 422);
	}
}

Test(store_tools, the_list_goes_on)
{
	char path[600];
	struct answer a;

	expect("POST", shop_path(&shop, ""), TOOL("b", ""), 201);
	expect("POST", shop_path(&shop, ""), TOOL("a", ""), 201);
	expect("POST", shop_path(&shop, ""), TOOL("c", ""), 201);
	shop_call(&shop, "GET", shop_path(&shop, "?limit=2"), NULL, 200, &a);
	cr_expect_lt(strstr(a.body.p, "\"name\":\"a\""),
	    strstr(a.body.p, "\"name\":\"b\""));
	cr_expect_null(strstr(a.body.p, "\"name\":\"c\""));
	snprintf(path, sizeof(path), "?limit=2&cursor=%s",
	    answer_text(&a, "next_cursor"));
	answer_clear(&a);
	shop_call(&shop, "GET", shop_path(&shop, path), NULL, 200, &a);
	cr_expect_not_null(strstr(a.body.p, "\"name\":\"c\""));
	cr_expect_null(strstr(a.body.p, "\"name\":\"b\""));
	answer_clear(&a);
}

/* The daemon's role, as whoever takes the daemon over would have it. */
Test(store_tools, the_daemon_reads_no_secret_but_for_a_running_reply)
{
	static const char *const refused[] = {
	    "SELECT secret FROM chat.store_tools",
	    "SELECT name FROM chat.store_tools",
	    "UPDATE chat.store_tools SET url = 'https://evil.example'",
	    "SELECT chat.store_tool_fits(NULL)",
	};
	PGconn *conn = PQconnectdb(getenv("DATABASE_URL"));
	char sql[256];
	PGresult *r;

	shop_add_tool(&shop, "order_status", "https://shop.example/x", 5000);
	cr_assert_eq(PQstatus(conn), CONNECTION_OK);
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		r = PQexec(conn, refused[i]);
		cr_expect_str_eq(PQresultErrorField(r, PG_DIAG_SQLSTATE),
		    "42501", "%s", refused[i]);
		PQclear(r);
	}
	snprintf(sql, sizeof(sql),
	    "BEGIN; SELECT set_config('app.user_id', '%s', true);"
	    "SELECT t.* FROM chat.messages m, chat.turn_tools(m.id) t",
	    shop.user.user_id);
	r = PQexec(conn, sql);
	cr_expect_eq(PQntuples(r), 0, "no reply is running");
	PQclear(r);
	snprintf(sql, sizeof(sql),
	    "SELECT * FROM chat.admin_store_tools('%s', NULL, '', 10)",
	    shop.store);
	r = PQexec(conn, sql);
	cr_expect_eq(PQresultStatus(r), PGRES_FATAL_ERROR, "a user is no boss");
	PQclear(r);
	PQfinish(conn);
}

Test(store_tools, with_the_store_its_tools_go)
{
	char text[16], path[128];

	shop_add_tool(&shop, "order_status", "https://shop.example/x", 5000);
	snprintf(path, sizeof(path), "/api/v1/admin/stores/%s", shop.store);
	expect("DELETE", path, NULL, 204);
	db_value("SELECT count(*) FROM chat.store_tools"
		 " WHERE store_id = $1::uuid",
	    shop.store, text, sizeof(text));
	cr_expect_str_eq(text, "0");
}
