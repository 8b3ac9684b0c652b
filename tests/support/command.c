/*
 * Programs as children, with their output in files that have no name.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"

static void
fail(const char *what)
{
	perror(what);
	abort();
}

/* A file without a name that holds `text`. */
static FILE *
nameless(const char *text)
{
	FILE *f = tmpfile();

	if (f == NULL)
		fail("tmpfile");
	fputs(text, f);
	fflush(f);
	rewind(f);
	return f;
}

static char *
contents(FILE *f)
{
	char *text = NULL;
	size_t n = 0;

	rewind(f);
	if (getdelim(&text, &n, '\0', f) < 0) {
		free(text);
		text = strdup("");
	}
	fclose(f);
	return text;
}

static pid_t
start(const char *const *argv, FILE *in, FILE *out, FILE *err)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if ((in != NULL && dup2(fileno(in), STDIN_FILENO) < 0) ||
	    (out != NULL && dup2(fileno(out), STDOUT_FILENO) < 0) ||
	    (err != NULL && dup2(fileno(err), STDERR_FILENO) < 0))
		_exit(126);
	execvp(argv[0], (char *const *)(size_t)argv);
	perror(argv[0]);
	_exit(127);
}

int
command_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

pid_t
command_start(const char *const *argv)
{
	return start(argv, NULL, NULL, NULL);
}

struct command_end
command_run(const char *input, const char *const *argv)
{
	FILE *in = nameless(input != NULL ? input : "");
	FILE *out = nameless(""), *err = nameless("");
	struct command_end end;

	end.code = command_wait(start(argv, in, out, err));
	fclose(in);
	end.out = contents(out);
	end.err = contents(err);
	if (end.code == 127)
		fail(end.err);
	return end;
}

void
command_end_clear(struct command_end *end)
{
	free(end->out);
	free(end->err);
	*end = (struct command_end){0};
}
