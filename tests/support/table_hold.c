/*
 * A transaction with a lock, on a connection of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "stack.h"
#include "table_hold.h"

static void
run(PGconn *c, const char *sql)
{
	PGresult *r = PQexec(c, sql);

	cr_assert(PQresultStatus(r) == PGRES_COMMAND_OK, "%s: %s", sql,
	    PQerrorMessage(c));
	PQclear(r);
}

PGconn *
table_hold(const char *table)
{
	PGconn *c = PQconnectdb(getenv("SUPERUSER_DATABASE_URL"));
	char sql[160];

	snprintf(sql, sizeof(sql), "LOCK TABLE %s IN SHARE MODE", table);
	run(c, "BEGIN");
	run(c, sql);
	return c;
}

void
table_let(PGconn *held)
{
	run(held, "ROLLBACK");
	PQfinish(held);
}

bool
table_is_awaited(void *table)
{
	char n[16];

	db_value("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a"
		 " USING (pid) WHERE NOT l.granted"
		 " AND l.relation = $1::regclass"
		 " AND a.application_name = 'natterd ledger'",
	    table, n, sizeof(n));
	return strcmp(n, "0") != 0;
}
