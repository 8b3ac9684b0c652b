/*
 * Private Postgres and Redis servers for tests: in a folder of their own under
 * NATTER_TEST_ROOT or /tmp, on a Unix socket only, gone when the test ends. A
 * test may stop them, kill them and start them again in the same folder.
 * Postgres will not run as root; a test that does gives it to the user
 * `postgres`.
 *
 * A server dies with the process that started it (PR_SET_PDEATHSIG), its
 * folder is removed at exit, and what a crashed test left behind is swept by
 * the next start. Start and stop them from the test's main thread: Linux
 * counts the thread that forked as the parent.
 *
 * A test that only needs a running server calls servers_provide_postgres (or
 * _redis) in a ReportHook(PRE_ALL): it keeps TEST_DATABASE_URL (TEST_REDIS_URL)
 * when it is set and starts a private server when it is not.
 */
#ifndef TESTS_SUPPORT_SERVERS_H
#define TESTS_SUPPORT_SERVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SERVER_FOLDER 40
#define SERVER_URL    128

struct server_kind;

struct server {
	pid_t pid; /* 0 while stopped */
	char folder[SERVER_FOLDER];
	char url[SERVER_URL]; /* Postgres: the superuser's */
	const struct server_kind *kind;
	const char *const *options; /* borrowed; further words of argv */
	const char *holds;          /* what `fill` put into it, or NULL */
	bool (*fill)(struct server *s);
	int lock;    /* says that the folder is in use */
	pid_t owner; /* the process that started it */
};

/*
 * Starts a server and waits until it answers; `options` ends with NULL and
 * may be NULL itself: {"-c", "max_connections=10", NULL} for Postgres,
 * {"--maxmemory", "2mb", NULL} for Redis. False, with a line on stderr, when
 * that fails. `s` must stay where it is until server_remove.
 */
bool server_start_postgres(struct server *s, const char *const *options);
bool server_start_redis(struct server *s, const char *const *options);

/*
 * A Postgres in which `fill`, given one that runs with no options of its own,
 * has made what is called `holds`. Of several that ask for the same, in this
 * process or in another, one fills and the others begin with a copy.
 */
bool server_start_filled(struct server *s, const char *const *options,
    const char *holds, bool (*fill)(struct server *s));

/* Starts a stopped server again on its old data. */
bool server_start_again(struct server *s);

/* Sends a signal and waits until the server is gone. */
void server_stop(struct server *s, int signal_number);

/* Stops the server, if it runs, and removes its folder. */
void server_remove(struct server *s);

/* Sets TEST_DATABASE_URL unless it is set; false when it cannot. */
bool servers_provide_postgres(void);

/* Sets TEST_REDIS_URL unless it is set; false when it cannot. */
bool servers_provide_redis(void);

/*
 * A libpq keyword string like `url` but with `key` set to `value`; the caller
 * frees it. Aborts on a URL that libpq cannot read.
 */
char *server_url_with(const char *url, const char *key, const char *value);

/* Runs SQL as psql would (several statements are fine); aborts on an error. */
void server_sql(const char *url, const char *sql);

/*
 * Makes an empty database and gives its URL, to be freed. A database of that
 * name is dropped first.
 */
char *server_database(const char *url, const char *name);

#endif
