/*
 * natterctl backup: pg_dump and the sums of every table, of one and the same
 * snapshot, into a file with a manifest beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/backup.h"
#include "ctl/pg_program.h"

/* Who sees everything; a role of policies would dump the rows of nobody. */
static const char sees_all_sql[] =
    "SELECT r.rolname, r.rolsuper OR r.rolbypassrls, r.rolsuper OR "
    "pg_has_role(r.oid, 'pg_read_all_data', 'USAGE'), "
    "to_regclass('natter.schema_migrations') IS NOT NULL "
    "FROM pg_roles r WHERE r.rolname = current_user";

enum ctl_exit
backup_connect(
    const char *const *names, const char *database, PGconn **out_conn)
{
	const char *name = "SUPERUSER_DATABASE_URL";
	char *url = NULL;
	enum err e = ERR_NOT_FOUND;
	enum ctl_exit code;

	for (; *names != NULL && e == ERR_NOT_FOUND; names++) {
		name = *names;
		e = ctl_secret(name, &url);
	}
	if (e != OK && e != ERR_NOT_FOUND)
		return CTL_CONFIG;
	if (url == NULL && database == NULL && getenv("PGDATABASE") == NULL &&
	    getenv("PGSERVICE") == NULL)
		database = "natter";
	code = ctl_connect(name, url != NULL ? url : "", database, out_conn);
	ctl_wipe(url);
	return code;
}

static enum ctl_exit
check_role(PGconn *conn)
{
	AUTO_PGRESULT PGresult *r = PQexec(conn, sees_all_sql);

	if (!ctl_is_ok(r) || PQntuples(r) != 1)
		return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
	if (PQgetvalue(r, 0, 1)[0] != 't' || PQgetvalue(r, 0, 2)[0] != 't')
		return ctl_refuse(CTL_CONFIG,
		    "the role %s does not see all rows: set "
		    "BACKUP_DATABASE_URL (or SUPERUSER_DATABASE_URL) to a "
		    "superuser's, or to a role made with CREATE ROLE ... LOGIN "
		    "BYPASSRLS IN ROLE pg_read_all_data",
		    PQgetvalue(r, 0, 0));
	if (PQgetvalue(r, 0, 3)[0] != 't')
		return ctl_refuse(CTL_FAILED,
		    "the database %s holds no Natter: name the right one in "
		    "the URL",
		    PQdb(conn));
	return CTL_OK;
}

