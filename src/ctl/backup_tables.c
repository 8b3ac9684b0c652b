/*
 * Sums over the rows of every table, to compare a restored copy with what was
 * backed up. A row counts with the first 128 bits of its text's SHA-256, added
 * up: the order of the rows does not matter, and a row too many or too few, or
 * another value in one, does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/backup.h"

/* What the text of a row depends on; and no row is hidden from us. */
static const char settings_sql[] =
    "SET row_security = off; SET TimeZone = 'UTC';"
    "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';"
    "SET bytea_output = 'hex'; SET extra_float_digits = 1;"
    "SET search_path = ''; SET xmloption = 'content'";

/* Partitions one by one; of extensions nothing is dumped. */
static const char tables_sql[] =
    "SELECT n.nspname || '.' || c.relname, format('SELECT count(*), "
    "coalesce(sum((''x'' || encode(substr(d, 1, 8), ''hex''))::bit(64)"
    "::bigint), 0) || '':'' || coalesce(sum((''x'' || encode(substr(d, 9, 8),"
    " ''hex''))::bit(64)::bigint), 0) FROM (SELECT sha256(convert_to("
    "natter_row::text, ''UTF8'')) AS d FROM ONLY %I.%I AS natter_row) AS s',"
    " n.nspname, c.relname)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND c.relpersistence = 'p'"
    " AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
    " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid ="
    " 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
    " ORDER BY (n.nspname || '.' || c.relname) COLLATE \"C\"";

static enum ctl_exit
sum_up(PGconn *conn, const char *name, const char *sql, struct table_sum *out)
{
	AUTO_PGRESULT PGresult *r = PQexec(conn, sql);

	if (!ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "cannot sum up %s: %s", name,
		    ctl_pg_message(conn, r));
	out->name = strdup(name);
	out->rows = strdup(PQgetvalue(r, 0, 0));
	out->sum = strdup(PQgetvalue(r, 0, 1));
	if (out->name == NULL || out->rows == NULL || out->sum == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	return CTL_OK;
}

enum ctl_exit
table_sums_read(PGconn *conn, struct table_sums *out)
{
	AUTO_PGRESULT PGresult *set = PQexec(conn, settings_sql);
	AUTO_PGRESULT PGresult *r =
	    ctl_is_ok(set) ? PQexec(conn, tables_sql) : NULL;
	enum ctl_exit code = CTL_OK;

	if (r == NULL || !ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "cannot list the tables: %s",
		    ctl_pg_message(conn, r != NULL ? r : set));
	*out = (struct table_sums){0};
	out->list = calloc((size_t)PQntuples(r) + 1, sizeof(*out->list));
	if (out->list == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	for (int i = 0; code == CTL_OK && i < PQntuples(r); i++)
		code = sum_up(conn, PQgetvalue(r, i, 0), PQgetvalue(r, i, 1),
		    &out->list[out->n++]);
	if (code != CTL_OK)
		table_sums_clear(out);
	return code;
}

void
table_sums_clear(struct table_sums *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->list[i].name);
		free(s->list[i].rows);
		free(s->list[i].sum);
	}
	free(s->list);
	*s = (struct table_sums){0};
}

/* Compares one table, present on both sides. */
static enum ctl_exit
compare_one(const struct table_sum *want, const struct table_sum *have)
{
	if (strcmp(want->rows, have->rows) != 0)
		return ctl_refuse(CTL_FAILED,
		    "%s has %s rows, and had %s when it was backed up",
		    want->name, have->rows, want->rows);
	if (strcmp(want->sum, have->sum) != 0)
		return ctl_refuse(CTL_FAILED,
		    "%s has other contents than when it was backed up",
		    want->name);
	return CTL_OK;
}

/* Where the next table stands: on both sides (0), or on one (-1 or 1). */
static int
next_side(const struct table_sums *want, size_t i,
    const struct table_sums *have, size_t j)
{
	if (i == want->n)
		return 1;
	if (j == have->n)
		return -1;
	return strcmp(want->list[i].name, have->list[j].name);
}

enum ctl_exit
table_sums_compare(const struct table_sums *want, const struct table_sums *have,
    const char *skip)
{
	enum ctl_exit worst = CTL_OK, code;
	size_t i = 0, j = 0;

	while (i < want->n || j < have->n) {
		int side = next_side(want, i, have, j);
		const char *name =
		    side <= 0 ? want->list[i].name : have->list[j].name;

		if (skip != NULL && strcmp(name, skip) == 0)
			code = CTL_OK; /* its rows stayed behind */
		else if (side < 0)
			code = ctl_refuse(CTL_FAILED, "%s is missing", name);
		else if (side > 0)
			code = ctl_refuse(
			    CTL_FAILED, "%s was not in the backup", name);
		else
			code = compare_one(&want->list[i], &have->list[j]);
		i += side <= 0;
		j += side >= 0;
		if (code != CTL_OK)
			worst = code;
	}
	return worst;
}
