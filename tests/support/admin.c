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

#define TEMPLATE "natter_template"

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
admin_use(const char *name)
{
	char *url =
	    server_url_with(getenv("TEST_DATABASE_URL"), "dbname", name);

	setenv("SUPERUSER_DATABASE_URL", url, 1);
	setenv("OWNER_DATABASE_URL", admin_url("natter_migrate"), 1);
	free(url);
}

static void
expect_success(struct command_end end, const char *what)
{
	if (end.code != 0)
		fail(what, end.err);
	command_end_clear(&end);
}

void
admin_database(const char *name)
{
	admin_drop(name);
	admin_use(name);
	expect_success(RUN(admin_natterctl(), "bootstrap", "--database", name),
	    "bootstrap");
}

static void
make_schema(const char *name)
{
	admin_database(name);
	expect_success(RUN(admin_natterctl(), "migrate", "up"), "migrate up");
}

static bool
fill_with_schema(struct server *s)
{
	setenv("TEST_DATABASE_URL", s->url, 1);
	make_schema(TEMPLATE);
	return true;
}

static bool
start_with_template(struct server *s, const char *const *options)
{
	return server_start_filled(s, options, "schema", fill_with_schema) &&
	       setenv("TEST_DATABASE_URL", s->url, 1) == 0;
}

bool
admin_start_schema(
    struct server *s, const char *const *options, const char *name)
{
	char sql[128];

	if (!start_with_template(s, options))
		return false;
	snprintf(
	    sql, sizeof(sql), "ALTER DATABASE " TEMPLATE " RENAME TO %s", name);
	server_sql(s->url, sql);
	admin_use(name);
	return true;
}

void
admin_provide_schema(void)
{
	static struct server s;
	const char *given = getenv("TEST_DATABASE_URL");

	if (given != NULL && given[0] != '\0')
		return;
	if (!start_with_template(&s, NULL))
		fail("schema", "no server that knows it");
}

/* What CREATE DATABASE leaves out: rights on the database, and settings. */
#define COPY_REST(from)                                                       \
	"UPDATE pg_database d SET datacl = t.datacl FROM pg_database t"       \
	" WHERE d.datname = current_database() AND t.datname = '" from "';"   \
	"INSERT INTO pg_db_role_setting SELECT d.oid, s.setrole, s.setconfig" \
	" FROM pg_db_role_setting s JOIN pg_database t ON t.oid ="            \
	" s.setdatabase JOIN pg_database d ON d.datname = current_database()" \
	" WHERE t.datname = '" from "'"

void
admin_clone(const char *from, const char *name)
{
	char sql[1024];

	admin_drop(name);
	snprintf(sql, sizeof(sql),
	    "CREATE DATABASE %s TEMPLATE %s OWNER natter_owner", name, from);
	server_sql(getenv("TEST_DATABASE_URL"), sql);
	admin_use(name);
	snprintf(sql, sizeof(sql), COPY_REST("%s"), from, from);
	admin_sql(sql);
}

static bool
has_template(void)
{
	char *n;
	bool has;

	admin_use("postgres");
	n = admin_value(
	    "SELECT count(*) FROM pg_database WHERE datname = '" TEMPLATE "'");
	has = strcmp(n, "1") == 0;
	free(n);
	return has;
}

void
admin_schema(const char *name)
{
	if (has_template())
		admin_clone(TEMPLATE, name);
	else
		make_schema(name);
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
