/*
 * What the commands share: sentences on stderr, options, secrets, the
 * connection. Knows no command.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env_file.h"
#include "ctl/ctl.h"

#define OPTIONS_MAX 12

static void
say(const char *fmt, va_list ap)
{
	fputs("natterctl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

enum ctl_exit
ctl_refuse(enum ctl_exit code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	return code;
}

void
ctl_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

static enum ctl_exit
usage(const struct command *self)
{
	fprintf(stderr, "usage: natterctl %s%s%s\n", self->name,
	    self->synopsis[0] != '\0' ? " " : "", self->synopsis);
	return CTL_USAGE;
}

static enum ctl_exit
help(const struct command *self)
{
	printf("usage: natterctl %s%s%s\n\n%s\n", self->name,
	    self->synopsis[0] != '\0' ? " " : "", self->synopsis, self->help);
	return CTL_OK;
}

static bool
store_option(const struct option_row *row, const char *value)
{
	long number;
	char *end;

	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)row->to = true;
		return true;
	case OPTION_TEXT:
		*(const char **)row->to = value;
		return true;
	default:
		errno = 0;
		number = strtol(value, &end, 10);
		if (errno != 0 || end == value || *end != '\0' || number < 0 ||
		    number > INT_MAX)
			return false;
		*(long *)row->to = number;
		return true;
	}
}

/* Fills getopt's table; the last row is --help. Returns how many. */
static int
fill_options(const struct option_row *rows, struct option *out)
{
	int n = 0;

	for (; rows != NULL && rows[n].name != NULL; n++) {
		out[n].name = rows[n].name;
		out[n].has_arg = rows[n].kind == OPTION_FLAG
				     ? no_argument
				     : required_argument;
		out[n].val = n;
	}
	out[n].name = "help";
	out[n].val = n;
	return n;
}

