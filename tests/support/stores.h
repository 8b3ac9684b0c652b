/*
 * A Postgres and a Redis of a test's own, with the schema that natterctl
 * makes, for tests that stop, freeze or starve them. A stack that is started
 * afterwards uses them, and db_value asks them: both go by the environment.
 *
 * Environment: NATTERCTL, or NATTERD with a natterctl beside it. Call from the
 * test's main thread, as with servers.h.
 */
#ifndef TESTS_STORES_H
#define TESTS_STORES_H

#include <signal.h>

#include "servers.h"

struct stores {
	struct server postgres;
	struct server redis;
};

/* Starts both and migrates up to `version`, NULL: the newest. */
void stores_start(struct stores *s, const char *version);

/* Thaws and removes both. */
void stores_stop(struct stores *s);

/* Migrates up to the newest version. */
void stores_migrate(void);

/* SIGSTOP or SIGCONT for a server and all its processes. */
void server_freeze(const struct server *s);
void server_thaw(const struct server *s);

#endif
