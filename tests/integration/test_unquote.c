/*
 * What tools have quoted of documents goes with them, however many go at once:
 * in one statement, which locks the replies in their order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <libpq-fe.h>

#include "stack.h"
#include "support/world.h"

#define CONVERSATION "00000000-0000-7000-8000-0000000000c1"

/* The n-th id of a kind. */
#define ID(kind, n) "00000000-0000-7000-" kind "-00000000000" n

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	criterion_options.jobs = 1;
	if (!world_provide("natter_test_unquote"))
		abort();
}

static struct world w;
static PGconn *conn, *holder;

static PGconn *
superuser(void)
{
	PGconn *c = PQconnectdb(getenv("TEST_WORLD_URL"));

	cr_assert_eq(PQstatus(c), CONNECTION_OK, "%s", PQerrorMessage(c));
	return c;
}

static void
document(const char *id)
{
	world_sql("INSERT INTO chat.documents (user_id, id, title, content,"
		  " content_sha256, size_bytes) VALUES ('%s', '%s', 'T', 'x',"
		  " sha256('%s'), 1)",
	    w.user, id, id);
}

/* A reply whose tool has quoted these two. */
static void
reply(const char *id, int position, const char *one, const char *two)
{
	world_sql(
	    "INSERT INTO chat.messages (user_id, id, conversation_id,"
	    " position, role, content, status, context, tool_responses)"
	    " VALUES ('%s', '%s', '" CONVERSATION "', %d, 'assistant', 'x',"
	    " 'complete', '{\"form\": 1, \"said\": []}', jsonb_build_array("
	    "jsonb_build_object('name', 'search_documents', 'result',"
	    " jsonb_build_object('passages', jsonb_build_array("
	    "jsonb_build_object('document_id', '%s', 'text', 'secret'),"
	    " jsonb_build_object('document_id', '%s', 'text', 'secret'))))))",
	    w.user, id, position, one, two);
}

#define A   ID("8001", "1")
#define B   ID("8001", "2")
#define C   ID("8001", "3")
#define LOW ID("8002", "1")
#define TOP ID("8002", "2")

static void
setup(void)
{
	world_sql("DELETE FROM auth.users");
	world_open(&w, NULL);
	world_sql("INSERT INTO chat.conversations (user_id, id, short_id)"
		  " VALUES ('%s', '" CONVERSATION "', 's1')",
	    w.user);
	document(A);
	document(B);
	document(C);
	/* The document that is deleted first is quoted in the last reply. */
	reply(LOW, 1, B, C);
	reply(TOP, 2, A, C);
	conn = superuser();
	holder = superuser();
}

static void
teardown(void)
{
	PQfinish(conn);
	PQfinish(holder);
	world_close(&w);
}

TestSuite(unquote, .init = setup, .fini = teardown, .timeout = 120);

#define BOTH "DELETE FROM chat.documents WHERE id IN ('" A "', '" B "')"

static int64_t
quotes_of(const char *id)
{
	return world_number(
	    "SELECT count(*) FROM chat.messages m CROSS JOIN LATERAL"
	    " jsonb_path_query(m.tool_responses,"
	    " '$[*].result.passages[*] ? (exists(@.text))') p"
	    " WHERE p->>'document_id' = '%s'",
	    id);
}

Test(unquote, many_documents_go_in_one_statement)
{
	PGresult *r = PQexec(conn, "EXPLAIN (ANALYZE, TIMING OFF) " BOTH);
	int n_lines = 0;

	cr_assert_eq(
	    PQresultStatus(r), PGRES_TUPLES_OK, "%s", PQerrorMessage(conn));
	for (int i = 0; i < PQntuples(r); i++) {
		const char *line = PQgetvalue(r, i, 0);

		if (strncmp(line, "Trigger unquote", 15) != 0)
			continue;
		n_lines++;
		cr_expect_not_null(strstr(line, "calls=1"), "%s", line);
	}
	cr_expect_eq(n_lines, 1);
	PQclear(r);
	cr_expect_eq(quotes_of(A), 0);
	cr_expect_eq(quotes_of(B), 0);
	cr_expect_eq(quotes_of(C), 2);
	cr_expect_eq(
	    world_number("SELECT count(*) FROM chat.messages m WHERE"
			 " m.context = '{\"form\": 1}' AND EXISTS (SELECT FROM"
			 " jsonb_path_query(m.tool_responses,"
			 " '$[*].result.passages[*] ? (@.deleted == true)'))"),
	    2);
}

Test(unquote, a_stores_documents_leave_their_quotes)
{
	world_sql("INSERT INTO chat.stores (id, slug, name) VALUES"
		  " (gen_random_uuid(), 'shop', 'Shop')"
		  " ON CONFLICT DO NOTHING");
	world_sql("UPDATE chat.documents SET store_id ="
		  " (SELECT id FROM chat.stores LIMIT 1) WHERE id = '" A "'");
	world_sql(BOTH);
	cr_expect_eq(quotes_of(A), 1);
	cr_expect_eq(quotes_of(B), 0);
}

/* Does the deletion wait for somebody's lock? */
static bool
is_waiting(void *arg)
{
	(void)arg;
	return world_number("SELECT count(*) FROM pg_stat_activity WHERE pid ="
			    " %d AND wait_event_type = 'Lock'",
		   PQbackendPID(conn)) > 0;
}

static ExecStatusType
run(PGconn *c, const char *sql)
{
	PGresult *r = PQexec(c, sql);
	ExecStatusType status = PQresultStatus(r);

	PQclear(r);
	return status;
}

/* Whoever waits for a reply has all those before it: two wait in no ring. */
Test(unquote, replies_are_locked_in_their_order)
{
	PGresult *r;

	cr_assert_eq(run(holder, "BEGIN"), PGRES_COMMAND_OK);
	cr_assert_eq(run(holder, "SELECT 1 FROM chat.messages WHERE id = '" TOP
				 "' FOR UPDATE"),
	    PGRES_TUPLES_OK);
	cr_assert(PQsendQuery(conn, BOTH));
	cr_assert(wait_until(is_waiting, NULL, 30000));
	cr_assert_eq(run(holder, "SAVEPOINT s"), PGRES_COMMAND_OK);
	cr_expect_eq(run(holder, "SELECT 1 FROM chat.messages WHERE id = '" LOW
				 "' FOR UPDATE NOWAIT"),
	    PGRES_FATAL_ERROR, "the first reply is not locked");
	cr_assert_eq(run(holder, "ROLLBACK"), PGRES_COMMAND_OK);
	while ((r = PQgetResult(conn)) != NULL) {
		cr_expect_eq(PQresultStatus(r), PGRES_COMMAND_OK, "%s",
		    PQerrorMessage(conn));
		PQclear(r);
	}
	cr_expect_eq(quotes_of(A) + quotes_of(B), 0);
}
