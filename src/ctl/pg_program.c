/*
 * Starting pg_dump and its kind. Owns what such a child gets to see of this
 * process: three descriptors, a small environment, a password file in memory.
 * Must not know what is dumped.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/pg_program.h"

#define PASSWORD_FD 3 /* in the child */

/* Where one was named, else of the server's version: Debian keeps them apart.
 */
static void
find_program(PGconn *conn, const char *name, char out[static PATH_MAX])
{
	const char *folder = getenv("NATTER_PG_BIN");

	if (folder != NULL && folder[0] != '\0') {
		snprintf(out, PATH_MAX, "%s/%s", folder, name);
		return;
	}
	if (conn != NULL) {
		snprintf(out, PATH_MAX, "/usr/lib/postgresql/%d/bin/%s",
		    PQserverVersion(conn) / 10000, name);
		if (access(out, X_OK) == 0)
			return;
	}
	snprintf(out, PATH_MAX, "%s", name);
}

/* Writes a line of a .pgpass file for every host, : and \ escaped. */
static bool
write_password(int fd, const char *password)
{
	FILE *f = fdopen(fd, "w");
	bool is_good;

	if (f == NULL)
		return false;
	fputs("*:*:*:*:", f);
	for (; *password != '\0'; password++) {
		if (*password == ':' || *password == '\\')
			fputc('\\', f);
		fputc(*password, f);
	}
	is_good = fflush(f) == 0;
	/* The stream is left open: its descriptor is the child's file. */
	return is_good;
}

/* In the child: the password as descriptor PASSWORD_FD. */
static bool
give_password(const char *password)
{
	char path[32];
	int fd = memfd_create("pgpass", 0);

	if (fd < 0 || fchmod(fd, 0600) != 0 ||
	    (fd != PASSWORD_FD && dup2(fd, PASSWORD_FD) < 0) ||
	    !write_password(PASSWORD_FD, password))
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", PASSWORD_FD);
	return setenv("PGPASSFILE", path, 1) == 0;
}

/* In the child: libpq's variables say what `conn` is connected to. */
static bool
set_environment(PQconninfoOption *options)
{
	static const char *const kept[] = {"PATH", "HOME", "TMPDIR"};
	const char *old[sizeof(kept) / sizeof(kept[0])];
	const char *password = NULL;

	/* clearenv forgets the strings, it does not overwrite them. */
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		old[i] = getenv(kept[i]);
	if (clearenv() != 0)
		return false;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (old[i] != NULL && setenv(kept[i], old[i], 1) != 0)
			return false;
	for (PQconninfoOption *o = options; o != NULL && o->keyword; o++) {
		if (o->val == NULL || o->val[0] == '\0')
			continue;
		if (strcmp(o->keyword, "password") == 0)
			password = o->val;
		else if (o->envvar != NULL && setenv(o->envvar, o->val, 1) != 0)
			return false;
	}
	return setenv("PGAPPNAME", "natterctl", 1) == 0 &&
	       (password == NULL || give_password(password));
}

_Noreturn static void
become(PQconninfoOption *options, const char *path, const char *const *argv,
    int in, int out)
{
	int null = open("/dev/null", O_RDWR);

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGPIPE, SIG_DFL);
	if (null >= 0 && dup2(in >= 0 ? in : null, STDIN_FILENO) >= 0 &&
	    dup2(out >= 0 ? out : null, STDOUT_FILENO) >= 0) {
		closefrom(STDERR_FILENO + 1);
		if (set_environment(options))
			execvp(path, (char *const *)(uintptr_t)argv);
	}
	fprintf(
	    stderr, "natterctl: %s cannot be run: %s\n", path, strerror(errno));
	_exit(127);
}

enum ctl_exit
pg_program_start(
    PGconn *conn, const char *const *argv, int in, int out, pid_t *out_pid)
{
	PQconninfoOption *options = conn != NULL ? PQconninfo(conn) : NULL;
	char path[PATH_MAX];
	pid_t pid;

	if (conn != NULL && options == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	find_program(conn, argv[0], path);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		become(options, path, argv, in, out);
	for (PQconninfoOption *o = options; o != NULL && o->keyword; o++)
		if (o->val != NULL && strcmp(o->keyword, "password") == 0)
			explicit_bzero(o->val, strlen(o->val));
	PQconninfoFree(options);
	if (pid < 0)
		return ctl_refuse(CTL_FAILED, "fork: %s", strerror(errno));
	*out_pid = pid;
	return CTL_OK;
}

enum ctl_exit
pg_program_wait(pid_t pid, const char *name)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return ctl_refuse(
			    CTL_FAILED, "%s: %s", name, strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return CTL_OK;
	if (WIFSIGNALED(status))
		return ctl_refuse(CTL_FAILED, "%s was ended by signal %d", name,
		    WTERMSIG(status));
	return ctl_refuse(CTL_FAILED, "%s failed (its exit status is %d)", name,
	    WEXITSTATUS(status));
}
