/*
 * A natter database and requests on it, for integration tests of domains and
 * handlers: the schema from migrations/ in a private Postgres, users made by
 * the superuser, everything else done as natter_app, as the daemon does.
 *
 * Thread: one per world; several worlds may share one user.
 */
#ifndef TESTS_SUPPORT_WORLD_H
#define TESTS_SUPPORT_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/id.h"
#include "http/request.h"

struct pg;
struct turn;

struct world {
	struct config config;
	struct services services;
	struct request req;
	char user[ID_TEXT];
	char worker[ID_TEXT];
	char *url; /* natter_app's */
};

/*
 * Makes the database `name` and fills in the schema, once for all tests of a
 * program: call it in ReportHook(PRE_ALL). False when there is no Postgres.
 */
bool world_provide(const char *name);

/* A connection and a user of its own; `user` NULL makes a new one. */
void world_open(struct world *w, const char *user);
void world_close(struct world *w);

/* Runs SQL as the superuser. */
void world_sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One number that the superuser selects. */
int64_t world_number(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* A fresh request of the world's user; what the last one gave is gone. */
struct request *world_request(struct world *w);

/* Makes a conversation. */
void world_conversation(struct world *w, char out_id[static ID_TEXT]);

/* Begins a turn; `parent` NULL: after the newest message. */
enum err world_begin(struct world *w, const char *conversation,
    const char *parent, const char *content, struct turn **out_turn);

/* Ends a turn as complete with this text; OK when it was stored. */
enum err world_finish(struct world *w, struct turn *t, const char *text);

/* Begins and finishes; gives the reply's id. */
void world_turn(struct world *w, const char *conversation, const char *parent,
    const char *content, char out_reply[static ID_TEXT]);

#endif
