/*
 * What natterctl's commands share: exit codes, options, secrets from the
 * environment, the connection as the database's owner. Every refusal is one
 * line on stderr that says what is wrong and what to do.
 *
 * Thread: there is one.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1, /* the command could not do its work */
	CTL_USAGE = 2,  /* it was called wrongly */
	CTL_CONFIG = 78 /* a setting is missing or wrong (EX_CONFIG) */
};

/* A row of commands.def. */
struct command {
	const char *name; /* one or two words: "seed", "migrate up" */
	enum ctl_exit (*run)(const struct command *self, int argc, char **argv);
	const char *synopsis; /* the arguments */
	const char *summary;  /* a phrase for the list */
	const char *help;     /* sentences for --help */
};

#define COMMAND(name, function, synopsis, summary, help) \
	enum ctl_exit function(                          \
	    const struct command *self, int argc, char **argv);
#include "ctl/commands.def"
#undef COMMAND

/* Prints "natterctl: …" on stderr and returns `code`. */
enum ctl_exit ctl_refuse(enum ctl_exit code, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

/* Prints "natterctl: …" on stderr: news about what goes on. */
void ctl_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* An option of a command: --name, or --name VALUE. */
struct option_row {
	const char *name;
	enum { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER } kind;
	void *to; /* bool *, const char ** or long *; left alone when absent */
};

/*
 * Parses options and takes exactly `n_words` words into `words`. On false
 * *out_code says how to exit: --help was answered, or usage was printed.
 */
bool ctl_options(const struct command *self, int argc, char **argv,
    const struct option_row *rows, const char **words, size_t n_words,
    enum ctl_exit *out_code) MUST_CHECK;

/* As ctl_options, for a command that takes one word or none: NULL. */
bool ctl_options_maybe(const struct command *self, int argc, char **argv,
    const struct option_row *rows, const char **out_word,
    enum ctl_exit *out_code) MUST_CHECK;

/* As ctl_options, for a command that takes one word or more: a list that ends
 * with NULL. */
bool ctl_options_list(const struct command *self, int argc, char **argv,
    const struct option_row *rows, char ***out_words,
    enum ctl_exit *out_code) MUST_CHECK;

/*
 * The secret NAME: from the environment, the file that NAME_FILE names, or
 * the systemd credential NAME. The caller frees it with ctl_wipe. ERR_NOT_FOUND
 * when it is nowhere; other errors are printed.
 */
enum err ctl_secret(const char *name, char **out_secret) MUST_CHECK;

/* Wipes and frees a string. NULL is fine. */
void ctl_wipe(char *secret);

/* Reads a file of text: 1 byte to 1 MiB. To be freed; refusals are printed. */
#define CTL_FILE_MAX ((size_t)1024 * 1024)
enum ctl_exit
ctl_read_file(const char *path, char **out_text, size_t *out_n) MUST_CHECK;

/* What the server said, on one line. Valid until the next call. */
const char *ctl_pg_message(PGconn *conn, const PGresult *r);

/* Releases a PGresult when its block ends. */
#define AUTO_PGRESULT __attribute__((cleanup(ctl_result_cleanup)))
void ctl_result_cleanup(PGresult **r);

/* Did the statement succeed? */
bool ctl_is_ok(const PGresult *r);

/* Runs a statement with `n` parameters; says what went wrong. `values` may be
 * NULL for none. */
enum ctl_exit ctl_query(PGconn *conn, const char *sql, int n,
    const char *const *values, PGresult **out_result) MUST_CHECK;

/* Runs statements without parameters of which nothing comes back. */
enum ctl_exit ctl_run(PGconn *conn, const char *sql) MUST_CHECK;

/*
 * Connects to the URL of the variable `name`, which refusals name instead of
 * its value; `dbname`, unless NULL, overrides the URL's database. What is done
 * there is noted in the audit log under the operator's account.
 */
enum ctl_exit ctl_connect(const char *name, const char *url, const char *dbname,
    PGconn **out_conn) MUST_CHECK;

/* Connects as the role natter_migrate, by OWNER_DATABASE_URL. */
enum ctl_exit ctl_connect_owner(PGconn **out_conn) MUST_CHECK;

/* Connects as the role natter_jobs, by JOBS_DATABASE_URL. */
enum ctl_exit ctl_connect_jobs(PGconn **out_conn) MUST_CHECK;

#endif
