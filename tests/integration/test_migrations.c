/*
 * natterctl migrate against a real Postgres, with the shipped files and with
 * spoiled copies of them. What the schema itself must be like is test_rls's and
 * verify's matter.
 */
#include <criterion/criterion.h>
#include <glob.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"
#include "servers.h"

#define VERSIONS_MAX 64

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	admin_provide_schema();
}

static char database[48];
static char versions[VERSIONS_MAX][128]; /* "001_schemas", rising */
static int n_versions;

static void
find_versions(void)
{
	char pattern[300];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*.up.sql", admin_migrations());
	cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc && i < VERSIONS_MAX; i++) {
		const char *name = strrchr(found.gl_pathv[i], '/') + 1;

		snprintf(versions[i], sizeof(versions[i]), "%.*s",
		    (int)(strlen(name) - strlen(".up.sql")), name);
		n_versions++;
	}
	globfree(&found);
}

static void
begin(void)
{
	snprintf(database, sizeof(database), "natter_migrate_%d", getpid());
	admin_database(database);
	find_versions();
}

static void
end(void)
{
	admin_drop(database);
	admin_remove_copy();
}

TestSuite(migrations, .init = begin, .fini = end, .timeout = 280);

static void
expect_same(const char *a, const char *b, const char *what)
{
	size_t n = 0;

	while (a[n] != '\0' && a[n] == b[n])
		n++;
	cr_assert(a[n] == b[n], "%s differ:\n%.300s\n--- and\n%.300s", what,
	    a + n - (n < 100 ? n : 100), b + n - (n < 100 ? n : 100));
}

/* The dump is what it was. */
static void
expect_dump(const char *before, const char *what)
{
	char *now = admin_dump();

	expect_same(before, now, what);
	free(now);
}

static void
nap_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

Test(migrations, all_apply_and_a_second_run_changes_nothing)
{
	char count[16], *dump;

	EXPECT(0, "applied 001_", "migrate", "up");
	dump = admin_dump();
	EXPECT(0, "Nothing to do", "migrate", "up");
	expect_dump(dump, "the schemas of a first and a second run");
	free(dump);
	snprintf(count, sizeof(count), "%d", n_versions);
	EXPECT_VALUE("SELECT count(*) FROM natter.schema_migrations", count);
	EXPECT(0, "All is well", "migrate", "verify");
}

Test(migrations, the_built_in_files_are_those_of_the_folder)
{
	char last[160];

	admin_schema(database);
	EXPECT(
	    0, "Nothing to do", "migrate", "up", "--dir", admin_migrations());
	snprintf(last, sizeof(last), "%s", versions[n_versions - 1]);
	EXPECT(0, last + 4, "migrate", "status");
	EXPECT(
	    0, "All is well", "migrate", "verify", "--dir", admin_migrations());
}

Test(migrations, down_to_nothing_restores_what_was_there_and_up_again_too)
{
	char *empty = admin_dump(), *full;

	EXPECT(0, "applied", "migrate", "up");
	full = admin_dump();
	EXPECT(0, "took back 001_", "migrate", "down", "--to", "0", "--yes");
	expect_dump(empty, "the database before and after");
	EXPECT(0, "Nothing to do", "migrate", "down", "--yes");
	EXPECT(0, "applied", "migrate", "up");
	expect_dump(full, "the schemas of the first and the second time");
	free(empty);
	free(full);
}

Test(migrations, each_step_back_restores_what_was_there)
{
	for (int i = 0; i < n_versions; i++) {
		char *before = admin_dump(), to[8];

		snprintf(to, sizeof(to), "%.3s", versions[i]);
		EXPECT(0, versions[i], "migrate", "up", "--to", to);
		EXPECT(0, versions[i], "migrate", "down", "--yes");
		expect_dump(before, versions[i]);
		EXPECT(0, versions[i], "migrate", "up", "--to", to);
		free(before);
	}
}

/* From each third version on; three tests do all of them. The database climbs
 * from one to the next, and a copy of it goes all the way. */
static void
expect_upgrades(int first)
{
	char *fresh, copy[64];

	admin_schema(database);
	fresh = admin_dump();
	admin_database(database);
	snprintf(copy, sizeof(copy), "%s_copy", database);
	for (int i = first; i + 1 < n_versions; i += 3) {
		char to[8], what[160];

		snprintf(to, sizeof(to), "%.3s", versions[i]);
		snprintf(what, sizeof(what), "a fresh install and one from %s",
		    versions[i]);
		EXPECT(0, versions[i], "migrate", "up", "--to", to);
		admin_clone(database, copy);
		EXPECT(0, versions[n_versions - 1], "migrate", "up");
		expect_dump(fresh, what);
		admin_use(database);
	}
	admin_drop(copy);
	free(fresh);
}

