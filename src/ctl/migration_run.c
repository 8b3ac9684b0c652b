/*
 * Opening a run of migrations and running its files. Each file runs in one
 * transaction with its row of natter.schema_migrations, so that a killed run
 * leaves a file applied and recorded, or neither.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/migration_run.h"

/* Any number, as long as it is the same in every natterctl. */
#define LOCK_KEY      "5211873014926420"
#define LOCK_WAIT_MS  60000
#define LOCK_RETRY_MS 200
#define TRIES         5
#define TRY_AGAIN_MS  1000

/* Runs SQL and drops what it returns; prints what went wrong. */
static enum ctl_exit
run_sql(const struct migration_run *r, const char *sql)
{
	AUTO_PGRESULT PGresult *result = PQexec(r->conn, sql);

	if (ctl_is_ok(result))
		return CTL_OK;
	return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(r->conn, result));
}

/* Waits until no other migration runs; the lock ends with the connection. */
static enum ctl_exit
take_lock(const struct migration_run *r)
{
	uint64_t end_ms = clock_mono_ms() + LOCK_WAIT_MS;
	bool has_said = false;

	for (;;) {
		AUTO_PGRESULT PGresult *result = PQexec(
		    r->conn, "SELECT pg_try_advisory_lock(" LOCK_KEY ")");

		if (!ctl_is_ok(result))
			return ctl_refuse(
			    CTL_FAILED, "%s", ctl_pg_message(r->conn, result));
		if (PQgetvalue(result, 0, 0)[0] == 't')
			return CTL_OK;
		if (clock_mono_ms() > end_ms)
			return ctl_refuse(CTL_FAILED,
			    "another migration still runs after %d s: find it "
			    "with SELECT pid, query FROM pg_stat_activity "
			    "WHERE application_name = 'natterctl'",
			    LOCK_WAIT_MS / 1000);
		if (!has_said)
			ctl_note("another migration is running: waiting up to "
				 "%d s for it",
			    LOCK_WAIT_MS / 1000);
		has_said = true;
		clock_sleep_ms(LOCK_RETRY_MS);
	}
}

void
migration_run_close(struct migration_run *r)
{
	migration_plan_free(r->plan);
	migrations_free(r->files);
	PQfinish(r->conn);
}

enum ctl_exit
migration_run_open(struct migration_run *r, const char *folder)
{
	char why[MIGRATIONS_WHY];
	enum ctl_exit code;

	if (migrations_load(folder, &r->files, why) != OK)
		return ctl_refuse(CTL_FAILED, "%s", why);
	code = ctl_connect_owner(&r->conn);
	if (code == CTL_OK)
		code = migration_role_check(r->conn);
	if (code == CTL_OK)
		code = run_sql(r,
		    "SET lock_timeout = '2s'; SET statement_timeout = 0; "
		    "SET idle_in_transaction_session_timeout = 0");
	/*
	 * A killed natterctl must not hold its locks until a statement ends;
	 * not every system that Postgres runs on can tell.
	 */
	if (code == CTL_OK)
		PQclear(PQexec(
		    r->conn, "SET client_connection_check_interval = '1s'"));
	if (code == CTL_OK)
		code = take_lock(r);
	if (code == CTL_OK)
		code = migration_plan_read(r->conn, r->files, &r->plan);
	return code;
}

/* The line of `sql` in which its character `position` (from 1) stands. */
static unsigned
line_at(const char *sql, long position)
{
	unsigned line = 1;

	assert(sql != NULL);

	for (long c = 1; c < position && *sql != '\0'; sql++) {
		line += *sql == '\n';
		/* Characters are counted, not bytes. */
		c += (sql[1] & 0xc0) != 0x80;
	}
	return line;
}

/* Says which file failed, where and why. */
static void
report(const struct migration_run *r, const struct plan_entry *e,
    const char *way, const char *sql, const PGresult *result)
{
	const char *position =
	    PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
	char line[32] = "";

	if (position != NULL)
		snprintf(line, sizeof(line),
		    " line %u:", line_at(sql, strtol(position, NULL, 10)));
	ctl_note("%03d_%s.%s.sql:%s %s", e->version, e->name, way, line,
	    ctl_pg_message(r->conn, result));
}

/* Did it only wait too long for a lock? */
static bool
may_try_again(const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return state != NULL &&
	       (strcmp(state, "55P03") == 0 || strcmp(state, "40P01") == 0);
}

static enum ctl_exit
record(const struct migration_run *r, const struct plan_entry *e,
    uint64_t began_ms)
{
	char version[16], took[24];
	const char *values[] = {
	    version, e->file->name, e->file->sha256, took, PACKAGE_VERSION};
	PGresult *result;
	enum ctl_exit code = CTL_OK;

	snprintf(version, sizeof(version), "%d", e->version);
	snprintf(took, sizeof(took), "%llu",
	    (unsigned long long)(clock_mono_ms() - began_ms));
	code = run_sql(r, "SET ROLE natter_owner");
	if (code != CTL_OK)
		return code;
	result = PQexecParams(r->conn,
	    "INSERT INTO natter.schema_migrations "
	    "(version, name, sha256, duration_ms, app_version) "
	    "VALUES ($1, $2, $3, $4, $5)",
	    5, NULL, values, NULL, NULL, 0);
	if (!ctl_is_ok(result))
		code = ctl_refuse(CTL_FAILED, "cannot record %03d_%s: %s",
		    e->version, e->name, ctl_pg_message(r->conn, result));
	PQclear(result);
	return code == CTL_OK ? run_sql(r, "RESET ROLE") : code;
}

