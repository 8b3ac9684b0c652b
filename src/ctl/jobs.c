/*
 * The connection as natter_jobs and its lock. Knows no command.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/jobs.h"

/* Any number, as long as it is the same in every natterctl. */
#define LOCK_KEY   "5211873014926423"
#define INSIST_MS  60000
#define NAP_MIN_MS 50
#define NAP_MAX_MS 2000

enum ctl_exit
jobs_do(PGconn *conn, const char *sql, int n, const char *const *values)
{
	AUTO_PGRESULT PGresult *r = NULL;

	return ctl_query(conn, sql, n, values, &r);
}

enum ctl_exit
jobs_note(PGconn *conn, const char *action, const char *what, int64_t rows)
{
	char count[24];
	const char *values[] = {action, what, count};

	snprintf(count, sizeof(count), "%lld", (long long)rows);
	return jobs_do(conn,
	    "SELECT audit.note($1, split_part($1, '.', 1), NULL, NULL,"
	    " jsonb_build_object('what', $2::text, 'rows', $3::bigint))",
	    3, values);
}

bool
jobs_is_passing(const PGresult *r)
{
	static const char *const states[] = {"55P03", "40001", "40P01"};
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (state != NULL && strcmp(state, states[i]) == 0)
			return true;
	return false;
}

enum ctl_exit
jobs_insist(PGconn *conn, const char *sql, int n, const char *const *values)
{
	uint64_t end_ms = clock_mono_ms() + INSIST_MS;

	for (long nap = NAP_MIN_MS;;
	     nap = nap * 2 < NAP_MAX_MS ? nap * 2 : NAP_MAX_MS) {
		AUTO_PGRESULT PGresult *r =
		    PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);

		if (ctl_is_ok(r))
			return CTL_OK;
		if (!jobs_is_passing(r) || clock_mono_ms() > end_ms)
			return ctl_refuse(
			    CTL_FAILED, "%s", ctl_pg_message(conn, r));
		/* Who waits behind us goes first. */
		clock_sleep_ms(nap);
	}
}

/* Row level security would show another role nothing, and look like success. */
static enum ctl_exit
check_role(PGconn *conn)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = ctl_query(conn,
	    "SELECT current_user, rolbypassrls OR rolsuper FROM pg_roles "
	    "WHERE rolname = current_user",
	    0, NULL, &r);

	if (code != CTL_OK || PQgetvalue(r, 0, 1)[0] == 't')
		return code;
	return ctl_refuse(CTL_CONFIG,
	    "JOBS_DATABASE_URL names the role %s, whom row level security "
	    "binds: it must be natter_jobs",
	    PQgetvalue(r, 0, 0));
}

static enum ctl_exit
prepare(PGconn *conn)
{
	AUTO_PGRESULT PGresult *r = PQexec(conn,
	    "SET timezone = 'UTC'; SET datestyle = 'ISO'; "
	    "SET extra_float_digits = 1; SET bytea_output = 'hex'; "
	    "SET lock_timeout = '2s'; SET statement_timeout = 0; "
	    "SET idle_in_transaction_session_timeout = 0");

	if (!ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
	/* A killed natterctl must not hold its locks until a statement ends. */
	PQclear(PQexec(conn, "SET client_connection_check_interval = '1s'"));
	return check_role(conn);
}

enum ctl_exit
jobs_connect(PGconn **out_conn)
{
	PGconn *conn = NULL;
	enum ctl_exit code = ctl_connect_jobs(&conn);

	if (code == CTL_OK)
		code = prepare(conn);
	if (code != CTL_OK) {
		PQfinish(conn);
		return code;
	}
	*out_conn = conn;
	return CTL_OK;
}

enum ctl_exit
jobs_lock(PGconn *conn, bool *out_is_ours)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = ctl_query(
	    conn, "SELECT pg_try_advisory_lock(" LOCK_KEY ")", 0, NULL, &r);

	if (code == CTL_OK)
		*out_is_ours = PQgetvalue(r, 0, 0)[0] == 't';
	return code;
}
