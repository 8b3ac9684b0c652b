/*
 * The master: forks workers, replaces the ones that die or have served their
 * share, reloads, drains, tells systemd. It binds nothing and parses nothing
 * from outside.
 *
 * Signals: SIGTERM and SIGINT stop (drain first), SIGHUP reloads. Thread: the
 * process's only one.
 */
#ifndef SERVER_MASTER_H
#define SERVER_MASTER_H

#include <stdbool.h>

#include "base/errors.h"

struct config;
struct keyring;

/* A configuration that cannot work: not to be retried (sysexits' EX_CONFIG). */
#define EXIT_CONFIGURATION 78

#define MASTER_WHY 768

struct master_options {
	int listen_fd;
	/* A systemd socket unit holds the socket: a stop leaves the queue to
	 * the successor instead of answering 503. */
	bool is_activated;
	/* Reads the settings and the keys anew; `why` on refusal. */
	enum err (*load)(struct config **out_config, struct keyring **out_keys,
	    char why[static MASTER_WHY]);
};

/* Runs until stopped; returns the exit status. */
int master_run(const struct master_options *options);

#endif