/* The snapshot that both we and pg_dump read; *out_id is to be freed. */
static enum ctl_exit
begin(PGconn *conn, struct manifest *m, char **out_id)
{
	AUTO_PGRESULT PGresult *b = PQexec(conn,
	    "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
	AUTO_PGRESULT PGresult *r = PQexec(conn,
	    "SELECT pg_export_snapshot(), to_char(now() AT TIME ZONE 'UTC', "
	    "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), (SELECT coalesce(max(version), "
	    "0) FROM natter.schema_migrations)");

	if (!ctl_is_ok(b) || !ctl_is_ok(r))
		return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
	m->server_version = PQserverVersion(conn);
	m->schema_version = (int)strtol(PQgetvalue(r, 0, 2), NULL, 10);
	m->made_at = strdup(PQgetvalue(r, 0, 1));
	m->database = strdup(PQdb(conn));
	*out_id = strdup(PQgetvalue(r, 0, 0));
	if (m->made_at == NULL || m->database == NULL || *out_id == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	return CTL_OK;
}

/* pg_dump of that snapshot into `fd`. */
static enum ctl_exit
dump(PGconn *conn, const struct manifest *m, const char *snapshot, int fd)
{
	const char *argv[8] = {"pg_dump", "--snapshot", snapshot,
	    m->form == BACKUP_PLAIN ? "--format=plain" : "--format=custom"};
	enum ctl_exit code;
	size_t n = 4;
	pid_t pid;

	argv[n++] = "--lock-wait-timeout=60000";
	if (!m->has_keys)
		argv[n++] = "--exclude-table-data=" BACKUP_KEYS;
	code = pg_program_start(conn, argv, -1, fd, &pid);
	return code == CTL_OK ? pg_program_wait(pid, argv[0]) : code;
}

/* Dumps, reads back what was written and sums up the tables. */
static enum ctl_exit
fill(PGconn *conn, struct manifest *m, int fd)
{
	char *snapshot = NULL;
	enum ctl_exit code = begin(conn, m, &snapshot);

	if (code == CTL_OK)
		code = dump(conn, m, snapshot, fd);
	free(snapshot);
	if (code == CTL_OK && fsync(fd) != 0)
		code = ctl_refuse(CTL_FAILED, "%s", strerror(errno));
	if (code == CTL_OK)
		code = backup_read_through(conn, m->form, fd);
	if (code == CTL_OK)
		code = backup_checksum(fd, &m->bytes, m->sha256);
	if (code == CTL_OK)
		code = table_sums_read(conn, &m->tables);
	PQclear(PQexec(conn, "ROLLBACK"));
	return code;
}

/* `output`, or a file named after the database and the time in that folder. */
static char *
choose_path(const char *output, const char *database, enum backup_form form)
{
	const char *suffix = form == BACKUP_PLAIN ? "sql" : "dump";
	struct stat st;
	char when[32], *path = NULL;
	time_t now = time(NULL);
	struct tm tm;

	if (output != NULL && (stat(output, &st) != 0 || !S_ISDIR(st.st_mode)))
		return strdup(output);
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	if (asprintf(&path, "%s/%s-%s.%s", output != NULL ? output : ".",
		database, when, suffix) < 0)
		return NULL;
	return path;
}

/* The snapshot was read only: the audit log's row comes after it. */
static void
note_backup(PGconn *conn)
{
	AUTO_PGRESULT PGresult *r = PQexec(
	    conn, "SELECT audit.note('backup.make', 'database', NULL, NULL)");

	if (!ctl_is_ok(r))
		ctl_note("the audit log has no row about this backup: %s",
		    ctl_pg_message(conn, r));
}

static enum ctl_exit
backup(PGconn *conn, const char *output, struct manifest *m)
{
	char *path = choose_path(output, PQdb(conn), m->form);
	struct new_file f = {.fd = -1};
	enum ctl_exit code = path != NULL
				 ? new_file_open(&f, path)
				 : ctl_refuse(CTL_FAILED, "out of memory");

	if (code == CTL_OK)
		code = fill(conn, m, f.fd);
	if (code == CTL_OK)
		code = new_file_keep(&f);
	if (code == CTL_OK)
		code = manifest_write(m, path);
	if (code == CTL_OK)
		note_backup(conn);
	if (code == CTL_OK)
		printf("%s: %lld bytes, %zu tables, schema %03d%s.\n", path,
		    (long long)m->bytes, m->tables.n, m->schema_version,
		    m->has_keys ? "" : ", without the keys of users' data");
	new_file_close(&f);
	free(path);
	return code;
}

enum ctl_exit
ctl_backup(const struct command *self, int argc, char **argv)
{
	static const char *const names[] = {
	    "BACKUP_DATABASE_URL", "SUPERUSER_DATABASE_URL", NULL};
	bool is_plain = false, is_compressed = false, is_keyless = false;
	const char *output = NULL;
	struct manifest m = {0};
	PGconn *conn = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"output", OPTION_TEXT, &output},
	    {"plain", OPTION_FLAG, &is_plain},
	    {"compressed", OPTION_FLAG, &is_compressed},
	    {"without-keys", OPTION_FLAG, &is_keyless},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, NULL, 0, &code))
		return code;
	if (is_plain && is_compressed)
		return ctl_refuse(
		    CTL_USAGE, "--plain and --compressed: give one of them");
	m.form = is_plain ? BACKUP_PLAIN : BACKUP_COMPRESSED;
	m.has_keys = !is_keyless;
	code = backup_connect(names, NULL, &conn);
	if (code == CTL_OK)
		code = check_role(conn);
	if (code == CTL_OK)
		code = backup(conn, output, &m);
	manifest_clear(&m);
	PQfinish(conn);
	return code;
}
