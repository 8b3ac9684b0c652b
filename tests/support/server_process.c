/*
 * Folders and child processes of the test servers. Knows no kind of server.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server_inside.h"

#define FOLDER_PREFIX "natter-test-"
#define FOLDER_TRIES  10
#define ROOT_MAX      16
#define ARGS_MAX      48

void
server_complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("servers: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

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
remove_tree(const char *path)
{
	(void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/*
 * A descriptor that holds the lock of the folder, or -1. A file that is gone
 * was locked too late: whoever had the lock before has swept the folder.
 */
static int
lock_folder(const char *folder)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/in-use", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) != 0 ||
			   fstat(fd, &st) != 0 || st.st_nlink == 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Where the folders are: in memory where scripts/check finds enough. A socket's
 * path is short. */
static const char *
root(void)
{
	const char *given = getenv("NATTER_TEST_ROOT");

	return given != NULL && given[0] == '/' && strlen(given) <= ROOT_MAX
		   ? given
		   : "/tmp";
}

/* Removes folders whose test died without doing so. */
void
server_sweep(void)
{
	char pattern[PATH_MAX];
	glob_t found;

	snprintf(
	    pattern, sizeof(pattern), "%s/" FOLDER_PREFIX "*/in-use", root());
	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		int fd;

		*strrchr(found.gl_pathv[i], '/') = '\0';
		fd = lock_folder(found.gl_pathv[i]);
		if (fd < 0)
			continue;
		remove_tree(found.gl_pathv[i]);
		close(fd);
	}
	globfree(&found);
}

/* Another's sweep may take the folder for a dead one's before it is locked:
 * then one more is made. */
bool
server_make_folder(struct server *s)
{
	for (int i = 0; i < FOLDER_TRIES; i++) {
		snprintf(s->folder, sizeof(s->folder),
		    "%s/" FOLDER_PREFIX "XXXXXX", root());
		if (mkdtemp(s->folder) == NULL)
			break;
		s->lock = lock_folder(s->folder);
		if (s->lock >= 0)
			return true;
	}
	server_complain("no folder in %s: %s", root(), strerror(errno));
	return false;
}

void
server_remove_folder(struct server *s)
{
	remove_tree(s->folder);
	if (s->lock >= 0)
		close(s->lock);
	s->lock = -1;
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

pid_t
server_spawn(struct server *s, void (*body)(struct server *))
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	detach(s, parent);
	body(s);
	_exit(127);
}

bool
server_run(struct server *s, void (*body)(struct server *))
{
	int status = 0;
	pid_t pid = server_spawn(s, body);

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

void
server_show_log(const struct server *s)
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
void
server_exec(const struct server *s, const char *path, const char *const *fixed)
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
	server_complain("%s: %s", path, strerror(errno));
}