/* Parses the options; the words begin at argv[optind] then. */
static bool
parse_options(const struct command *self, int argc, char **argv,
    const struct option_row *rows, enum ctl_exit *out_code)
{
	struct option table[OPTIONS_MAX + 2] = {0};
	int n_rows = fill_options(rows, table), got;

	optind = 0;
	opterr = 0;
	while ((got = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (got == n_rows) {
			*out_code = help(self);
			return false;
		}
		if (got < 0 || got > n_rows) {
			ctl_note("%s: no such option, or its value is wanting",
			    argv[optind - 1]);
			*out_code = usage(self);
			return false;
		}
		if (!store_option(&rows[got], optarg)) {
			ctl_note("--%s takes a whole number, not \"%s\"",
			    rows[got].name, optarg);
			*out_code = usage(self);
			return false;
		}
	}
	return true;
}

bool
ctl_options(const struct command *self, int argc, char **argv,
    const struct option_row *rows, const char **words, size_t n_words,
    enum ctl_exit *out_code)
{
	if (!parse_options(self, argc, argv, rows, out_code))
		return false;
	if ((size_t)(argc - optind) != n_words) {
		*out_code = usage(self);
		return false;
	}
	for (size_t i = 0; i < n_words; i++)
		words[i] = argv[(size_t)optind + i];
	return true;
}

bool
ctl_options_maybe(const struct command *self, int argc, char **argv,
    const struct option_row *rows, const char **out_word,
    enum ctl_exit *out_code)
{
	if (!parse_options(self, argc, argv, rows, out_code))
		return false;
	if (argc - optind > 1) {
		*out_code = usage(self);
		return false;
	}
	*out_word = argv[optind];
	return true;
}

bool
ctl_options_list(const struct command *self, int argc, char **argv,
    const struct option_row *rows, char ***out_words, enum ctl_exit *out_code)
{
	if (!parse_options(self, argc, argv, rows, out_code))
		return false;
	if (optind == argc) {
		*out_code = usage(self);
		return false;
	}
	*out_words = &argv[optind];
	return true;
}

void
ctl_wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* Reads the secret file at `path`, which `what` describes. */
static enum err
read_secret(const char *what, const char *path, char **out_secret)
{
	char why[ENV_FILE_WHY];
	enum err e = env_secret_read(path, out_secret, why);

	if (e != OK)
		ctl_note("%s %s %s", what, path, why);
	return e == ERR_NOT_FOUND ? ERR_INVALID_FIELD : e;
}

enum err
ctl_secret(const char *name, char **out_secret)
{
	const char *plain = getenv(name), *folder, *path;
	char key[80], what[128], credential[PATH_MAX], why[ENV_FILE_WHY];
	enum err e;

	snprintf(key, sizeof(key), "%s_FILE", name);
	path = getenv(key);
	if (path != NULL && path[0] != '\0') {
		if (plain != NULL && plain[0] != '\0') {
			ctl_note("both %s and %s are set: keep one of them",
			    name, key);
			return ERR_INVALID_FIELD;
		}
		snprintf(what, sizeof(what), "%s names", key);
		return read_secret(what, path, out_secret);
	}
	if (plain != NULL && plain[0] != '\0') {
		*out_secret = strdup(plain);
		return *out_secret != NULL ? OK : ERR_INTERNAL;
	}
	folder = getenv("CREDENTIALS_DIRECTORY");
	if (folder == NULL || folder[0] == '\0')
		return ERR_NOT_FOUND;
	snprintf(credential, sizeof(credential), "%s/%s", folder, name);
	e = env_secret_read(credential, out_secret, why);
	if (e != OK && e != ERR_NOT_FOUND)
		ctl_note("the credential %s %s", credential, why);
	return e;
}

/* Appends `text` to `line` with newlines as "; ". */
static void
append_line(char *line, size_t size, const char *prefix, const char *text)
{
	size_t n = strlen(line);

	if (text == NULL || text[0] == '\0')
		return;
	n += (size_t)snprintf(line + n, size - n, "%s", prefix);
	for (; *text != '\0' && n + 3 < size; text++) {
		if (*text != '\n')
			line[n++] = *text;
		else if (text[1] != '\0') {
			line[n++] = ';';
			line[n++] = ' ';
		}
	}
	line[n] = '\0';
}

const char *
ctl_pg_message(PGconn *conn, const PGresult *r)
{
	static char line[1024];
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	line[0] = '\0';
	append_line(line, sizeof(line), "",
	    primary != NULL ? primary : PQerrorMessage(conn));
	append_line(line, sizeof(line), "; ",
	    PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL));
	append_line(line, sizeof(line), "; ",
	    PQresultErrorField(r, PG_DIAG_MESSAGE_HINT));
	return line;
}

void
ctl_result_cleanup(PGresult **r)
{
	PQclear(*r);
	*r = NULL;
}

bool
ctl_is_ok(const PGresult *r)
{
	ExecStatusType s = PQresultStatus(r);

	return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK ||
	       s == PGRES_EMPTY_QUERY;
}

/* Takes a result over: out, when it is good, or away, when it is not. */
static enum ctl_exit
take_result(PGconn *conn, PGresult *r, PGresult **out_result)
{
	enum ctl_exit code = CTL_OK;

	if (ctl_is_ok(r)) {
		*out_result = r;
		return CTL_OK;
	}
	code = ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, r));
	PQclear(r);
	return code;
}

enum ctl_exit
ctl_query(PGconn *conn, const char *sql, int n, const char *const *values,
    PGresult **out_result)
{
	return take_result(conn,
	    PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0),
	    out_result);
}

enum ctl_exit
ctl_run(PGconn *conn, const char *sql)
{
	AUTO_PGRESULT PGresult *r = NULL;

	return take_result(conn, PQexec(conn, sql), &r);
}

