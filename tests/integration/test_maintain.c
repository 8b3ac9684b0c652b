/*
 * natterctl maintain: mends what needs it as natter_migrate, leaves the rest
 * alone, and waits for nobody.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	/* Without autovacuum, which would be first. */
	unsetenv("TEST_DATABASE_URL");
	admin_provide_schema();
}

static char database[48];

static void
begin(void)
{
	snprintf(database, sizeof(database), "natter_maintain_%d", getpid());
	admin_schema(database);
}

static void
end(void)
{
	admin_drop(database);
}

TestSuite(maintain, .init = begin, .fini = end, .timeout = 120);

/* Statistics come a little after their transaction. */
static void
wait_for(const char *sql)
{
	for (int i = 0; i < 200; i++) {
		char *v = admin_value(sql);
		bool is_so = strcmp(v, "t") == 0;

		free(v);
		if (is_so)
			return;
		usleep(50000);
	}
	cr_assert_fail("it never came to be: %s", sql);
}

/* Rows of two months in chat.workers, most of them deleted again. */
static void
make_dead_rows(void)
{
	admin_sql("INSERT INTO chat.workers (id, host, pid) SELECT "
		  "gen_random_uuid(), 'h', i FROM generate_series(1, 60000) i");
	admin_sql("ANALYZE chat.workers");
	admin_sql("DELETE FROM chat.workers WHERE pid > 100");
	wait_for("SELECT n_dead_tup > 50000 FROM pg_stat_all_tables WHERE "
		 "relid = 'chat.workers'::regclass");
}

Test(maintain, nothing_to_do_is_said)
{
	EXPECT(0, "Nothing needs maintenance", "maintain");
}

Test(maintain, dead_rows_go_and_other_tables_are_left_alone)
{
	make_dead_rows();
	EXPECT(0, "dead rows", "maintain", "--dry-run");
	EXPECT_VALUE("SELECT last_vacuum IS NULL FROM pg_stat_all_tables "
		     "WHERE relid = 'chat.workers'::regclass",
	    "t");
	EXPECT(0, "chat.workers", "maintain");
	wait_for("SELECT n_dead_tup = 0 AND last_vacuum IS NOT NULL AND "
		 "last_analyze IS NOT NULL FROM pg_stat_all_tables WHERE "
		 "relid = 'chat.workers'::regclass");
	EXPECT_VALUE("SELECT count(*) FROM pg_stat_all_tables WHERE "
		     "last_vacuum IS NOT NULL AND relid <> "
		     "'chat.workers'::regclass AND schemaname IN ('auth', "
		     "'chat', 'natter')",
	    "0");
	EXPECT_VALUE("SELECT count(*) FROM chat.workers", "100");
}

Test(maintain, an_index_that_is_mostly_air_is_rebuilt)
{
	make_dead_rows();
	/* The index's size stays; what is in it is known after the first. */
	EXPECT(0, "VACUUM", "maintain");
	EXPECT_VALUE("SELECT relpages > 128 AND reltuples = 100 FROM pg_class "
		     "WHERE oid = 'chat.workers_pkey'::regclass",
	    "t");
	EXPECT(0, "mostly air", "maintain");
	EXPECT_VALUE("SELECT pg_relation_size('chat.workers_pkey') <= 16384 "
		     "AND (SELECT indisvalid FROM pg_index WHERE indexrelid = "
		     "'chat.workers_pkey'::regclass)",
	    "t");
	EXPECT(0, "Nothing needs maintenance", "maintain");
	EXPECT(0, "All is well", "migrate", "verify");
}

Test(maintain, a_table_that_changed_much_is_analysed)
{
	admin_sql("INSERT INTO chat.workers (id, host, pid) SELECT "
		  "gen_random_uuid(), 'h', i FROM generate_series(1, 5000) i");
	wait_for("SELECT n_mod_since_analyze > 4000 FROM pg_stat_all_tables "
		 "WHERE relid = 'chat.workers'::regclass");
	EXPECT(0, "rows changed since", "maintain");
	EXPECT_VALUE("SELECT reltuples FROM pg_class WHERE oid = "
		     "'chat.workers'::regclass",
	    "5000");
	wait_for("SELECT n_mod_since_analyze = 0 FROM pg_stat_all_tables "
		 "WHERE relid = 'chat.workers'::regclass");
	EXPECT(0, "Nothing needs maintenance", "maintain");
}

/* As a CREATE INDEX CONCURRENTLY leaves it that broke off. */
static void
spoil_index(const char *name)
{
	char sql[200];

	snprintf(sql, sizeof(sql),
	    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
	    "'chat.%s'::regclass",
	    name);
	admin_sql(sql);
}

Test(maintain, an_index_that_is_not_usable_is_rebuilt_and_remains_are_dropped)
{
	admin_sql("SET ROLE natter_owner;"
		  "CREATE INDEX idx_some_ccnew ON chat.workers (pid)");
	spoil_index("idx_some_ccnew");
	spoil_index("idx_chat_conversations_store");
	EXPECT(1, "not usable", "migrate", "verify");
	EXPECT(0, "idx_chat_conversations_store", "maintain");
	EXPECT_VALUE("SELECT to_regclass('chat.idx_some_ccnew') IS NULL", "t");
	EXPECT(0, "All is well", "migrate", "verify");
}

Test(maintain, what_is_locked_is_left_for_later_and_traffic_goes_on)
{
	PGconn *busy, *daemon;
	PGresult *r;
	pid_t pid;

	make_dead_rows();
	EXPECT(0, "VACUUM", "maintain");
	/* An old transaction that the rebuild would have to wait for. */
	busy = PQconnectdb(admin_url("postgres"));
	PQclear(PQexec(busy, "BEGIN; INSERT INTO chat.workers (id, host, pid) "
			     "VALUES (gen_random_uuid(), 'h', 1)"));
	pid = START(admin_natterctl(), "maintain");
	daemon = PQconnectdb(admin_url("natter_app"));
	for (int i = 0; i < 20; i++) {
		r = PQexec(daemon, "SET statement_timeout = '1s'; INSERT INTO "
				   "chat.workers (id, host, pid) VALUES "
				   "(gen_random_uuid(), 'h', 2)");
		cr_expect_eq(PQresultStatus(r), PGRES_COMMAND_OK, "%s",
		    PQerrorMessage(daemon));
		PQclear(r);
		usleep(100000);
	}
	cr_expect_eq(command_wait(pid), 1);
	PQclear(PQexec(busy, "COMMIT"));
	PQfinish(busy);
	PQfinish(daemon);
	EXPECT(0, "mostly air", "maintain");
	EXPECT(0, "All is well", "migrate", "verify");
}

Test(maintain, two_at_once_and_the_wrong_role_are_refused)
{
	PGconn *other = PQconnectdb(admin_url("natter_migrate"));

	PQclear(PQexec(other, "SELECT pg_advisory_lock(5211873014926421)"));
	EXPECT(1, "another natterctl maintain", "maintain");
	PQfinish(other);
	setenv("OWNER_DATABASE_URL", admin_url("natter_app"), 1);
	EXPECT(78, "must be that of natter_migrate", "maintain");
}