static enum ctl_exit
forget(const struct migration_run *r, const struct plan_entry *e)
{
	char sql[128];

	snprintf(sql, sizeof(sql),
	    "SET ROLE natter_owner; "
	    "DELETE FROM natter.schema_migrations WHERE version = %d; "
	    "RESET ROLE",
	    e->version);
	return run_sql(r, sql);
}

/* Runs a file that must not be in a transaction, statement by statement. */
static enum ctl_exit
run_bare(const struct migration_run *r, const struct plan_entry *e, bool is_up)
{
	const char *rest = is_up ? e->file->up : e->file->down, *at;
	uint64_t began_ms = clock_mono_ms();
	enum ctl_exit code;
	size_t n;

	while ((at = migration_next(&rest, &n)) != NULL) {
		char *sql = strndup(at, n);
		AUTO_PGRESULT PGresult *result =
		    sql != NULL ? PQexec(r->conn, sql) : NULL;

		if (!ctl_is_ok(result)) {
			report(r, e, is_up ? "up" : "down", sql, result);
			ctl_note("it ran without a transaction, so what came "
				 "before is done: mend the cause and run it "
				 "again");
			free(sql);
			return CTL_FAILED;
		}
		free(sql);
	}
	code = run_sql(r, "RESET ROLE");
	if (code != CTL_OK)
		return code;
	return is_up ? record(r, e, began_ms) : forget(r, e);
}

/* The work of one transaction. */
static enum ctl_exit
run_inside(const struct migration_run *r, const struct plan_entry *e,
    bool is_up, bool *out_again)
{
	const char *sql = is_up ? e->file->up : e->file->down;
	uint64_t began_ms = clock_mono_ms();
	AUTO_PGRESULT PGresult *result = NULL;
	enum ctl_exit code;

	if (!is_up && (code = forget(r, e)) != CTL_OK)
		return code;
	result = PQexec(r->conn, sql);
	if (!ctl_is_ok(result)) {
		*out_again = may_try_again(result);
		report(r, e, is_up ? "up" : "down", sql, result);
		return CTL_FAILED;
	}
	if (PQtransactionStatus(r->conn) != PQTRANS_INTRANS)
		return ctl_refuse(CTL_FAILED,
		    "%03d_%s ends its transaction itself: a migration must "
		    "not say COMMIT or ROLLBACK. IT MAY BE APPLIED AND IS NOT "
		    "RECORDED",
		    e->version, e->name);
	return is_up ? record(r, e, began_ms) : CTL_OK;
}

/* One file in one transaction; waits for locks a few times. */
static enum ctl_exit
run_transaction(
    const struct migration_run *r, const struct plan_entry *e, bool is_up)
{
	for (int tried = 1;; tried++) {
		bool again = false;
		enum ctl_exit code = CTL_OK;

		if (!r->is_dry)
			code = run_sql(r, "BEGIN");
		if (code == CTL_OK)
			code = run_inside(r, e, is_up, &again);
		if (code == CTL_OK)
			return r->is_dry ? CTL_OK
					 : run_sql(r, "COMMIT; RESET ROLE");
		if (PQstatus(r->conn) != CONNECTION_OK)
			return code;
		if (!r->is_dry)
			(void)run_sql(r, "ROLLBACK");
		if (!again || r->is_dry || tried == TRIES)
			return code;
		ctl_note("a lock was not to be had in 2 s: trying again (%d of "
			 "%d)",
		    tried + 1, TRIES);
		clock_sleep_ms(TRY_AGAIN_MS);
	}
}

static enum ctl_exit
run_one(const struct migration_run *r, const struct plan_entry *e, bool is_up)
{
	uint64_t began_ms = clock_mono_ms();
	bool is_bare = migration_is_bare(is_up ? e->file->up : e->file->down);
	enum ctl_exit code;

	if (is_bare && r->is_dry)
		return ctl_refuse(CTL_FAILED,
		    "%03d_%s runs without a transaction: a dry run cannot take "
		    "it back and ends before it",
		    e->version, e->name);
	code = is_bare ? run_bare(r, e, is_up) : run_transaction(r, e, is_up);
	if (code == CTL_OK)
		printf("%s %03d_%s (%llu ms)\n",
		    r->is_dry ? (is_up ? "would apply" : "would take back")
			      : (is_up ? "applied" : "took back"),
		    e->version, e->name,
		    (unsigned long long)(clock_mono_ms() - began_ms));
	fflush(stdout);
	return code;
}

enum ctl_exit
migration_run_all(const struct migration_run *r, struct plan_entry *const *todo,
    size_t n, bool is_up)
{
	enum ctl_exit code = r->is_dry ? run_sql(r, "BEGIN") : CTL_OK;

	for (size_t i = 0; code == CTL_OK && i < n; i++)
		code = run_one(r, todo[i], is_up);
	if (r->is_dry && PQstatus(r->conn) == CONNECTION_OK) {
		(void)run_sql(r, "ROLLBACK");
		puts("Nothing was changed (--dry-run).");
	}
	return code;
}
