/*
 * Private servers for tests: folders, processes and readiness. Owns the list
 * of what this process started and takes it away at exit. Must not know what
 * is tested.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "servers.h"

#define FOLDER_PREFIX "natter-test-"
#define SERVERS_MAX   16
#define ARGS_MAX      48
#define READY_TRIES   1500 /* times 20 ms */

/* What tells one kind of server from the other. */
struct server_kind {
	const char *name;
	bool (*prepare)(struct server *s);
	void (*exec)(struct server *s);
	bool (*is_ready)(struct server *s);
	int death_signal; /* leaves no shared memory behind */
};

static struct server *running[SERVERS_MAX];

static void
complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("servers: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

static void
pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

/* --- folders --- */

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	(void)remove(path);
	return 0;
}

static void
remove_folder(const char *path)
{
	(void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A descriptor that holds the lock of the folder, or -1. */
static int
lock_folder(const char *folder)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/in-use", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Removes folders whose test died without doing so. */
static void
sweep(void)
{
	glob_t found;

	if (glob("/tmp/" FOLDER_PREFIX "*/in-use", 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		int fd;

		*strrchr(found.gl_pathv[i], '/') = '\0';
		fd = lock_folder(found.gl_pathv[i]);
		if (fd < 0)
			continue;
		remove_folder(found.gl_pathv[i]);
		close(fd);
	}
	globfree(&found);
}

static bool
make_folder(struct server *s)
{
	snprintf(s->folder, sizeof(s->folder), "/tmp/" FOLDER_PREFIX "XXXXXX");
	if (mkdtemp(s->folder) == NULL) {
		complain("mkdtemp: %s", strerror(errno));
		return false;
	}
	s->lock = lock_folder(s->folder);
	return s->lock >= 0;
}

/* --- processes --- */

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
		complain("cannot become the user postgres");
		_exit(126);
	}
}

/*
 * In a child: leaves the test's terminal, output and descriptors behind. The
 * death signal is set after the user has changed, which would clear it.
 */
static void
detach(const struct server *s, pid_t parent)
{
	char path[PATH_MAX];
	sigset_t none;
	int fd;

	snprintf(path, sizeof(path), "%s/log", s->folder);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, STDIN_FILENO);
	(void)close_range(3, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	prctl(PR_SET_PDEATHSIG, s->kind->death_signal);
	if (getppid() != parent)
		_exit(126);
}

static pid_t
spawn(struct server *s, void (*body)(struct server *))
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	detach(s, parent);
	body(s);
	_exit(127);
}

static bool
run_to_end(struct server *s, void (*body)(struct server *))
{
	int status = 0;
	pid_t pid = spawn(s, body);

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void
show_log(const struct server *s)
{
	char path[PATH_MAX], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", s->folder);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		fprintf(stderr, "  %s", line);
	if (f != NULL)
		fclose(f);
}

/* argv of a server: the fixed words, then the test's. */
static void
exec_with(const struct server *s, const char *path, const char *const *fixed)
{
	char *argv[ARGS_MAX + 1];
	size_t n = 0;

	for (; n < ARGS_MAX && *fixed != NULL; fixed++)
		argv[n++] = strdup(*fixed);
	for (size_t i = 0; s->options != NULL && s->options[i] != NULL; i++)
		if (n < ARGS_MAX)
			argv[n++] = strdup(s->options[i]);
	argv[n] = NULL;
	execvp(path, argv);
	complain("%s: %s", path, strerror(errno));
}

/* --- Postgres --- */

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
	exec_with(s, program, argv);
}

static bool
postgres_prepare(struct server *s)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;

	if (pw != NULL && chown(s->folder, pw->pw_uid, pw->pw_gid) != 0)
		return false;
	snprintf(s->url, sizeof(s->url),
	    "host=%s user=postgres dbname=postgres", s->folder);
	return run_to_end(s, exec_initdb);
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
	exec_with(s, program, argv);
}

