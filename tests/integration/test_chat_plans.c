/*
 * What the chat domain's statements read. One user has 2,000 conversations,
 * one of them with 10,000 messages, one with 1,000 below one message, beside
 * another user with as many: each statement is planned as the daemon's are
 * (generic, under row level security) and must touch a few pages only, however
 * much there is, and those of a turn also when they were planned while there
 * was nothing.
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

#define USER "00000000-0000-7000-8000-0000000000a1"
#define LAST "ffffffff-ffff-ffff-ffff-ffffffffffff"

/* Ids of this month: m is a message's position or a conversation's number. */
#define MADE_ID(kind, m)                                                \
	"(overlay(natter.uuid_floor(date_trunc('month', now()))::text " \
	"PLACING '" kind "'"                                            \
	" || lpad((" m ")::text, 11, '0') FROM 25))::uuid"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_chat_plans"))
		abort();
}

static PGconn *conn;

static void
fill(const char *user, const char *kind)
{
	world_sql("INSERT INTO auth.users (id, username) VALUES ('%s', '%s')",
	    user, kind);
	world_sql("INSERT INTO chat.conversations (user_id, id, short_id,"
		  " title, message_count, next_position, last_message_at)"
		  " SELECT '%s', " MADE_ID(
		      "c", "n") ", 's' || n, 't', 10,"
				" 11, now() - make_interval(mins => n)"
				" FROM generate_series(1, 2000) n",
	    user);
	world_sql("INSERT INTO chat.messages (user_id, id, conversation_id,"
		  " parent_id, position, role, content, status)"
		  " SELECT '%s', " MADE_ID("a", "n") ", " MADE_ID("c",
		      "1") ","
			   " CASE WHEN n > 1 THEN " MADE_ID("a",
			       "n - 1") " END, n,"
					" CASE n %% 2 WHEN 1 THEN 'user' ELSE "
					"'assistant' END,"
					" repeat('word ', 40), 'complete'"
					" FROM generate_series(1, 10000) n",
	    user);
	world_sql("INSERT INTO chat.messages (user_id, id, conversation_id,"
		  " parent_id, position, role, content, status)"
		  " SELECT '%s', " MADE_ID("d", "n") ", " MADE_ID(
		      "c", "2") ", CASE WHEN n > 1 THEN " MADE_ID("d",
		      "1") " END,"
			   " n, 'assistant', 'word', 'complete'"
			   " FROM generate_series(1, 1001) n",
	    user);
	world_sql("INSERT INTO chat.running_replies (user_id, message_id,"
		  " conversation_id, parent_id, worker_id)"
		  " SELECT '%s', " MADE_ID("a", "5000") ", " MADE_ID(
		      "c", "1") ", " MADE_ID("a", "4998") ", '%s'",
	    user, user);
	world_sql("INSERT INTO chat.idempotency_keys (user_id, key, request,"
		  " message_id) SELECT '%s', sha256(n::text::bytea),"
		  " sha256(''), " MADE_ID(
		      "a", "n") " FROM generate_series(1, 10000) n",
	    user);
	world_sql("INSERT INTO chat.usage_tracking (user_id, id, model)"
		  " SELECT '%s', " MADE_ID(
		      "a", "n * 2") ", 'm'"
				    " FROM generate_series(1, 5000) n",
	    user);
	world_sql(
	    "UPDATE chat.conversations SET leaf_id = " MADE_ID("a",
		"10000") " WHERE user_id = '%s' AND id = " MADE_ID("c", "1"),
	    user);
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
fill_all(void)
{
	fill(USER, "one");
	fill("00000000-0000-7000-8000-0000000000a2", "two");
}

static void
connect_and_prepare(void)
{
	static const struct pg_domain *const domain = &chat_domain;
	char *url =
	    server_url_with(getenv("TEST_WORLD_URL"), "user", "natter_app");
	conn = PQconnectdb(url);
	free(url);
	run("SET plan_cache_mode = force_generic_plan");
	run("SET app.user_id = '" USER "'");
	for (size_t i = 0; i < domain->n; i++)
		prepare(&domain->queries[i]);
}

static void
close_connection(void)
{
	PQfinish(conn);
}

TestSuite(chat_plans, .init = connect_and_prepare, .fini = close_connection,
    .timeout = 240);

/* The first call of a function reads the catalog, which is not the point. */
static void
warm(const char *name, const char *params)
{
	char *sql = NULL;
	cr_assert(asprintf(&sql, "EXECUTE %s(%s)", name, params) > 0);
	run("SAVEPOINT warm");
	run(sql);
	run("ROLLBACK TO warm");
	free(sql);
}

/* Pages that a statement touched: the first counters of its plan. */
static long
pages(const char *name, const char *params)
{
	char *sql = NULL;
	long hit = 0;
	long read = 0;
	cr_assert(asprintf(&sql,
		      "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON)"
		      " EXECUTE %s(%s)",
		      name, params) > 0);
	PGresult *r = PQexec(conn, sql);
	cr_assert_eq(PQresultStatus(r), PGRES_TUPLES_OK, "%s: %s", sql,
	    PQerrorMessage(conn));
	const char *plan = PQgetvalue(r, 0, 0);
	const char *p = strstr(plan, "\"Shared Hit Blocks\": ");
	if (p)
		hit = strtol(strchr(p, ':') + 1, NULL, 10);
	p = strstr(plan, "\"Shared Read Blocks\": ");
	if (p)
		read = strtol(strchr(p, ':') + 1, NULL, 10);
	if (getenv("SHOW_PLANS"))
		fprintf(stderr, "%s: %ld pages\n%s\n", name, hit + read, plan);
	PQclear(r);
	free(sql);
	return hit + read;
}

#define A_CONVERSATION MADE_ID("c", "1")
#define A_MESSAGE      MADE_ID("a", "9999")
#define A_REPLY        MADE_ID("a", "10000")
#define NEW_QUESTION   MADE_ID("b", "1")
#define NEW_REPLY      MADE_ID("b", "2")
#define A_RUNNING      MADE_ID("a", "5000") /* is being written */
#define A_KEY          "sha256('999')"
#define NEW_KEY        "sha256('new')"

struct look {
	const char *name;
	const char *params;
	long max; /* pages */
};

static void
expect_few_pages(const struct look *rows, size_t n)
{
	run("BEGIN");
	for (size_t i = 0; i < n; i++) {
		warm(rows[i].name, rows[i].params);
		long touched = pages(rows[i].name, rows[i].params);
		cr_expect_leq(touched, rows[i].max, "%s touched %ld pages",
		    rows[i].name, touched);
		cr_expect_gt(touched, 0);
	}
	run("ROLLBACK");
}

#define EXPECT_FEW_PAGES(rows) \
	expect_few_pages(rows, sizeof(rows) / sizeof(*(rows)))

/* What TURN_BEGIN is told of windows and templates. */
#define CONTEXT_LIMITS                                                 \
	", 128000, 16384, true, '{default}', '{0,40,60}', '{m,\"\"}'," \
	" '{8192,128000}', 8192, 0, NULL, NULL, 'm n', 8192"

/* As a new month finds them: planned while there was nothing, and Postgres has
 * not looked since. */
static const struct look unseen[] = {
    {"chat_TURN_HISTORY", "'" USER "', " A_MESSAGE ", 40, 1000000, true", 250},
    {"chat_TURN_BEGIN",
	"'" USER "', " A_CONVERSATION ", NULL, " A_REPLY ", " NEW_QUESTION
	", " NEW_REPLY ", 'q', NULL, 1, NULL, 'm', 't', '" USER "',"
	" '{0,9,0,0,9,90000,90000,0,0}', NULL, 10, 40, 1000000,"
	" 'natter-local', 'send', " A_KEY CONTEXT_LIMITS,
	600},
    {"chat_SEND_FIND", "'" USER "', " A_KEY ", " A_KEY, 600},
    {"chat_SEND_CLAIM", "'" USER "', " NEW_KEY ", " NEW_KEY ", " A_RUNNING, 40},
    {"chat_PATH_DESC",
	"'" USER "', " A_CONVERSATION
	", NULL, NULL, " MADE_ID("a", "5000") ", 51, 4000000, false",
	600},
    {"chat_FORK_LOOK",
	"'" USER "', " A_CONVERSATION ", NULL, " MADE_ID("a", "40") ", 10001",
	400},
};

Test(chat_plans, every_statement_touches_a_few_pages)
{
	static const struct look rows[] = {
	    {"chat_CONVERSATION_GET", "'" USER "', " A_CONVERSATION ", NULL",
		10},
	    {"chat_CONVERSATION_GET", "'" USER "', NULL, 's1999'", 15},
	    {"chat_CONVERSATION_EXISTS", "'" USER "', " A_CONVERSATION ", NULL",
		10},
	    {"chat_CONVERSATIONS_LIST",
		"'" USER "', false, 'infinity', '" LAST "', 21", 40},
	    {"chat_CONVERSATIONS_LIST",
		"'" USER "', false, now() - interval '1000 minutes', '" LAST
		"', 21",
		40},
	    {"chat_CONVERSATIONS_LIST_ALL",
		"'" USER "', 'infinity', '" LAST "', 21", 120},
	    {"chat_CONVERSATION_PATCH",
		"'" USER "', " A_CONVERSATION
		", NULL, 'x', '{\"a\":1}', '[\"a\"]', NULL, NULL, false,"
		" NULL, false, NULL, NULL, false, NULL, false, 16384, " A_REPLY
		", false, true",
		200},
	    {"chat_MESSAGE_GET", "'" USER "', " A_REPLY, 20},
	    {"chat_MESSAGES_LIST",
		"'" USER "', " A_CONVERSATION ", NULL, 5000, 51, 4000000", 400},
	    {"chat_MESSAGES_LIST_DESC",
		"'" USER "', " A_CONVERSATION ", NULL, 5000, 51, 4000000", 400},
	    {"chat_TURN_LOCK",
		"'" USER "', " A_CONVERSATION ", NULL, true, NULL", 20},
	    {"chat_TURN_LOCK",
		"'" USER "', " A_CONVERSATION ", NULL, false, true", 20},
	    {"chat_TURN_MODEL", "'" USER "', " A_CONVERSATION ", NULL, 'm'",
		15},
	    {"chat_TURN_HISTORY",
		"'" USER "', " A_MESSAGE ", 40, 1000000, true", 250},
	    {"chat_TURN_BEGIN",
		"'" USER "', " A_CONVERSATION ", NULL, " A_REPLY
		", " NEW_QUESTION ", " NEW_REPLY
		", 'q', NULL, 1, NULL, 'm', 't', '" USER "',"
		" '{0,9,0,0,9,90000,90000,0,0}', NULL, 10, 40, 1000000,"
		" 'natter-local', 'send', " A_KEY CONTEXT_LIMITS,
		300},
	    {"chat_SEND_FIND", "'" USER "', " A_KEY ", " A_KEY, 40},
	    {"chat_SEND_CLAIM",
		"'" USER "', " NEW_KEY ", " NEW_KEY ", " A_RUNNING, 40},
	    {"chat_TURN_UNHEARD", "'" USER "', " A_REPLY ", 'x'", 90},
	    {"chat_TURN_REFUSAL",
		"'" USER "', " A_CONVERSATION ", NULL, " A_REPLY
		", 1200, 'send'",
		40},
	    {"chat_TURN_REFUSAL",
		"'" USER "', " A_CONVERSATION ", NULL, NULL, 1200, 'again'",
		40},
	    {"chat_BRANCH_TARGET", "'" USER "', " A_REPLY ", true", 40},
	    {"chat_BRANCH_END",
		"'" USER "', " A_CONVERSATION ", NULL, " A_MESSAGE ", 100000",
		60},
	    {"chat_PATH_DESC",
		"'" USER "', " A_CONVERSATION
		", NULL, " MADE_ID("a", "5000") ", NULL, 51, 4000000, true",
		2000},
	    {"chat_PATH_DESC",
		"'" USER "', " A_CONVERSATION
		", NULL, NULL, " MADE_ID("a", "5000") ", 51, 4000000, false",
		600},
	    {"chat_PATH_ASC",
		"'" USER "', " A_CONVERSATION ", NULL, " MADE_ID(
		    "a", "5408") ", 5000, 51, 4000000, false, 100000",
		1900}, /* from a mark 8 pages further */
	    {"chat_SIBLINGS_LIST",
		"'" USER "', " MADE_ID("d", "500") ", 500, 51, 4000000", 400},
	    {"chat_SIBLINGS_PLACE", "'" USER "', " MADE_ID("d", "500"), 1200},
	    {"chat_FORK_LOOK",
		"'" USER "', " A_CONVERSATION
		", NULL, " MADE_ID("a", "40") ", 10001",
		200},
	    {"chat_TURN_LOST", "'" USER "', " A_REPLY, 90},
	    {"chat_TURN_FINISH",
		"'" USER "', " NEW_REPLY ", 'a', 'complete', 'm', 'stop', "
		"NULL, 1, 1, 1, 0, true, " NEW_QUESTION ", " NEW_REPLY
		", " A_REPLY ", 1.5, 2.5, " A_CONVERSATION
		", NULL, '2026-01-01', true, 'm', '{}', '{\"form\":1}',"
		" '[]', NULL, NULL, NULL, NULL",
		200}, /* the price's function is planned, too */
	    {"chat_TURN_FINISH",
		"'" USER "', " NEW_REPLY ", 'a', 'complete', 'm', 'stop', "
		"NULL, 1, 1, 1, 0, true, " NEW_QUESTION ", " NEW_REPLY
		", " A_REPLY ", 1.5, 2.5, " A_CONVERSATION
		", NULL, '2026-01-01', true, 'm', '{}', '{\"form\":1}',"
		" '[]', NULL, NULL, NULL, NULL",
		40},
	};
	run("BEGIN");
	for (size_t i = 0; i < sizeof(unseen) / sizeof(*unseen); i++)
		warm(unseen[i].name, unseen[i].params);
	run("ROLLBACK");
	fill_all();
	EXPECT_FEW_PAGES(unseen);
	world_sql("VACUUM ANALYZE chat.conversations, chat.messages,"
		  " chat.usage_tracking, chat.running_replies,"
		  " chat.idempotency_keys, auth.users");
	EXPECT_FEW_PAGES(rows);
}
