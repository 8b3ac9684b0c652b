/*
 * natterctl migrate verify: asks the catalogue the questions of verify.def and
 * compares the record with the files. Changes nothing.
 */
#include <stdio.h>

#include "ctl/migration_plan.h"

static const struct {
	const char *amiss;
	const char *remedy;
	const char *sql;
} checks[] = {
#define CHECK(amiss, remedy, sql) {amiss, remedy, sql},
#include "ctl/verify.def"
#undef CHECK
};

static enum ctl_exit
run_check(PGconn *conn, size_t i)
{
	AUTO_PGRESULT PGresult *r = PQexec(conn, checks[i].sql);

	if (!ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "cannot look for a %s: %s",
		    checks[i].amiss, ctl_pg_message(conn, r));
	for (int row = 0; row < PQntuples(r); row++)
		ctl_note("%s: %s (%s)", checks[i].amiss,
		    PQgetisnull(r, row, 0) ? "the database"
					   : PQgetvalue(r, row, 0),
		    checks[i].remedy);
	return PQntuples(r) > 0 ? CTL_FAILED : CTL_OK;
}

/* What is pending is amiss here too. */
static enum ctl_exit
check_pending(const struct migration_plan *p)
{
	enum ctl_exit code = CTL_OK;

	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].state == PLAN_PENDING)
			code = ctl_refuse(CTL_FAILED,
			    "%03d_%s is not applied: run natterctl migrate up",
			    p->list[i].version, p->list[i].name);
	return code;
}

static enum ctl_exit
verify(PGconn *conn, const struct migrations *files)
{
	struct migration_plan *plan = NULL;
	enum ctl_exit worst = migration_plan_read(conn, files, &plan), code;

	if (worst != CTL_OK)
		return worst;
	worst = migration_plan_check(plan);
	code = check_pending(plan);
	if (code != CTL_OK)
		worst = code;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		code = run_check(conn, i);
		if (code != CTL_OK)
			worst = code;
	}
	if (worst == CTL_OK)
		printf("All is well: %zu migrations, %zu checks.\n", plan->n,
		    sizeof(checks) / sizeof(checks[0]));
	migration_plan_free(plan);
	return worst;
}

enum ctl_exit
ctl_migrate_verify(const struct command *self, int argc, char **argv)
{
	struct migrations *files = NULL;
	const char *folder = NULL;
	PGconn *conn = NULL;
	char why[MIGRATIONS_WHY];
	enum ctl_exit code;
	const struct option_row rows[] = {{"dir", OPTION_TEXT, &folder}, {0}};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (migrations_load(folder, &files, why) != OK)
		return ctl_refuse(CTL_FAILED, "%s", why);
	code = ctl_connect_owner(&conn);
	if (code == CTL_OK)
		code = migration_role_check(conn);
	if (code == CTL_OK)
		code = verify(conn, files);
	migrations_free(files);
	PQfinish(conn);
	return code;
}