static bool
postgres_is_ready(struct server *s)
{
	return PQping(s->url) == PQPING_OK;
}

static const struct server_kind kind_postgres = {
    .name = "postgres",
    .prepare = postgres_prepare,
    .exec = exec_postgres,
    .is_ready = postgres_is_ready,
    .death_signal = SIGQUIT,
};

/* --- Redis --- */

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
	exec_with(s, "redis-server", argv);
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

static const struct server_kind kind_redis = {
    .name = "redis",
    .prepare = redis_prepare,
    .exec = exec_redis,
    .is_ready = redis_is_ready,
    .death_signal = SIGKILL,
};

/* --- both --- */

static void
remove_all(void)
{
	for (size_t i = 0; i < SERVERS_MAX; i++)
		if (running[i] != NULL && running[i]->owner == getpid())
			server_remove(running[i]);
}

static bool
remember(struct server *s)
{
	static pid_t registered;

	if (registered != getpid() && atexit(remove_all) != 0)
		return false;
	registered = getpid();
	for (size_t i = 0; i < SERVERS_MAX; i++) {
		if (running[i] == NULL || running[i]->owner != getpid()) {
			running[i] = s;
			return true;
		}
	}
	return false;
}

static void
forget(const struct server *s)
{
	for (size_t i = 0; i < SERVERS_MAX; i++)
		if (running[i] == s)
			running[i] = NULL;
}

static bool
wait_until_ready(struct server *s)
{
	for (int i = 0; i < READY_TRIES; i++) {
		if (s->kind->is_ready(s))
			return true;
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
			s->pid = 0;
			break;
		}
		pause_ms(20);
	}
	complain("%s does not answer; its log:", s->kind->name);
	show_log(s);
	return false;
}

bool
server_start_again(struct server *s)
{
	s->pid = spawn(s, s->kind->exec);
	if (s->pid < 0) {
		complain("fork: %s", strerror(errno));
		s->pid = 0;
		return false;
	}
	return wait_until_ready(s);
}

static bool
start(struct server *s, const struct server_kind *kind,
    const char *const *options)
{
	*s = (struct server){
	    .kind = kind, .options = options, .lock = -1, .owner = getpid()};
	sweep();
	if (!make_folder(s) || !remember(s))
		return false;
	if (!kind->prepare(s)) {
		complain("%s cannot be prepared; its log:", kind->name);
		show_log(s);
		return false;
	}
	return server_start_again(s);
}

bool
server_start_postgres(struct server *s, const char *const *options)
{
	return start(s, &kind_postgres, options);
}

bool
server_start_redis(struct server *s, const char *const *options)
{
	return start(s, &kind_redis, options);
}

/* Waits up to five seconds. */
static bool
is_gone(pid_t pid)
{
	for (int i = 0; i < 500; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return true;
		pause_ms(10);
	}
	return false;
}

void
server_stop(struct server *s, int signal_number)
{
	if (s->pid == 0)
		return;
	kill(s->pid, signal_number);
	kill(s->pid, SIGCONT);
	if (!is_gone(s->pid)) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	s->pid = 0;
}

void
server_remove(struct server *s)
{
	if (s->kind == NULL)
		return;
	server_stop(s, s->kind->death_signal);
	remove_folder(s->folder);
	if (s->lock >= 0)
		close(s->lock);
	forget(s);
	s->kind = NULL;
}

static bool
provide(const char *variable, const struct server_kind *kind, struct server *s)
{
	const char *given = getenv(variable);

	if (given != NULL && given[0] != '\0')
		return true;
	return start(s, kind, NULL) && setenv(variable, s->url, 1) == 0;
}

bool
servers_provide_postgres(void)
{
	static struct server s;

	return provide("TEST_DATABASE_URL", &kind_postgres, &s);
}

bool
servers_provide_redis(void)
{
	static struct server s;

	return provide("TEST_REDIS_URL", &kind_redis, &s);
}
