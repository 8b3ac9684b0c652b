/*
 * What the lists and searches of documents and tasks read for a user who has
 * 100,000 of each, beside a store and another user: each statement is planned
 * as the daemon's are (generic, under row level security) and must touch few
 * pages, as many as its index and its rows take.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/queries.h"
#include "store/pg.h"
#include "support/servers.h"
#include "support/world.h"

#define USER  "00000000-0000-7000-8000-0000000000a1"
#define OTHER "00000000-0000-7000-8000-0000000000a2"
#define STORE "00000000-0000-7000-8000-0000000000b1"
#define LAST  "ffffffff-ffff-ffff-ffff-ffffffffffff"

/* The n-th id of a kind. */
#define MADE_ID(kind, n)                                         \
	"('00000000-0000-7000-" kind "-' || lpad((" n ")::text," \
	" 12, '0'))::uuid"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_records_plans"))
		abort();
}

static PGconn *conn;

static void
fill(const char *user, const char *name, int n, const char *store)
{
	world_sql("INSERT INTO auth.users (id, username) VALUES ('%s', '%s')",
	    user, name);
	world_sql("INSERT INTO chat.stores (id, slug, name) VALUES ('%s',"
		  " 'shop', 'Shop') ON CONFLICT DO NOTHING",
	    STORE);
	world_sql("INSERT INTO chat.store_members (user_id, store_id, role)"
		  " VALUES ('%s', '%s', 'manager')",
	    user, STORE);
	world_sql("INSERT INTO chat.documents (user_id, id, store_id, title,"
		  " content, content_sha256, size_bytes, metadata, created_at)"
		  " SELECT '%s', " MADE_ID(
		      "8001", "n") ", %s, 'Paper ' || n,"
				   " 'x', sha256(n::text::bytea), 1,"
				   " jsonb_build_object('n', n),"
				   " now() - make_interval(secs => n)"
				   " FROM generate_series(1, %d) n",
	    user, store, n);
	world_sql(
	    "INSERT INTO chat.document_chunks (user_id, id, document_id,"
	    " store_id, position, content, start_offset, end_offset,"
	    " language) SELECT '%s', " MADE_ID("8002", "n") ", " MADE_ID(
		"8001", "n") ", %s, 1, 'Every text is about number' || n ||"
			     " CASE WHEN n %% 5000 = 0 THEN ' and a giraffe'"
			     " ELSE '' END, 0, 1, 'english'"
			     " FROM generate_series(1, %d) n",
	    user, store, n);
	world_sql(
	    "INSERT INTO chat.tasks (user_id, id, title, status, due_at,"
	    " tags, created_at, completed_at) SELECT '%s', " MADE_ID(
		"8003", "n") ", 'Task ' || n,"
			     " CASE WHEN n %% 100 = 0 THEN 'open' ELSE 'done'"
			     " END, now() + make_interval(secs => n),"
			     " ARRAY['t' || (n / 20)],"
			     " now() - make_interval(secs => n),"
			     " CASE WHEN n %% 100 <> 0 THEN now() END"
			     " FROM generate_series(1, %d) n",
	    user, n);
	world_sql(
	    "INSERT INTO chat.task_operation_logs (user_id, id, task_id,"
	    " operation_type) SELECT '%s',"
	    " (overlay(natter.uuid_floor(date_trunc('month', now()))"
	    "::text PLACING lpad(n::text, 12, '0') FROM 25))::uuid, " MADE_ID(
		"8003", "n / 5") ","
				 " CASE WHEN n %% 1000 = 0 THEN 'delete' ELSE "
				 "'update' END"
				 " FROM generate_series(1, %d) n",
	    user, n);
}

static void
run(const char *sql)
{
	PGresult *r = PQexec(conn, sql);
	cr_assert(PQresultStatus(r) == PGRES_COMMAND_OK ||
		      PQresultStatus(r) == PGRES_TUPLES_OK,
	    "%s: %s", sql, PQerrorMessage(conn));
	PQclear(r);
}

static void
prepare(const struct pg_query *q)
{
	char *sql = NULL;
	char types[256] = "";
	for (size_t i = 0; q->types[i]; i++)
		types[i] = q->types[i] == ' ' ? ',' : q->types[i];
	cr_assert(asprintf(&sql, "PREPARE %s%s%s%s AS %s", q->name,
		      *types ? "(" : "", types, *types ? ")" : "", q->sql) > 0);
	run(sql);
	free(sql);
}

static void
open_connection(void)
{
	world_take_indexes();
	fill(USER, "one", 100000, "NULL");
	fill(OTHER, "two", 20000, "'" STORE "'");
	world_give_indexes();
	world_sql("VACUUM ANALYZE chat.documents, chat.document_chunks,"
		  " chat.tasks, chat.task_operation_logs, chat.stores,"
		  " chat.store_members");
	char *url =
	    server_url_with(getenv("TEST_WORLD_URL"), "user", "natter_app");
	conn = PQconnectdb(url);
	free(url);
	run("SET plan_cache_mode = force_generic_plan");
	run("SET app.user_id = '" USER "'");
	for (size_t i = 0; i < chat_domain.n; i++)
		prepare(&chat_domain.queries[i]);
}

