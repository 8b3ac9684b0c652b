/*
 * natterctl bootstrap: the one step that needs a superuser. Makes the database
 * and runs the built-in bootstrap.sql in it; sets passwords as SCRAM verifiers
 * made here, so that no password goes to the server or its log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/migration_files.h"

/* The roles that log in, and where their passwords come from. */
static const struct {
	const char *role;
	const char *secret;
} logins[] = {
    {"natter_app", "NATTER_APP_PASSWORD"},
    {"natter_migrate", "NATTER_MIGRATE_PASSWORD"},
    {"natter_jobs", "NATTER_JOBS_PASSWORD"},
};
#define N_LOGINS (sizeof(logins) / sizeof(logins[0]))

static enum ctl_exit
run_sql(PGconn *conn, const char *sql)
{
	AUTO_PGRESULT PGresult *r = PQexec(conn, sql);

	if (ctl_is_ok(r))
		return CTL_OK;
	return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
}

/* Connects as a superuser; `dbname` overrides the URL's database. */
static enum ctl_exit
connect_superuser(const char *dbname, PGconn **out_conn)
{
	char *url = NULL;
	enum err e = ctl_secret("SUPERUSER_DATABASE_URL", &url);
	enum ctl_exit code;

	if (e != OK && e != ERR_NOT_FOUND)
		return CTL_CONFIG;
	code = ctl_connect(
	    "SUPERUSER_DATABASE_URL", url != NULL ? url : "", dbname, out_conn);
	ctl_wipe(url);
	return code;
}

static enum ctl_exit
check_superuser(PGconn *conn)
{
	const char *is_super = PQparameterStatus(conn, "is_superuser");

	if (is_super != NULL && strcmp(is_super, "on") == 0)
		return CTL_OK;
	return ctl_refuse(CTL_FAILED,
	    "%s is not a superuser: set SUPERUSER_DATABASE_URL, or run this as "
	    "the system user postgres",
	    PQuser(conn));
}

/* CREATE DATABASE, with the name quoted; NULL without memory. */
static char *
create_sql(PGconn *conn, const char *database)
{
	char *name = PQescapeIdentifier(conn, database, strlen(database));
	char *sql = NULL;

	if (name != NULL &&
	    asprintf(&sql,
		"CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8' "
		"LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'",
		name) < 0)
		sql = NULL;
	PQfreemem(name);
	return sql;
}

/* Makes the database unless it is there. */
static enum ctl_exit
make_database(const char *database)
{
	PGconn *conn = NULL;
	PGresult *r = NULL;
	char *sql = NULL;
	enum ctl_exit code = connect_superuser("postgres", &conn);

	if (code == CTL_OK)
		code = check_superuser(conn);
	if (code != CTL_OK)
		goto out;
	r = PQexecParams(conn, "SELECT FROM pg_database WHERE datname = $1", 1,
	    NULL, &database, NULL, NULL, 0);
	if (!ctl_is_ok(r)) {
		code = ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
		goto out;
	}
	if (PQntuples(r) > 0)
		goto out;
	sql = create_sql(conn, database);
	code = sql != NULL ? run_sql(conn, sql)
			   : ctl_refuse(CTL_FAILED, "out of memory");
	if (code == CTL_OK)
		printf("Made the database %s.\n", database);
out:
	free(sql);
	PQclear(r);
	PQfinish(conn);
	return code;
}

/* Sets one role's password, when its variable is set. */
static enum ctl_exit
set_password(PGconn *conn, size_t i)
{
	char *password = NULL, *verifier = NULL, *quoted = NULL, *sql = NULL;
	enum err e = ctl_secret(logins[i].secret, &password);
	enum ctl_exit code = CTL_FAILED;

	if (e == ERR_NOT_FOUND)
		return CTL_OK;
	if (e != OK)
		return CTL_CONFIG;
	verifier = PQencryptPasswordConn(
	    conn, password, logins[i].role, "scram-sha-256");
	if (verifier != NULL)
		quoted = PQescapeLiteral(conn, verifier, strlen(verifier));
	if (quoted == NULL || asprintf(&sql, "ALTER ROLE %s PASSWORD %s",
				  logins[i].role, quoted) < 0) {
		sql = NULL;
		ctl_note("cannot make %s's password: %s", logins[i].role,
		    ctl_pg_message(conn, NULL));
		goto out;
	}
	code = run_sql(conn, sql);
	if (code == CTL_OK)
		printf("Set the password of %s.\n", logins[i].role);
out:
	ctl_wipe(sql);
	PQfreemem(quoted);
	PQfreemem(verifier);
	ctl_wipe(password);
	return code;
}

/* Roles, rights and passwords, all or none. */
static enum ctl_exit
make_roles(const char *database, const char *sql)
{
	PGconn *conn = NULL;
	enum ctl_exit code = connect_superuser(database, &conn);

	if (code == CTL_OK)
		code = run_sql(conn, "BEGIN");
	if (code == CTL_OK)
		code = run_sql(conn, sql);
	for (size_t i = 0; code == CTL_OK && i < N_LOGINS; i++)
		code = set_password(conn, i);
	if (code == CTL_OK)
		code = run_sql(conn, "COMMIT");
	PQfinish(conn);
	return code;
}

static void
print_sql(const char *database, const char *sql)
{
	printf(
	    "-- As a superuser, unless the database is there:\n"
	    "-- CREATE DATABASE \"%s\" TEMPLATE template0 ENCODING 'UTF8' "
	    "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';\n"
	    "-- Then, connected to it:\n\n%s\n"
	    "-- Then ALTER ROLE ... PASSWORD 'SCRAM-SHA-256$...' for each of "
	    "natter_app, natter_migrate\n"
	    "-- and natter_jobs whose password is given.\n",
	    database, sql);
}

enum ctl_exit
ctl_bootstrap(const struct command *self, int argc, char **argv)
{
	const struct embedded_file *file = embedded_find("bootstrap.sql");
	const char *database = "natter";
	bool is_print = false;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"database", OPTION_TEXT, &database},
	    {"print-sql", OPTION_FLAG, &is_print},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (strpbrk(database, "=:/\"\\\n") != NULL || database[0] == '\0')
		return ctl_refuse(CTL_USAGE,
		    "--database takes the database's name, not a URL");
	if (is_print) {
		print_sql(database, file->text);
		return CTL_OK;
	}
	code = make_database(database);
	if (code == CTL_OK)
		code = make_roles(database, file->text);
	if (code == CTL_OK)
		printf("The roles and the database %s are as they should "
		       "be.\n",
		    database);
	return code;
}
