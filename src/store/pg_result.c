/*
 * What came back from Postgres: which error a refusal is, what the log may
 * say of it, and the values of a row. Also the parameter types, because a
 * wrong one is found here and not in the server.
 *
 * The log must never show what users wrote, so of a refusal only the primary
 * message is kept, never DETAIL ("Failing row contains (...)"), and of a data
 * error only the part before the value that it quotes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/pg_inside.h"

/* OIDs are part of Postgres's wire contract: they do not change. */
static const struct {
	const char *name;
	Oid oid;
} types_known[] = {
    {"bool", 16},
    {"bytea", 17},
    {"date", 1082},
    {"float8", 701},
    {"inet", 869},
    {"int2", 21},
    {"int4", 23},
    {"int8", 20},
    {"interval", 1186},
    {"json", 114},
    {"jsonb", 3802},
    {"numeric", 1700},
    {"text", 25},
    {"timestamptz", 1184},
    {"uuid", 2950},
    {"bool[]", 1000},
    {"bytea[]", 1001},
    {"int2[]", 1005},
    {"int4[]", 1007},
    {"int8[]", 1016},
    {"jsonb[]", 3807},
    {"numeric[]", 1231},
    {"text[]", 1009},
    {"timestamptz[]", 1185},
    {"uuid[]", 2951},
};

/*
 * SQLSTATEs that mean something to a caller, by their first characters; the
 * first row that matches counts.
 */
static const struct {
	const char *prefix;
	enum err err;
} sqlstates[] = {
    {"08", ERR_UNAVAILABLE},      /* the connection */
    {"22", ERR_INVALID_FIELD},    /* a malformed value */
    {"23505", ERR_CONFLICT},      /* unique */
    {"23514", ERR_INVALID_FIELD}, /* check */
    {"23P01", ERR_CONFLICT},      /* exclusion */
    {"25006", ERR_UNAVAILABLE},   /* read-only: a primary that was */
    {"25P03", ERR_UNAVAILABLE},   /* idle in transaction for too long */
    {"26000", ERR_UNAVAILABLE},   /* statement unknown: see is_stale */
    {"40", ERR_UNAVAILABLE},      /* serialization, deadlock */
    {"53", ERR_UNAVAILABLE},      /* disk, memory, connections */
    {"55P03", ERR_UNAVAILABLE},   /* lock time-out */
    {"57", ERR_UNAVAILABLE},      /* statement time-out, shutdown */
    {"NT403", ERR_FORBIDDEN},     /* raised by auth.admin_demand */
};

static Oid
type_named(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(types_known) / sizeof(*types_known); i++)
		if (strlen(types_known[i].name) == n &&
		    memcmp(types_known[i].name, name, n) == 0)
			return types_known[i].oid;
	return 0;
}

int
pg_types_parse(const char *types, Oid out_oids[static PG_PARAMS_MAX])
{
	int n = 0;

	for (;;) {
		size_t len;

		types += strspn(types, " ");
		len = strcspn(types, " ");
		if (len == 0)
			return n;
		if (n == PG_PARAMS_MAX)
			return PG_TYPES_NONE;
		out_oids[n] = type_named(types, len);
		if (out_oids[n++] == 0)
			return PG_TYPES_NONE;
		types += len;
	}
}

enum err
pg_fail(struct pg *pg, enum err e, const char *fmt, ...)
{
	va_list ap;

	pg->sqlstate[0] = '\0';
	pg->constraint[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(pg->why, sizeof(pg->why), fmt, ap);
	va_end(ap);
	return e;
}

enum err
pg_fail_connection(struct pg *pg)
{
	const char *message = PQerrorMessage(pg->conn);
	size_t n = strlen(message);

	while (n > 0 && message[n - 1] == '\n')
		n--;
	return pg_fail(pg, ERR_UNAVAILABLE, "%.*s", (int)n, message);
}

static enum err
err_of_sqlstate(const char *state)
{
	for (size_t i = 0; i < sizeof(sqlstates) / sizeof(*sqlstates); i++)
		if (strncmp(state, sqlstates[i].prefix,
			strlen(sqlstates[i].prefix)) == 0)
			return sqlstates[i].err;
	return ERR_INTERNAL;
}

/*
 * Errors that a new connection mends: the server became a standby (another
 * host of the URL may be the primary now), or the prepared statements are
 * gone (a pooler's DISCARD) or were planned for tables that a migration
 * changed ("cached plan must not change result type" is a 0A000).
 */
static bool
is_mended_by_reconnecting(const char *state, const char *message)
{
	return strcmp(state, "25006") == 0 || strcmp(state, "26000") == 0 ||
	       (strcmp(state, "0A000") == 0 &&
		   strncmp(message, "cached plan", strlen("cached plan")) == 0);
}

static const char *
result_field(const PGresult *r, int code)
{
	const char *text = PQresultErrorField(r, code);

	return text == NULL ? "" : text;
}

enum err
pg_fail_result(struct pg *pg, const char *name, const PGresult *r)
{
	const char *state = result_field(r, PG_DIAG_SQLSTATE);
	const char *message = result_field(r, PG_DIAG_MESSAGE_PRIMARY);
	const char *constraint = result_field(r, PG_DIAG_CONSTRAINT_NAME);
	bool is_quoting = strncmp(state, "22", 2) == 0;
	enum err e = err_of_sqlstate(state);

	if (state[0] == '\0') /* libpq's own: the server did not say it */
		return pg_fail_connection(pg);
	if (is_mended_by_reconnecting(state, message)) {
		pg->is_stale = true;
		e = ERR_UNAVAILABLE;
	}
	pg_fail(pg, e, "%s: %s %.*s%s%s", name, state,
	    (int)(is_quoting ? strcspn(message, ":\"") : strlen(message)),
	    message, constraint[0] == '\0' ? "" : ", constraint ", constraint);
	snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", state);
	snprintf(pg->constraint, sizeof(pg->constraint), "%s", constraint);
	return e;
}

const char *
pg_text(const PGresult *r, int row, int column)
{
	return PQgetisnull(r, row, column) ? NULL : PQgetvalue(r, row, column);
}

int64_t
pg_number(const PGresult *r, int row, int column)
{
	const char *text = pg_text(r, row, column);

	return text == NULL ? 0 : strtoll(text, NULL, 10);
}

bool
pg_flag(const PGresult *r, int row, int column)
{
	const char *text = pg_text(r, row, column);

	return text != NULL && text[0] == 't';
}

int
pg_rows(const PGresult *r)
{
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		return PQntuples(r);
	return (int)strtol(PQcmdTuples((PGresult *)(uintptr_t)r), NULL, 10);
}