static void
close_connection(void)
{
	PQfinish(conn);
}

TestSuite(records_plans, .init = open_connection, .fini = close_connection,
    .timeout = 600);

static long
plan_number(const char *plan, const char *name)
{
	const char *p = strstr(plan, name);
	return p ? strtol(strchr(p, ':') + 1, NULL, 10) : 0;
}

/* Pages and rows of a statement. */
static long
pages(const char *name, const char *params, long *out_rows)
{
	char *sql = NULL;
	cr_assert(asprintf(&sql,
		      "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON)"
		      " EXECUTE chat_%s('" USER "', %s)",
		      name, params) > 0);
	PGresult *r = PQexec(conn, sql);
	cr_assert_eq(PQresultStatus(r), PGRES_TUPLES_OK, "%s: %s", sql,
	    PQerrorMessage(conn));
	const char *plan = PQgetvalue(r, 0, 0);
	long n = plan_number(plan, "\"Shared Hit Blocks\": ") +
		 plan_number(plan, "\"Shared Read Blocks\": ");
	*out_rows = plan_number(plan, "\"Actual Rows\": ");
	if (getenv("SHOW_PLANS"))
		fprintf(stderr, "%s: %ld pages\n%s\n", name, n, plan);
	PQclear(r);
	free(sql);
	return n;
}

#define FROM_TOP "'infinity', '" LAST "', 21"

Test(records_plans, every_list_touches_a_few_pages)
{
	static const struct {
		const char *name;
		const char *params;
		long rows;
		long max; /* pages */
	} rows[] = {
	    {"DOCUMENT_GET", MADE_ID("8001", "7"), 1, 40},
	    {"DOCUMENT_BY_CONTENT", "NULL, sha256('7')", 1, 30},
	    {"DOCUMENTS_LIST", "NULL, NULL, NULL, " FROM_TOP, 21, 250},
	    {"DOCUMENTS_LIST", "'shop', NULL, NULL, " FROM_TOP, 21, 250},
	    {"DOCUMENTS_LIST", "NULL, 'aper 77777', NULL, " FROM_TOP, 1, 500},
	    {"DOCUMENTS_LIST", "NULL, NULL, '{\"n\": 77777}', " FROM_TOP, 1,
		100},
	    {"DOCUMENT_CHUNKS", MADE_ID("8001", "7") ", 0, 21", 1, 40},
	    /* Ranking weighs a bounded number of passages, those that are like
	     * the words, too. */
	    {"DOCUMENTS_SEARCH",
		"'number77777', NULL, NULL, 10, NULL, NULL, 20", 10, 4000},
	    {"DOCUMENTS_SEARCH", "'giraffe', NULL, NULL, 10, NULL, NULL, 20",
		10, 4000},
	    {"DOCUMENTS_SEARCH", "'giraffe', 'shop', NULL, 10, NULL, NULL, 20",
		4, 4000},
	    {"DOCUMENTS_SEARCH", "'girafe', NULL, NULL, 10, NULL, NULL, 20", 10,
		4000},
	    /* A word of every passage: a bounded part of them is ranked. */
	    {"DOCUMENTS_SEARCH", "'text', NULL, NULL, 10, NULL, NULL, 20", 10,
		4000},
	    {"TASK_GET", MADE_ID("8003", "7"), 1, 20},
	    {"TASKS_LIST",
		"NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, " FROM_TOP,
		21, 250},
	    {"TASKS_LIST",
		"'open', NULL, NULL, NULL, NULL, NULL, NULL, false, " FROM_TOP,
		21, 250},
	    {"TASKS_LIST",
		"NULL, NULL, NULL, NULL, 't77', NULL, NULL, false, " FROM_TOP,
		20, 400},
	    {"TASKS_LIST",
		"NULL, NULL, NULL, NULL, NULL, 'ask 77777', NULL, "
		"false, " FROM_TOP,
		1, 500},
	    {"TASKS_LIST",
		"NULL, NULL, NULL, NULL, NULL, NULL, NULL, true,"
		" '-infinity', '00000000-0000-0000-0000-000000000000', 21",
		21, 250},
	    {"TASK_OPERATIONS", FROM_TOP, 21, 100},
	    {"TASK_OPERATIONS_OF_TYPE", "'delete', '" LAST "', 21", 21, 100},
	    {"TASK_OPERATIONS_OF_TASK",
		MADE_ID("8003", "77") ", '" LAST "', 21", 5, 60},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		long n_rows = 0;
		long n = pages(rows[i].name, rows[i].params, &n_rows);
		cr_expect_leq(n, rows[i].max, "%s(%s) touched %ld pages",
		    rows[i].name, rows[i].params, n);
		cr_expect_eq(n_rows, rows[i].rows, "%s(%s) gave %ld rows",
		    rows[i].name, rows[i].params, n_rows);
	}
}
