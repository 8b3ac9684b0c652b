/*
 * The chat domain's statements as queries.def lists them, for the connections
 * that prepare them and for the files of this folder that run them.
 *
 * Thread: any; constant. chat_run is the front's and the chores'.
 */
#ifndef CHAT_QUERIES_H
#define CHAT_QUERIES_H

#include <stddef.h>

#include "base/errors.h"
#include "store/pg.h"

struct request;

enum chat_query {
#define QUERY(name, types, sql) CHAT_##name,
#include "chat/queries.def"
#include "chat/records.def"
#include "chat/limits.def"
#undef QUERY
	CHAT__MAX
};

extern const struct pg_domain chat_domain;

/* The statement, for a pg_call. */
const struct pg_query *chat_query(enum chat_query q);

/*
 * How long what a row says will be true, in ms: the value of its column
 * LIFE_MS; -1 for NULL, for ever.
 */
int64_t chat_life_ms(const PGresult *r, int column);

/*
 * Runs the calls as the request's user, one round trip. On failure the reason
 * is in req->why and no call holds a result.
 */
enum err
chat_run(struct request *req, struct pg_call *calls, size_t n) MUST_CHECK;

#endif
