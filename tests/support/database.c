/*
 * SQL for tests that prepare something to test against: by libpq alone, so
 * that nothing here stands on what is tested. Aborts on every failure.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "servers.h"

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "database: %s: %s\n", what, why);
	abort();
}

static void
add_pair(FILE *f, const char *key, const char *value)
{
	fprintf(f, "%s='", key);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			fputc('\\', f);
		fputc(*value, f);
	}
	fputs("' ", f);
}

char *
server_url_with(const char *url, const char *key, const char *value)
{
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (options == NULL || f == NULL)
		fail("url", url);
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (o->val != NULL && strcmp(o->keyword, key) != 0)
			add_pair(f, o->keyword, o->val);
	add_pair(f, key, value);
	fclose(f);
	PQconninfoFree(options);
	return text;
}

void
server_sql(const char *url, const char *sql)
{
	PGconn *conn = PQconnectdb(url);
	PGresult *r;

	if (PQstatus(conn) != CONNECTION_OK)
		fail("connect", PQerrorMessage(conn));
	r = PQexec(conn, "SET client_min_messages = warning");
	PQclear(r);
	r = PQexec(conn, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK &&
	    PQresultStatus(r) != PGRES_TUPLES_OK)
		fail(sql, PQerrorMessage(conn));
	PQclear(r);
	PQfinish(conn);
}

char *
server_database(const char *url, const char *name)
{
	char sql[256];

	snprintf(
	    sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
	server_sql(url, sql);
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
	server_sql(url, sql);
	return server_url_with(url, "dbname", name);
}
