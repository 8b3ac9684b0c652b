/*
 * What finding reads: a user has 100,000 conversations and 100,000 messages,
 * and every filter, as natter_app under row level security, touches a few pages
 * of the thousands there are. Inner plans of functions do not show in EXPLAIN;
 * their pages do.
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
#define STORE "00000000-0000-7000-8000-0000000000b1"
#define LAST  "ffffffff-ffff-ffff-ffff-ffffffffffff"

#define MADE_ID(kind, n)                                                \
	"(overlay(natter.uuid_floor(date_trunc('month', now()))::text " \
	"PLACING '" kind "' || lpad((" n ")::text, 11, '0') FROM 25))::uuid"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	if (!world_provide("natter_test_find_plans"))
		abort();
}

static PGconn *conn;

/* 100,000 replies of 50 users in eleven months before this one. */
static void
fill_a_year(void)
{
	world_sql("SELECT chat.create_month('usage_tracking',"
		  " now() - make_interval(months => i))"
		  " FROM generate_series(1, 12) i");
	world_sql("INSERT INTO auth.users (id, username) SELECT " MADE_ID(
	    "d", "n") ", 'user' || n"
		      " FROM generate_series(1, 50) n");
	world_sql("INSERT INTO chat.usage_tracking (user_id, id, model,"
		  " counted_on, created_at) SELECT " MADE_ID("d",
		      "1 + n %% 50") ", natter.uuid_v7(t), 'm' || n %% 3, "
				     "t::date, t FROM (SELECT n,"
				     " date_trunc('month', now()) - n * "
				     "interval '280 s' AS t"
				     " FROM generate_series(1, 100000) n) x");
}

