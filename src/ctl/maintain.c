/*
 * natterctl maintain: vacuums, analyses and rebuilds what needs it while
 * everything goes on. Takes no lock that traffic would wait for: VACUUM,
 * ANALYZE and REINDEX CONCURRENTLY let reads and writes pass, and where they
 * would have to wait themselves, they give up (lock_timeout) and are done next
 * time. What needs it is maintain.h's matter.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/maintain.h"

/* Any number, as long as it is the same in every natterctl. */
#define LOCK_SQL "SELECT pg_try_advisory_lock(5211873014926421)"

static const char settings_sql[] =
    "SET lock_timeout = '2s'; SET statement_timeout = 0;"
    "SET search_path = pg_catalog, pg_temp;"
    "SET client_min_messages = warning";

/*
 * In this order: what a broken-off REINDEX left, invalid and bloated indexes,
 * tables. Columns: what to do (%s in the SQL), to which, its size, on which
 * table, why.
 */
static const char plan_sql[] =
    "SELECT 1 AS step, format('DROP INDEX CONCURRENTLY IF EXISTS %s',"
    " i.oid::regclass), i.oid::regclass::text, i.oid,"
    " 'left over from a rebuild that broke off'"
    " FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid"
    " WHERE i.relnamespace IN" MAINTAIN_OURS "AND NOT x.indisvalid"
    " AND i.relkind = 'i' AND i.relname ~ '_cc(new|old)[0-9]*$'"
    " UNION ALL "
    "SELECT 2, format('REINDEX INDEX CONCURRENTLY %s', i.oid::regclass),"
    " i.oid::regclass::text, i.oid, CASE WHEN NOT x.indisvalid"
    " THEN 'not usable' ELSE 'mostly air' END"
    " FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid"
    " WHERE i.relnamespace IN" MAINTAIN_OURS "AND i.relkind = 'i'"
    " AND i.relname !~ '_cc(new|old)[0-9]*$'"
    " AND (NOT x.indisvalid OR" MAINTAIN_BLOAT ")"
    " UNION ALL "
    "SELECT 3, format('VACUUM (ANALYZE, SKIP_LOCKED) %s', s.relid::regclass),"
    " s.relid::regclass::text, s.relid,"
    " format('%s dead rows beside %s', s.n_dead_tup, s.n_live_tup)"
    " FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid"
    " WHERE c.relnamespace IN" MAINTAIN_OURS "AND" MAINTAIN_DEAD " UNION ALL "
    "SELECT 4, format('ANALYZE (SKIP_LOCKED) %s', s.relid::regclass),"
    " s.relid::regclass::text, s.relid,"
    " format('%s rows changed since it was analysed', s.n_mod_since_analyze)"
    " FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid"
    " WHERE c.relnamespace IN" MAINTAIN_OURS "AND NOT" MAINTAIN_DEAD
    "AND" MAINTAIN_STALE "ORDER BY 1, 3";

enum { COLUMN_STEP, COLUMN_SQL, COLUMN_NAME, COLUMN_OID, COLUMN_WHY };

/* The size of a table or index for people; "gone" once it was dropped. */
static void
measure(PGconn *conn, const char *oid, char *out, size_t size)
{
	AUTO_PGRESULT PGresult *r = NULL;

	snprintf(out, size, "?");
	if (ctl_query(conn,
		"SELECT coalesce((SELECT pg_size_pretty(pg_relation_size(oid))"
		" FROM pg_class WHERE oid = $1::oid), 'gone')",
		1, &oid, &r) == CTL_OK)
		snprintf(out, size, "%s", PQgetvalue(r, 0, 0));
}

/*
 * A rebuilt index is a new relation under the old one's name: look it up by
 * that. The name comes from regclass and is quoted where it must be.
 */
static void
measure_named(PGconn *conn, const char *name, char *out, size_t size)
{
	AUTO_PGRESULT PGresult *r = NULL;

	snprintf(out, size, "?");
	if (ctl_query(conn,
		"SELECT coalesce(pg_size_pretty(pg_relation_size("
		"to_regclass($1))), 'gone')",
		1, &name, &r) == CTL_OK)
		snprintf(out, size, "%s", PQgetvalue(r, 0, 0));
}

static enum ctl_exit
do_row(PGconn *conn, const PGresult *plan, int i, bool is_dry)
{
	const char *sql = PQgetvalue(plan, i, COLUMN_SQL);
	const char *name = PQgetvalue(plan, i, COLUMN_NAME);
	char before[32], after[32] = "";
	enum ctl_exit code;

	measure(conn, PQgetvalue(plan, i, COLUMN_OID), before, sizeof(before));
	code = is_dry ? CTL_OK : ctl_run(conn, sql);
	if (!is_dry)
		measure_named(conn, name, after, sizeof(after));
	printf("%-8.*s  %-50s  %10s  %10s  %s%s\n", (int)strcspn(sql, " "), sql,
	    name, before, after, PQgetvalue(plan, i, COLUMN_WHY),
	    code == CTL_OK ? "" : " (NOT DONE)");
	fflush(stdout);
	return code;
}

static enum ctl_exit
check_owner(PGconn *conn)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = ctl_query(conn,
	    "SELECT pg_has_role(oid, 'USAGE'), current_user FROM pg_roles "
	    "WHERE rolname = 'natter_owner'",
	    0, NULL, &r);

	if (code != CTL_OK)
		return code;
	if (PQntuples(r) == 0 || PQgetvalue(r, 0, 0)[0] != 't')
		return ctl_refuse(CTL_CONFIG,
		    "the tables are not this role's: OWNER_DATABASE_URL must "
		    "be that of natter_migrate");
	return CTL_OK;
}

static enum ctl_exit
maintain(PGconn *conn, bool is_dry)
{
	AUTO_PGRESULT PGresult *lock = NULL, *plan = NULL;
	enum ctl_exit code = check_owner(conn), worst;

	if (code == CTL_OK)
		code = ctl_run(conn, settings_sql);
	if (code == CTL_OK)
		code = ctl_query(conn, LOCK_SQL, 0, NULL, &lock);
	if (code != CTL_OK)
		return code;
	if (PQgetvalue(lock, 0, 0)[0] != 't')
		return ctl_refuse(
		    CTL_FAILED, "another natterctl maintain is running");
	code = ctl_query(conn, plan_sql, 0, NULL, &plan);
	if (code != CTL_OK)
		return code;
	if (PQntuples(plan) == 0) {
		puts("Nothing needs maintenance.");
		return CTL_OK;
	}
	printf("%-8s  %-50s  %10s  %10s  %s\n", "", "", "before", "after",
	    "because");
	worst = CTL_OK;
	for (int i = 0; i < PQntuples(plan); i++) {
		code = do_row(conn, plan, i, is_dry);
		if (code != CTL_OK)
			worst = code;
	}
	if (is_dry)
		puts("Nothing was changed (--dry-run).");
	return worst;
}

enum ctl_exit
ctl_maintain(const struct command *self, int argc, char **argv)
{
	bool is_dry = false;
	PGconn *conn = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"dry-run", OPTION_FLAG, &is_dry},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	code = ctl_connect_owner(&conn);
	if (code == CTL_OK)
		code = maintain(conn, is_dry);
	PQfinish(conn);
	return code;
}
