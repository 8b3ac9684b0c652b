/*
 * Databases by natterctl, dumps by pg_dump, copies by cp.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "servers.h"

static char copy[64];

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "admin: %s: %s\n", what, why);
	abort();
}

const char *
admin_natterctl(void)
{
	const char *given = getenv("NATTERCTL");

	return given != NULL ? given : "./natterctl";
}

/*
 * Only the environment is kept: Criterion runs each test in a new process.
 */
void
admin_database(const char *name)
{
	struct command_end end;
	char *url =
	    server_url_with(getenv("TEST_DATABASE_URL"), "dbname", name);

	admin_drop(name);
	setenv("SUPERUSER_DATABASE_URL", url, 1);
	setenv("OWNER_DATABASE_URL", admin_url("natter_migrate"), 1);
	free(url);
	end = RUN(admin_natterctl(), "bootstrap", "--database", name);
	if (end.code != 0)
		fail("bootstrap", end.err);
	command_end_clear(&end);
}

void
admin_drop(const char *name)
{
	char sql[128];

	snprintf(
	    sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
	server_sql(getenv("TEST_DATABASE_URL"), sql);
}

const char *
admin_url(const char *role)
{
	static char *url;

	free(url);
	url = server_url_with(getenv("SUPERUSER_DATABASE_URL"), "user", role);
	return url;
}

void
admin_sql(const char *sql)
{
	server_sql(getenv("SUPERUSER_DATABASE_URL"), sql);
}

char *
admin_value(const char *sql)
{
	PGconn *conn = PQconnectdb(getenv("SUPERUSER_DATABASE_URL"));
	PGresult *r = PQexec(conn, sql);
	char *value;

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail(sql, PQerrorMessage(conn));
	value = strdup(PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	PQfinish(conn);
	return value;
}

/* Drops the lines \restrict and \unrestrict, whose word is random. */
static void
strip(char *dump)
{
	char *to = dump, *next;

	for (char *line = dump; *line != '\0'; line = next) {
		size_t n = strcspn(line, "\n");

		next = line + n + (line[n] == '\n');
		if (strncmp(line, "\\restrict", 9) == 0 ||
		    strncmp(line, "\\unrestrict", 11) == 0)
			continue;
		memmove(to, line, (size_t)(next - line));
		to += next - line;
	}
	*to = '\0';
}

char *
admin_dump(void)
{
	struct command_end end =
	    RUN("pg_dump", "-s", "-d", getenv("SUPERUSER_DATABASE_URL"));

	if (end.code != 0)
		fail("pg_dump", end.err);
	strip(end.out);
	free(end.err);
	return end.out;
}

const char *
admin_migrations(void)
{
	static char path[256];
	const char *srcdir = getenv("srcdir");

	snprintf(
	    path, sizeof(path), "%s/migrations", srcdir != NULL ? srcdir : ".");
	return path;
}

const char *
admin_copy(void)
{
	struct command_end end;
	char from[300];

	admin_remove_copy();
	strcpy(copy, "/tmp/natter-migrations-XXXXXX");
	if (mkdtemp(copy) == NULL)
		fail(copy, "cannot be made");
	snprintf(from, sizeof(from), "%s/.", admin_migrations());
	end = RUN("cp", "-R", "--no-preserve=mode", from, copy);
	if (end.code != 0)
		fail("cp", end.err);
	command_end_clear(&end);
	return copy;
}

void
admin_remove_copy(void)
{
	struct command_end end;

	if (copy[0] == '\0')
		return;
	end = RUN("rm", "-rf", copy);
	command_end_clear(&end);
	copy[0] = '\0';
}

static void
write_mode(const char *file, const char *text, const char *mode)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", copy, file);
	f = fopen(path, mode);
	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
		fail(path, "cannot be written");
}

void
admin_write(const char *file, const char *text)
{
	write_mode(file, text, "w");
}

void
admin_append(const char *file, const char *text)
{
	write_mode(file, text, "a");
}

void
admin_remove(const char *file)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", copy, file);
	if (unlink(path) != 0)
		fail(path, "cannot be removed");
}
