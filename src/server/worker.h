/*
 * One worker process: makes its threads after the fork (front, relay, ledger,
 * chores), serves until it is told to leave, drains, and ends.
 *
 * Thread: the worker's main thread, which is also the front.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <sys/types.h>

struct config;
struct keyring;

/* What a worker writes to its master, one byte each. */
#define WORKER_READY   'R' /* it serves */
#define WORKER_LEAVING 'L' /* it has served its share: replace it */

/* What the master has for a worker; borrowed. */
struct worker_options {
	const struct config *config;
	struct keyring *keys;
	int listen_fd;
	int report_fd; /* the worker's end of the pipe to the master */
	pid_t master;
	const char *id;   /* the worker's, a UUID */
	const char *dead; /* those that ended lately: "{id,…}"; NULL: none */
};

/* Runs until the end; returns the exit status. All signals are blocked. */
int worker_run(const struct worker_options *options);

#endif
