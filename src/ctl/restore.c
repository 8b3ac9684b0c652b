/*
 * natterctl restore: checks a backup against its manifest, brings it into an
 * empty database in one transaction, and compares every table afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/backup.h"
#include "ctl/pg_program.h"

/* What must be so before anything is touched; each row gives a sentence. */
static const struct {
	const char *sql; /* one boolean: is it so? */
	const char *sentence;
} conditions[] = {
    {"SELECT rolsuper FROM pg_roles WHERE rolname = current_user",
	"only a superuser can restore: set SUPERUSER_DATABASE_URL, or run this "
	"as the system user postgres"},
    {"SELECT count(*) = 6 FROM pg_roles WHERE rolname IN ('natter_owner', "
     "'natter_migrate', 'natter_app', 'natter_jobs', 'natter_auth', "
     "'natter_search')",
	"the roles are not there: run natterctl bootstrap first"},
    {"SELECT encoding = pg_char_to_encoding('UTF8') AND pg_get_userbyid("
     "datdba) = 'natter_owner' FROM pg_database WHERE datname = "
     "current_database()",
	"the database was not made by natterctl bootstrap: run it with "
	"--database first"},
    {"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = "
     "current_database() AND usename IN ('natter_app', 'natter_jobs'))",
	"natterd is connected to this database: stop it first"},
};

static const char empty_sql[] =
    "SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname IN ('auth', "
    "'chat', 'audit', 'natter', 'extensions')) AND NOT EXISTS (SELECT FROM "
    "pg_class WHERE relnamespace = 'public'::regnamespace)";

/* What --replace takes away: everything that a restore brings. */
static const char drop_sql[] =
    "SET client_min_messages = warning; BEGIN;"
    "DROP SCHEMA IF EXISTS chat, auth, audit, natter, extensions CASCADE;"
    "COMMIT";