static void
fill(void)
{
	world_take_indexes();
	world_sql("INSERT INTO auth.users (id, username, role) VALUES ('" USER
		  "', 'many', 'admin')");
	world_sql("INSERT INTO chat.stores (id, slug, name, is_open) VALUES"
		  " ('" STORE "', 'many', 'Many', true)");
	world_sql(
	    "INSERT INTO chat.conversations (user_id, id, short_id, title,"
	    " tags, metadata, store_id, message_count, last_message_at,"
	    " is_active, is_archived, expires_at)"
	    " SELECT '" USER "', " MADE_ID(
		"c", "n") ", 's' || n,"
			  " 'Letter ' || n, ARRAY['t' || n %% 1000],"
			  " jsonb_build_object('n', n %% 1000), CASE n %% 100 "
			  "WHEN 1 THEN"
			  " '" STORE
			  "'::uuid END, 1, now() - make_interval(mins => n),"
			  " n %% 50 <> 3, n %% 10 = 5, NULL"
			  " FROM generate_series(1, 100000) n");
	world_sql("INSERT INTO chat.messages (user_id, id, conversation_id,"
		  " position, role, content, status, intent)"
		  " SELECT '" USER "', " MADE_ID("a", "n") ", " MADE_ID(
		      "c", "n") ", 1, 'user', 'word w' || n %% 1000 ||"
				" ' ' || md5(n::text), 'complete',"
				" 'i' || n %% 1000"
				" FROM generate_series(1, 100000) n");
	world_sql("INSERT INTO chat.usage_tracking (user_id, id,"
		  " conversation_id, model) SELECT '" USER "', " MADE_ID("a",
		      "n") ", " MADE_ID("c", "n") ", 'm'"
						  " FROM generate_series(1,"
						  " 100000) n");
	fill_a_year();
	world_give_indexes();
	world_sql("VACUUM ANALYZE chat.conversations, chat.messages,"
		  " chat.usage_tracking");
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
	fill();
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

TestSuite(find_plans, .init = open_connection, .fini = close_connection,
    .timeout = 600);

/* Pages that a statement touched: the first counters of its plan. */
static long
pages(const char *name, const char *params)
{
	char *sql = NULL;
	long n = 0;
	cr_assert(asprintf(&sql,
		      "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON)"
		      " EXECUTE %s(%s)",
		      name, params) > 0);
	PGresult *r = PQexec(conn, sql);
	cr_assert_eq(PQresultStatus(r), PGRES_TUPLES_OK, "%s: %s", sql,
	    PQerrorMessage(conn));
	const char *plan = PQgetvalue(r, 0, 0);
	static const char *const counters[] = {
	    "\"Shared Hit Blocks\": ", "\"Shared Read Blocks\": "};
	for (int i = 0; i < 2; i++) {
		const char *p = strstr(plan, counters[i]);
		if (p)
			n += strtol(strchr(p, ':') + 1, NULL, 10);
	}
	const char *time = strstr(plan, "\"Execution Time\": ");
	if (getenv("SHOW_PLANS"))
		fprintf(stderr, "%s(%s): %ld pages, %.8s ms\n", name, params, n,
		    time ? time + 18 : "");
	PQclear(r);
	free(sql);
	return n;
}

/* store, tags, metadata, words, archived, active, since, until, ascending */
#define FIND(filters) \
	"chat_CONVERSATIONS_FIND", "'" USER "', " filters ", NULL, NULL, 21"
#define SEARCH(filters)         \
	"chat_MESSAGES_SEARCH", \
	    "'" USER "', " filters ", '" LAST "', NULL, NULL, 21"

/* Days before this month, whose first moment is that of 100,000 rows, by more
 * than the day that is read beside those asked for; and some months ago. */
#define FIRST                     "(date_trunc('month', now()))::date"
#define LATE                      FIRST " - 3"
#define EARLY                     FIRST " - 100"
#define OWN(who, from, to, after) "'" who "', " from ", " to ", " after ", 21"
#define ALL(by, from, to, user) \
	"'" by "', " from ", " to ", " user ", NULL, NULL, NULL, NULL, 21"

Test(find_plans, every_filter_touches_a_few_pages)
{
	static const struct {
		const char *name;
		const char *params;
		long max; /* pages */
	} rows[] = {
	    {FIND("NULL, NULL, NULL, NULL, false, false, NULL, NULL, false"),
		300},
	    {FIND("NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true"), 500},
	    {FIND("NULL, NULL, NULL, NULL, false, true,"
		  " now() - interval '50000 minutes',"
		  " now() - interval '40000 minutes', false"),
		300},
	    {FIND("'" STORE "', NULL, NULL, NULL, false, true, NULL, NULL,"
		  " false"),
		300},
	    {FIND("NULL, '[\"t7\"]', NULL, NULL, false, true, NULL, NULL,"
		  " false"),
		900},
	    {FIND("NULL, '[\"nowhere\"]', NULL, NULL, NULL, NULL, NULL, NULL,"
		  " false"),
		300},
	    {FIND("NULL, NULL, '{\"n\":7}', NULL, false, true, NULL, NULL,"
		  " false"),
		900},
	    {FIND("NULL, NULL, NULL, '[\"77777\"]', NULL, NULL, NULL,"
		  " NULL, false"),
		900},
	    {SEARCH("'w7', NULL, NULL, NULL, NULL, NULL, NULL"), 2500},
	    {SEARCH("'nowhere', NULL, NULL, NULL, NULL, NULL, NULL"), 300},
	    {SEARCH("'w7', NULL, 's7', 'user', NULL, NULL, NULL"), 900},
	    {SEARCH("'w7', NULL, NULL, NULL, 'i7', NULL, NULL"), 2500},
	    {"chat_MESSAGES_RECENT", "'" USER "', '" LAST "', 21, 4000000",
		400},
	    {"chat_CONVERSATION_STATS", "'" USER "', NULL, 's7'", 100},
	    {"chat_CONVERSATIONS_DELETE_OLD", "'" USER "', 1000, 100", 100},
	    {"chat_EXPORT_CONVERSATIONS", "'" USER "', '" LAST "', 50", 300},
	    {"chat_EXPORT_MESSAGES",
		"'" USER "', " MADE_ID("c", "500") ", 0, " MADE_ID(
		    "c", "400") ", 500, 1000000",
		900},
	    {"chat_EXPORT_USAGE", "'" USER "', " MADE_ID("a", "5000") ", 200",
		300},
	    /* A span of days reads its days and no other month, whoever's
	     * they are. Who has 100,000 this month has none of these. */
	    {"chat_ME_USAGE_DAY", OWN(USER, EARLY, LATE, "'infinity'"), 100},
	    {"chat_ME_USAGE_MODEL", OWN(USER, EARLY, LATE, "NULL"), 100},
	    {"chat_ME_USAGE_CONVERSATION", OWN(USER, EARLY, LATE, "'" LAST "'"),
		100},
	    /* The first plans its function, too. */
	    {"chat_ADMIN_USAGE", ALL("day", LATE, LATE, "NULL"), 1000},
	    {"chat_ADMIN_USAGE", ALL("user", EARLY, EARLY, "NULL"), 400},
	    {"chat_ADMIN_USAGE", ALL("model", EARLY, EARLY " + 2", "NULL"),
		400},
	    /* A page of a long span ends with the page. */
	    {"chat_ADMIN_USAGE", ALL("day,user", EARLY, LATE, "NULL"), 400},
	    {"chat_ADMIN_USAGE", ALL("user,day", EARLY " - 200", LATE, "NULL"),
		400},
	    {"chat_ADMIN_USAGE", ALL("day", EARLY, EARLY " + 2", "'" USER "'"),
		200},
	};
	run("BEGIN");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		long n = pages(rows[i].name, rows[i].params);
		cr_expect_leq(n, rows[i].max, "%s(%s) touched %ld pages",
		    rows[i].name, rows[i].params, n);
		cr_expect_gt(n, 0);
	}
	run("ROLLBACK");
	/* There is much that could have been read. */
	cr_expect_gt(world_number("SELECT pg_relation_size("
				  "'chat.conversations') / 8192"),
	    2000);
	cr_expect_gt(
	    world_number("SELECT sum(pg_relation_size(inhrelid)) / 8192 FROM"
			 " pg_inherits WHERE inhparent ="
			 " 'chat.usage_tracking'::regclass"),
	    2500);
}
