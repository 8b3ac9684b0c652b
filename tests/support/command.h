/*
 * Running a program and keeping what it said: for tests of commands. Aborts
 * when the program cannot be started.
 */
#ifndef TESTS_SUPPORT_COMMAND_H
#define TESTS_SUPPORT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct command_end {
	int code;  /* exit code; -1 when a signal ended it */
	char *out; /* standard output, NUL-terminated */
	char *err; /* standard error */
};

/*
 * Runs `argv` (NULL-ended, looked up in PATH) with `input` (may be NULL) as its
 * standard input, in the caller's environment, and waits for its end.
 */
struct command_end command_run(const char *input, const char *const *argv);
void command_end_clear(struct command_end *end);

/* Starts `argv` without waiting; its output goes where the caller's goes. */
pid_t command_start(const char *const *argv);

/* Waits for it: the exit code, or -1 when a signal ended it. */
int command_wait(pid_t pid);

#define RUN(...) command_run(NULL, (const char *const[]){__VA_ARGS__, NULL})
#define RUN_WITH(input, ...) \
	command_run(input, (const char *const[]){__VA_ARGS__, NULL})
#define START(...) command_start((const char *const[]){__VA_ARGS__, NULL})

#endif