Test(migrations, an_upgrade_from_any_version_ends_like_a_fresh_install)
{
	expect_upgrades(0);
}

Test(migrations, an_upgrade_from_any_version_ends_like_a_fresh_install_2)
{
	expect_upgrades(1);
}

Test(migrations, an_upgrade_from_any_version_ends_like_a_fresh_install_3)
{
	expect_upgrades(2);
}

Test(migrations, down_wants_a_yes_where_there_is_no_terminal)
{
	admin_schema(database);
	EXPECT(2, "say --yes", "migrate", "down");
	EXPECT(2, "no migration of that number", "migrate", "down", "--to",
	    "999", "--yes");
	EXPECT(0, "Nothing to do", "migrate", "up");
}

Test(migrations, a_dry_run_changes_nothing)
{
	char *empty = admin_dump(), *full;

	EXPECT(0, "Nothing was changed", "migrate", "up", "--dry-run");
	expect_dump(empty, "the database before and after");
	EXPECT(0, "applied", "migrate", "up");
	full = admin_dump();
	EXPECT(0, "would take back 001_", "migrate", "down", "--to", "0",
	    "--dry-run");
	expect_dump(full, "the schema before and after");
	free(empty);
	free(full);
}

Test(migrations, each_edited_file_is_refused_by_name)
{
	const char *folder = admin_copy();

	admin_schema(database);
	for (int i = 0; i < n_versions; i++) {
		char file[160], says[256];

		snprintf(file, sizeof(file), "%s.up.sql", versions[i]);
		snprintf(says, sizeof(says),
		    "%s is not the file that was applied", file);
		admin_append(file, "-- edited\n");
		EXPECT(1, says, "migrate", "up", "--dir", folder);
		if (i == 0) {
			EXPECT(1, says, "migrate", "down", "--yes", "--dir",
			    folder);
			EXPECT(
			    1, "EDITED", "migrate", "status", "--dir", folder);
			EXPECT(1, says, "migrate", "verify", "--dir", folder);
		}
		folder = admin_copy();
	}
	EXPECT(0, "Nothing to do", "migrate", "up", "--dir", folder);
}

Test(migrations, each_missing_file_is_refused_by_name)
{
	const char *folder = admin_copy();

	admin_schema(database);
	for (int i = 0; i < n_versions; i++) {
		char up[160], down[160], says[256];

		snprintf(up, sizeof(up), "%s.up.sql", versions[i]);
		snprintf(down, sizeof(down), "%s.down.sql", versions[i]);
		admin_remove(down);
		snprintf(says, sizeof(says), "%s is missing", down);
		EXPECT(1, says, "migrate", "up", "--dir", folder);
		admin_remove(up);
		snprintf(says, sizeof(says), "%s is applied", up);
		EXPECT(1, says, "migrate", "up", "--dir", folder);
		if (i == 0)
			EXPECT(
			    1, "MISSING", "migrate", "status", "--dir", folder);
		folder = admin_copy();
	}
}

Test(migrations, a_file_out_of_order_is_refused_by_name)
{
	const char *folder = admin_copy();

	admin_schema(database);
	admin_write("900_late.up.sql", "SELECT 1;\n");
	admin_write("900_late.down.sql", "SELECT 1;\n");
	EXPECT(0, "applied 900_late", "migrate", "up", "--dir", folder);
	admin_write("899_early.up.sql", "SELECT 1;\n");
	admin_write("899_early.down.sql", "SELECT 1;\n");
	EXPECT(1, "899_early.up.sql is out of order", "migrate", "up", "--dir",
	    folder);
	EXPECT(1, "OUT OF ORDER", "migrate", "status", "--dir", folder);
}

Test(migrations, files_that_cannot_be_told_apart_are_refused)
{
	const char *folder = admin_copy();

	admin_write("001_again.up.sql", "SELECT 1;\n");
	EXPECT(1, "has the number of another migration", "migrate", "up",
	    "--dir", folder);
	admin_remove("001_again.up.sql");
	admin_write("7_short.up.sql", "SELECT 1;\n");
	EXPECT(
	    1, "7_short.up.sql is not named", "migrate", "up", "--dir", folder);
	admin_remove("7_short.up.sql");
	admin_write("README.txt", "not SQL\n");
	EXPECT(0, "applied", "migrate", "up", "--dir", folder);
	EXPECT(1, "cannot be opened", "migrate", "up", "--dir", "/nonexistent");
}