static void
keep_quiet(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

/* libpq's own sentence about a malformed URL quotes it, password and all. */
static bool
is_conninfo(const char *url)
{
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	bool is_good = options != NULL;

	PQconninfoFree(options);
	return is_good;
}

/*
 * Says in whose name the session works: the account that runs natterctl, or
 * who became root by sudo for it. Who is not root can only be themselves.
 */
static bool
say_operator(PGconn *conn)
{
	const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
	const struct passwd *me = getpwuid(getuid());
	char actor[80];
	const char *value = actor;

	if (sudo != NULL && sudo[0] != '\0')
		snprintf(actor, sizeof(actor), "natterctl:%.64s", sudo);
	else if (me != NULL)
		snprintf(actor, sizeof(actor), "natterctl:%.64s", me->pw_name);
	else
		snprintf(actor, sizeof(actor), "natterctl:%lu",
		    (unsigned long)getuid());
	AUTO_PGRESULT PGresult *r = PQexecParams(conn,
	    "SELECT pg_catalog.set_config('app.actor', $1, false)", 1, NULL,
	    &value, NULL, NULL, 0);
	return ctl_is_ok(r);
}

enum ctl_exit
ctl_connect(
    const char *name, const char *url, const char *dbname, PGconn **out_conn)
{
	/* A later word wins; "dbname" first, because it takes the URL. */
	const char *keys[] = {"dbname", "fallback_application_name",
	    "connect_timeout", "client_encoding",
	    dbname != NULL ? "dbname" : NULL, NULL};
	const char *values[] = {url, "natterctl", "10", "UTF8", dbname, NULL};
	PGconn *conn;

	if (!is_conninfo(url))
		return ctl_refuse(CTL_CONFIG,
		    "%s is neither a URL such as postgresql://role@host/natter "
		    "nor words such as host=/run/postgresql dbname=natter",
		    name);
	conn = PQconnectdbParams(keys, values, 1);
	if (conn == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	if (PQstatus(conn) != CONNECTION_OK || !say_operator(conn)) {
		ctl_note(
		    "cannot reach Postgres: %s", ctl_pg_message(conn, NULL));
		PQfinish(conn);
		return CTL_FAILED;
	}
	PQsetNoticeReceiver(conn, keep_quiet, NULL);
	*out_conn = conn;
	return CTL_OK;
}

static enum ctl_exit
connect_as(const char *role, const char *variable, PGconn **out_conn)
{
	char *url = NULL;
	enum err e = ctl_secret(variable, &url);
	enum ctl_exit code;

	if (e == ERR_NOT_FOUND)
		return ctl_refuse(CTL_CONFIG,
		    "%s is not set: give the database as the role %s, such as "
		    "postgresql://%s@/natter (natterctl bootstrap makes both)",
		    variable, role, role);
	if (e != OK)
		return CTL_CONFIG;
	code = ctl_connect(variable, url, NULL, out_conn);
	ctl_wipe(url);
	return code;
}

enum ctl_exit
ctl_connect_owner(PGconn **out_conn)
{
	return connect_as("natter_migrate", "OWNER_DATABASE_URL", out_conn);
}

enum ctl_exit
ctl_connect_jobs(PGconn **out_conn)
{
	return connect_as("natter_jobs", "JOBS_DATABASE_URL", out_conn);
}

enum ctl_exit
ctl_read_file(const char *path, char **out_text, size_t *out_n)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;

	if (f == NULL)
		return ctl_refuse(CTL_FAILED, "%s cannot be opened: %s", path,
		    strerror(errno));
	n = getdelim(&text, &room, '\0', f);
	if (n <= 0 || ferror(f) || (size_t)n > CTL_FILE_MAX) {
		free(text);
		fclose(f);
		return ctl_refuse(CTL_FAILED,
		    "%s cannot be read, is empty or has over %zu bytes", path,
		    CTL_FILE_MAX);
	}
	fclose(f);
	*out_text = text;
	*out_n = (size_t)n;
	return CTL_OK;
}
