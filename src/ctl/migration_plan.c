/*
 * Comparing the files with natter.schema_migrations. Reads only.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/migration_plan.h"

enum ctl_exit
migration_role_check(PGconn *conn)
{
	AUTO_PGRESULT PGresult *r =
	    PQexec(conn, "SELECT session_user, (SELECT "
			 "pg_has_role(session_user, oid, 'MEMBER') "
			 "FROM pg_roles WHERE rolname = 'natter_owner')");

	if (!ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
	if (PQgetisnull(r, 0, 1))
		return ctl_refuse(CTL_FAILED,
		    "the role natter_owner does not exist: run natterctl "
		    "bootstrap first");
	if (PQgetvalue(r, 0, 1)[0] != 't')
		return ctl_refuse(CTL_CONFIG,
		    "the role %s may not become natter_owner: "
		    "OWNER_DATABASE_URL must be that of natter_migrate",
		    PQgetvalue(r, 0, 0));
	return CTL_OK;
}

/* Rows of (version, name, sha256, applied_at); none before the first one. */
static PGresult *
read_record(PGconn *conn)
{
	AUTO_PGRESULT PGresult *r = PQexec(
	    conn, "SELECT to_regclass('natter.schema_migrations') IS NOT NULL");

	if (!ctl_is_ok(r))
		return PQexec(conn, "SELECT 1 / 0");
	if (PQgetvalue(r, 0, 0)[0] == 't')
		return PQexec(conn,
		    "SELECT version, name, sha256, "
		    "to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD "
		    "HH24:MI:SS\"Z\"') "
		    "FROM natter.schema_migrations ORDER BY version");
	return PQexec(conn, "SELECT 0, '', '', '' WHERE false");
}

static void
put(struct migration_plan *p, int version, const struct migration *file,
    const PGresult *record, int row)
{
	struct plan_entry *e = &p->list[p->n++];

	e->version = version;
	e->file = file;
	if (row < 0 && file != NULL) {
		e->state = PLAN_PENDING;
		e->name = file->name;
		return;
	}
	e->name = PQgetvalue(record, row, 1);
	e->applied_at = PQgetvalue(record, row, 3);
	if (file == NULL)
		e->state = PLAN_MISSING;
	else if (strcmp(file->sha256, PQgetvalue(record, row, 2)) != 0 ||
		 strcmp(file->name, e->name) != 0)
		e->state = PLAN_EDITED;
	else
		e->state = PLAN_APPLIED;
}

/* Merges both sorted lists. */
static void
merge(struct migration_plan *p, const struct migrations *files)
{
	int rows = PQntuples(p->record), row = 0, newest;
	size_t i = 0;

	while (i < files->n || row < rows) {
		int at = row < rows ? (int)strtol(PQgetvalue(p->record, row, 0),
					  NULL, 10)
				    : 0;
		const struct migration *f =
		    i < files->n ? &files->list[i] : NULL;

		if (f == NULL || (row < rows && at < f->version)) {
			put(p, at, NULL, p->record, row++);
		} else if (row >= rows || f->version < at) {
			put(p, f->version, f, p->record, -1);
			i++;
		} else {
			put(p, at, f, p->record, row++);
			i++;
		}
	}
	newest = migration_plan_newest(p);
	for (i = 0; i < p->n; i++)
		if (p->list[i].state == PLAN_PENDING &&
		    p->list[i].version < newest)
			p->list[i].state = PLAN_DISORDER;
}

enum ctl_exit
migration_plan_read(PGconn *conn, const struct migrations *files,
    struct migration_plan **out_plan)
{
	struct migration_plan *p = calloc(1, sizeof(*p));
	size_t most;

	if (p == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	p->record = read_record(conn);
	if (!ctl_is_ok(p->record)) {
		ctl_note("cannot read natter.schema_migrations: %s",
		    ctl_pg_message(conn, p->record));
		migration_plan_free(p);
		return CTL_FAILED;
	}
	most = files->n + (size_t)PQntuples(p->record);
	p->list = calloc(most > 0 ? most : 1, sizeof(*p->list));
	if (p->list == NULL) {
		migration_plan_free(p);
		return ctl_refuse(CTL_FAILED, "out of memory");
	}
	merge(p, files);
	*out_plan = p;
	return CTL_OK;
}

void
migration_plan_free(struct migration_plan *p)
{
	if (p == NULL)
		return;
	PQclear(p->record);
	free(p->list);
	free(p);
}

enum ctl_exit
migration_plan_check(const struct migration_plan *p)
{
	enum ctl_exit code = CTL_OK;

	for (size_t i = 0; i < p->n; i++) {
		const struct plan_entry *e = &p->list[i];

		switch (e->state) {
		case PLAN_EDITED:
			code = ctl_refuse(CTL_FAILED,
			    "%03d_%s.up.sql is not the file that was applied "
			    "(%s, as %03d_%s): put it back as it was and make "
			    "a new migration for the change",
			    e->version, e->file->name, e->applied_at,
			    e->version, e->name);
			break;
		case PLAN_MISSING:
			code = ctl_refuse(CTL_FAILED,
			    "%03d_%s.up.sql is applied (%s) and missing here: "
			    "this natterctl is older than the database, or the "
			    "file was removed",
			    e->version, e->name, e->applied_at);
			break;
		case PLAN_DISORDER:
			code = ctl_refuse(CTL_FAILED,
			    "%03d_%s.up.sql is out of order: it is not "
			    "applied, and %03d is; give it a number after that",
			    e->version, e->name, migration_plan_newest(p));
			break;
		default:
			break;
		}
	}
	return code;
}

int
migration_plan_newest(const struct migration_plan *p)
{
	int newest = 0;

	for (size_t i = 0; i < p->n; i++)
		if (p->list[i].applied_at != NULL)
			newest = p->list[i].version;
	return newest;
}
