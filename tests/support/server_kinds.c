/*
 * What tells the kinds of test servers apart: how one is prepared, started
 * and found ready.
 */
#include <glob.h>
#include <grp.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "server_inside.h"

/* In a child: becomes `postgres` where it is root. */
static void
become_postgres(void)
{
	const struct passwd *pw;

	if (geteuid() != 0)
		return;
	pw = getpwnam("postgres");
	if (pw == NULL || setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 ||
	    setuid(pw->pw_uid) != 0) {
		server_complain("cannot become the user postgres");
		_exit(126);
	}
}

/* The program of the newest Postgres here; Debian keeps them off the PATH. */
static void
postgres_program(const char *name, char out[static PATH_MAX])
{
	glob_t found;

	snprintf(out, PATH_MAX, "/usr/lib/postgresql/*/bin/%s", name);
	if (glob(out, 0, NULL, &found) == 0) {
		snprintf(
		    out, PATH_MAX, "%s", found.gl_pathv[found.gl_pathc - 1]);
		globfree(&found);
	} else {
		snprintf(out, PATH_MAX, "%s", name);
	}
}

static void
exec_initdb(struct server *s)
{
	char program[PATH_MAX], data[PATH_MAX];
	const char *const argv[] = {"initdb", "-D", data, "-U", "postgres",
	    "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
	    "--no-instructions", NULL};

	become_postgres();
	postgres_program("initdb", program);
	snprintf(data, sizeof(data), "%s/data", s->folder);
	s->options = NULL;
	server_exec(s, program, argv);
}

static bool
make_cluster(struct server *s)
{
	return server_run(s, exec_initdb);
}

static bool
make_filled(struct server *s)
{
	const char *const *options = s->options;
	bool is_filled;

	s->options = NULL;
	is_filled = server_fill(s, "initdb", make_cluster) &&
		    server_start_again(s) && s->fill(s);
	server_stop(s, SIGINT);
	s->options = options;
	return is_filled;
}

static bool
postgres_prepare(struct server *s)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;

	if (pw != NULL && chown(s->folder, pw->pw_uid, pw->pw_gid) != 0)
		return false;
	snprintf(s->url, sizeof(s->url),
	    "host=%s user=postgres dbname=postgres", s->folder);
	return s->fill != NULL ? server_fill(s, s->holds, make_filled)
			       : server_fill(s, "initdb", make_cluster);
}

static void
exec_postgres(struct server *s)
{
	char program[PATH_MAX], data[PATH_MAX];
	const char *const argv[] = {"postgres", "-D", data, "-k", s->folder,
	    "-h", "", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c",
	    "full_page_writes=off", "-c", "shared_buffers=16MB", "-c",
	    "autovacuum=off", NULL};

	become_postgres();
	prctl(PR_SET_PDEATHSIG, s->kind->death_signal);
	postgres_program("postgres", program);
	snprintf(data, sizeof(data), "%s/data", s->folder);
	server_exec(s, program, argv);
}

static bool
postgres_is_ready(struct server *s)
{
	return PQping(s->url) == PQPING_OK;
}

const struct server_kind server_kind_postgres = {
    .name = "postgres",
    .prepare = postgres_prepare,
    .exec = exec_postgres,
    .is_ready = postgres_is_ready,
    .death_signal = SIGQUIT,
};

static bool
redis_prepare(struct server *s)
{
	snprintf(s->url, sizeof(s->url), "unix://%s/redis.sock", s->folder);
	return true;
}

static void
exec_redis(struct server *s)
{
	char path[PATH_MAX];
	const char *const argv[] = {"redis-server", "--port", "0",
	    "--unixsocket", path, "--dir", s->folder, "--save", "",
	    "--daemonize", "no", NULL};

	snprintf(path, sizeof(path), "%s/redis.sock", s->folder);
	server_exec(s, "redis-server", argv);
}

/* It answers: an error reply, such as "loading", is an answer. */
static bool
redis_is_ready(struct server *s)
{
	redisContext *c = redisConnectUnix(s->url + strlen("unix://"));
	redisReply *reply = NULL;
	bool is_ready;

	if (c != NULL && c->err == 0)
		reply = redisCommand(c, "PING");
	is_ready = reply != NULL;
	if (reply != NULL)
		freeReplyObject(reply);
	if (c != NULL)
		redisFree(c);
	return is_ready;
}

const struct server_kind server_kind_redis = {
    .name = "redis",
    .prepare = redis_prepare,
    .exec = exec_redis,
    .is_ready = redis_is_ready,
    .death_signal = SIGKILL,
};
