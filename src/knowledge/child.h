/*
 * Running another program on bytes from outside: pdftotext, whose parser is
 * large and has had its holes. It gets the bytes as a sealed file in memory on
 * descriptor 0, pipes for what it says, an environment of one line and nothing
 * else of this process: no descriptor, no shell, no way to make a socket, a
 * process or a file, or to read a file that may hold a secret (child_walls.h).
 * It lives in a process group of its own, which is killed at the deadline and
 * as soon as it says too much; it dies with the thread that started it, so that
 * no worker leaves one behind.
 *
 * The threads of a worker go on beside fork: the child calls nothing but what
 * is async-signal-safe until it is another program.
 *
 * Thread: any that may wait (bulk).
 */
#ifndef KNOWLEDGE_CHILD_H
#define KNOWLEDGE_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/errors.h"

/* Most bytes kept of what it says on descriptor 2. */
#define CHILD_COMPLAINT_MAX 2048

struct child_ask {
	const char *const *argv; /* [0] is its path; ended by NULL */
	const void *in;
	size_t n;
	size_t max_out;   /* bytes; one more and it is killed */
	long seconds;     /* the deadline, and its CPU */
	size_t max_bytes; /* of its address space */
};

struct child_end {
	struct buf out;
	struct buf complaint;
	bool is_late;      /* killed at the deadline, or out of CPU */
	bool is_too_large; /* killed at max_out */
	int exit_code;     /* -1: a signal ended it */
};

/* The exit code of one that could not be started at all. */
#define CHILD_UNSTARTED 127

/*
 * Runs it to its end. ERR_BUSY: there was no memory, process or descriptor for
 * it. The caller frees the buffers in any case (child_end_free).
 */
enum err
child_run(const struct child_ask *ask, struct child_end *out_end) MUST_CHECK;

void child_end_free(struct child_end *end);

#endif
