/*
 * A natter database and requests on it, for integration tests of domains and
 * handlers: the schema from migrations/ in a private Postgres, users made by
 * the superuser, everything else done as natter_app, as the daemon does.
 * Redis is away.
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

struct json_object;
struct reply;
struct turn;

struct world {
	struct config config;
	struct services services;
	struct request req;
	char user[ID_TEXT];
	char worker[ID_TEXT];
	char *url;                  /* natter_app's */
	struct json_object *answer; /* the last reply's body */
	int status;                 /* and its status */
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

/* What world_call calls. */
typedef enum err (*world_handler_fn)(struct request *req, struct reply *rep);

/*
 * Calls a handler with the path's id, a query and a body ("" for none); its
 * answer is in w->answer and w->status until the next call.
 */
enum err world_call(struct world *w, world_handler_fn handler, const char *id,
    const char *query, const char *body);

/*
 * Did the world's last call (its error) wait for a lock longer than it may, as
 * happens on a busy machine (503)? Nothing was done then: it may be called
 * again. A deadlock is none of that.
 */
bool world_was_late(const struct world *w, enum err e);

/* A member of the answer as text; NULL for null and what is not there. */
const char *world_text(const struct world *w, const char *name);

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

/*
 * Takes the GIN indexes of schema chat away, and makes them anew: for filling
 * it with 100,000 rows and more, where an index grows a row at a time in many
 * times the seconds that it takes to be made at the end.
 */
void world_take_indexes(void);
void world_give_indexes(void);

#endif