Test(migrations, a_failing_file_changes_nothing_and_says_where)
{
	const char *folder = admin_copy();
	char *before;

	admin_schema(database);
	before = admin_dump();
	admin_write("900_bad.up.sql",
	    "-- träge\nSET ROLE natter_owner;\nCREATE TABLE chat.half (a "
	    "int);\n"
	    "SELECT nothing\nFROM nowhere;\n");
	admin_write("900_bad.down.sql", "SELECT 1;\n");
	EXPECT(1, "900_bad.up.sql: line 5: relation \"nowhere\" does not exist",
	    "migrate", "up", "--dir", folder);
	expect_dump(before, "the schema before and after a failure");
	admin_write("900_bad.up.sql", "SELECT 1; COMMIT;\n");
	EXPECT(1, "900_bad ends its transaction itself", "migrate", "up",
	    "--dir", folder);
	free(before);
}

Test(migrations, two_at_once_apply_each_file_once)
{
	const char *folder = admin_copy();
	pid_t one, two;

	admin_write("900_slow.up.sql",
	    "SET ROLE natter_owner;\nCREATE TABLE natter.once (a int);\n"
	    "SELECT pg_sleep(1);\nRESET ROLE;\n");
	admin_write("900_slow.down.sql", "SELECT 1;\n");
	one = START(admin_natterctl(), "migrate", "up", "--dir", folder);
	two = START(admin_natterctl(), "migrate", "up", "--dir", folder);
	cr_expect_eq(command_wait(one), 0);
	cr_expect_eq(command_wait(two), 0);
	EXPECT_VALUE("SELECT count(*) FROM natter.schema_migrations "
		     "WHERE version = 900",
	    "1");
}

/* Waits until the database is inside pg_sleep. */
static void
wait_for_sleep(void)
{
	for (int i = 0; i < 500; i++) {
		char *n = admin_value(
		    "SELECT count(*) FROM pg_stat_activity WHERE "
		    "wait_event = 'PgSleep' AND datname = current_database()");
		bool sleeps = strcmp(n, "0") != 0;

		free(n);
		if (sleeps)
			return;
		nap_ms(20);
	}
	cr_assert_fail("it never came to pg_sleep");
}

Test(migrations, a_kill_in_the_middle_of_any_file_leaves_a_clean_state)
{
	char *before = admin_dump();

	for (int i = 0; i < n_versions; i++) {
		const char *folder = admin_copy();
		char file[160], to[8];
		pid_t pid;

		snprintf(file, sizeof(file), "%s.up.sql", versions[i]);
		snprintf(to, sizeof(to), "%.3s", versions[i]);
		admin_append(file, "SELECT pg_sleep(60);\n");
		pid =
		    START(admin_natterctl(), "migrate", "up", "--dir", folder);
		wait_for_sleep();
		kill(pid, SIGKILL);
		cr_expect_eq(command_wait(pid), -1);
		/* The real file, with what came before it applied already. */
		EXPECT(0, versions[i], "migrate", "up", "--to", to);
	}
	EXPECT(0, "All is well", "migrate", "verify");
	EXPECT(0, "took back", "migrate", "down", "--to", "0", "--yes");
	expect_dump(before, "the database before and after");
	free(before);
}

Test(migrations, plain_psql_applies_all_files_and_natterctl_adopts_them)
{
	char *by_natterctl, path[400];

	EXPECT(0, "applied", "migrate", "up");
	by_natterctl = admin_dump();
	EXPECT(0, "took back", "migrate", "down", "--to", "0", "--yes");
	/* Twice: each may be run again; once in a transaction and once not. */
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < n_versions; i++) {
			struct command_end e;

			snprintf(path, sizeof(path), "%s/%s.up.sql",
			    admin_migrations(), versions[i]);
			e = RUN("psql", round == 0 ? "-q" : "-1", "-X", "-v",
			    "ON_ERROR_STOP=1", "-d",
			    admin_url("natter_migrate"), "-f", path);
			cr_assert_eq(e.code, 0, "%s: %s", path, e.err);
			command_end_clear(&e);
		}
	expect_dump(by_natterctl, "the schemas by psql and by natterctl");
	EXPECT(0, "applied 001_", "migrate", "up");
	expect_dump(by_natterctl, "the schemas before and after adoption");
	free(by_natterctl);
	for (int i = n_versions; i-- > 0;) {
		struct command_end e;

		snprintf(path, sizeof(path), "%s/%s.down.sql",
		    admin_migrations(), versions[i]);
		e = RUN("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d",
		    admin_url("natter_migrate"), "-f", path);
		cr_assert_eq(e.code, 0, "%s: %s", path, e.err);
		command_end_clear(&e);
	}
	EXPECT(0, "pending", "migrate", "status");
}