/* Asks for one boolean; CTL_FAILED with the sentence when it is not true. */
static enum ctl_exit
demand(PGconn *conn, const char *sql, const char *sentence)
{
	AUTO_PGRESULT PGresult *r = PQexec(conn, sql);

	if (!ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
	if (PQntuples(r) != 1 || PQgetvalue(r, 0, 0)[0] != 't')
		return ctl_refuse(CTL_FAILED, "%s", sentence);
	return CTL_OK;
}

static enum ctl_exit
check_version(PGconn *conn, const struct manifest *m)
{
	struct migrations *files = NULL;
	char why[MIGRATIONS_WHY];
	int newest;

	if (migrations_load(NULL, &files, why) != OK)
		return ctl_refuse(CTL_FAILED, "%s", why);
	newest = files->n > 0 ? files->list[files->n - 1].version : 0;
	migrations_free(files);
	if (m->schema_version > newest)
		return ctl_refuse(CTL_FAILED,
		    "the backup's schema is %03d, this natterctl knows %03d: "
		    "use the natterctl that made it, or a newer one",
		    m->schema_version, newest);
	if (PQserverVersion(conn) / 10000 < m->server_version / 10000)
		return ctl_refuse(CTL_FAILED,
		    "the backup comes from PostgreSQL %d, this is %d: restore "
		    "it into the same version or a newer one",
		    m->server_version / 10000, PQserverVersion(conn) / 10000);
	return CTL_OK;
}

static enum ctl_exit
check_target(PGconn *conn, const struct manifest *m, bool may_replace)
{
	enum ctl_exit code = CTL_OK;

	for (size_t i = 0;
	     code == CTL_OK && i < sizeof(conditions) / sizeof(conditions[0]);
	     i++)
		code = demand(conn, conditions[i].sql, conditions[i].sentence);
	if (code == CTL_OK)
		code = check_version(conn, m);
	if (code != CTL_OK || may_replace)
		return code;
	return demand(conn, empty_sql,
	    "the database is not empty: restore into another one (natterctl "
	    "bootstrap --database NAME makes it), or say --replace to lose "
	    "what is in this one");
}

/* pg_restore, or psql for a plain backup, in one transaction. */
static enum ctl_exit
load(PGconn *conn, enum backup_form form, int fd)
{
	const char *const compressed[] = {"pg_restore", "--exit-on-error",
	    "--single-transaction", "-d", PQdb(conn), NULL};
	const char *const plain[] = {"psql", "-X", "-q", "-o", "/dev/null",
	    "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", "-", NULL};
	const char *const *argv = form == BACKUP_PLAIN ? plain : compressed;
	enum ctl_exit code;
	pid_t pid;

	if (lseek(fd, 0, SEEK_SET) != 0)
		return ctl_refuse(CTL_FAILED, "%s", strerror(errno));
	code = pg_program_start(conn, argv, fd, -1, &pid);
	return code == CTL_OK ? pg_program_wait(pid, argv[0]) : code;
}

/* Are the rows those that were backed up? */
static enum ctl_exit
compare(PGconn *conn, const struct manifest *m)
{
	struct table_sums have = {0};
	enum ctl_exit code = table_sums_read(conn, &have);

	if (code != CTL_OK)
		return code;
	code = table_sums_compare(
	    &m->tables, &have, m->has_keys ? NULL : BACKUP_KEYS);
	table_sums_clear(&have);
	if (code != CTL_OK)
		return ctl_refuse(CTL_FAILED,
		    "the restored copy is not what was backed up: do not use "
		    "it");
	return CTL_OK;
}

static enum ctl_exit
restore(PGconn *conn, const struct manifest *m, int fd, bool may_replace)
{
	enum ctl_exit code = check_target(conn, m, may_replace);

	if (code == CTL_OK)
		code = backup_read_through(conn, m->form, fd);
	if (code == CTL_OK && may_replace)
		code = ctl_run(conn, drop_sql);
	if (code == CTL_OK)
		code = load(conn, m->form, fd);
	if (code == CTL_OK)
		code = compare(conn, m);
	if (code == CTL_OK)
		code = ctl_run(conn, "ANALYZE");
	if (code == CTL_OK)
		code = ctl_run(conn, "SELECT audit.note('backup.restore', "
				     "'database', NULL, NULL)");
	if (code == CTL_OK)
		printf("Restored %zu tables of %s as of %s, all of them "
		       "equal%s.\nNow run natterctl migrate verify, and empty "
		       "Redis before natterd starts.\n",
		    m->tables.n, m->database, m->made_at,
		    m->has_keys ? ""
				: "; the keys of users' data were left out");
	return code;
}

enum ctl_exit
ctl_restore(const struct command *self, int argc, char **argv)
{
	static const char *const names[] = {"SUPERUSER_DATABASE_URL", NULL};
	const char *file = NULL, *database = NULL;
	bool may_replace = false;
	struct manifest m = {0};
	PGconn *conn = NULL;
	enum ctl_exit code;
	int fd = -1;
	const struct option_row rows[] = {
	    {"database", OPTION_TEXT, &database},
	    {"replace", OPTION_FLAG, &may_replace},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, &file, 1, &code))
		return code;
	if (database != NULL && strpbrk(database, "=:/\"\\\n") != NULL)
		return ctl_refuse(CTL_USAGE,
		    "--database takes the database's name, not a URL");
	code = manifest_read(file, &m);
	if (code != CTL_OK)
		return code;
	fd = open(file, O_RDONLY | O_CLOEXEC);
	code = fd >= 0
		   ? backup_check(&m, file, fd)
		   : ctl_refuse(CTL_FAILED, "%s: %s", file, strerror(errno));
	if (code == CTL_OK)
		code = backup_connect(names, database, &conn);
	if (code == CTL_OK)
		code = restore(conn, &m, fd, may_replace);
	if (fd >= 0)
		close(fd);
	manifest_clear(&m);
	PQfinish(conn);
	return code;
}