Test(migrations, a_file_without_a_transaction_runs_statement_by_statement)
{
	const char *folder = admin_copy();

	admin_write("900_bare.up.sql",
	    "-- natter: no-transaction\n"
	    "SET ROLE natter_owner;\n"
	    "-- natter: split\n"
	    "DROP INDEX CONCURRENTLY IF EXISTS chat.idx_bare;\n"
	    "-- natter: split\n"
	    "CREATE INDEX CONCURRENTLY idx_bare ON chat.workers (pid);\n"
	    "-- natter: split\n"
	    "RESET ROLE;\n");
	admin_write("900_bare.down.sql",
	    "-- natter: no-transaction\n"
	    "SET ROLE natter_owner;\n"
	    "-- natter: split\n"
	    "DROP INDEX CONCURRENTLY chat.idx_bare;\n");
	EXPECT(1, "a dry run cannot take it back", "migrate", "up", "--dry-run",
	    "--dir", folder);
	EXPECT(0, "applied 900_bare", "migrate", "up", "--dir", folder);
	EXPECT_VALUE("SELECT to_regclass('chat.idx_bare') IS NOT NULL", "t");
	EXPECT(0, "took back 900_bare", "migrate", "down", "--yes", "--dir",
	    folder);
	EXPECT_VALUE("SELECT to_regclass('chat.idx_bare') IS NULL", "t");
}

/* Waits until somebody waits for chat.workers, or nobody. */
static void
wait_for_waiting(bool wanted)
{
	bool is_so = false;

	for (int i = 0; i < 3000 && !is_so; i++) {
		char *n = admin_value(
		    "SELECT count(*) FROM pg_locks WHERE NOT granted"
		    " AND relation = 'chat.workers'::regclass");

		is_so = (strcmp(n, "0") != 0) == wanted;
		free(n);
		if (!is_so)
			nap_ms(20);
	}
}

Test(migrations, a_busy_table_is_waited_for_in_short_turns)
{
	const char *folder = admin_copy();
	PGconn *busy;
	struct command_end e;
	pid_t pid;

	admin_schema(database);
	admin_write("900_alter.up.sql",
	    "SET ROLE natter_owner;\nALTER TABLE chat.workers ADD COLUMN x "
	    "int;\n"
	    "COMMENT ON COLUMN chat.workers.x IS 'x';\nRESET ROLE;\n");
	admin_write("900_alter.down.sql", "SELECT 1;\n");
	busy = PQconnectdb(admin_url("postgres"));
	PQclear(PQexec(busy, "BEGIN; LOCK TABLE chat.workers"));
	pid = fork();
	if (pid == 0) {
		wait_for_waiting(true);
		wait_for_waiting(false); /* it has given up, for now */
		PQclear(PQexec(busy, "COMMIT"));
		_exit(0);
	}
	e = RUN(admin_natterctl(), "migrate", "up", "--dir", folder);
	cr_expect_eq(e.code, 0, "%s", e.err);
	cr_expect_not_null(strstr(e.err, "trying again"));
	command_end_clear(&e);
	cr_expect_eq(command_wait(pid), 0);
	PQfinish(busy);
}

Test(migrations, the_wrong_role_or_none_is_refused_with_what_to_do)
{
	char *empty;

	setenv("OWNER_DATABASE_URL", admin_url("natter_app"), 1);
	EXPECT(78, "must be that of natter_migrate", "migrate", "up");
	unsetenv("OWNER_DATABASE_URL");
	EXPECT(78, "OWNER_DATABASE_URL is not set", "migrate", "up");
	setenv("OWNER_DATABASE_URL", "host=/nonexistent", 1);
	EXPECT(1, "cannot reach Postgres", "migrate", "up");
	setenv("OWNER_DATABASE_URL", admin_url("natter_migrate"), 1);
	empty = admin_dump();
	EXPECT(0, "pending", "migrate", "status");
	expect_dump(empty, "the database before and after a look");
	free(empty);
}
