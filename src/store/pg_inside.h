/*
 * What the files of the Postgres store share; nobody else includes it.
 *
 *   pg.c          the object and the running of calls
 *   pg_connect.c  making a connection fit for use
 *   pg_trip.c     one pipeline on the wire, with a deadline
 *   pg_result.c   errors and values that came back
 */
#ifndef STORE_PG_INSIDE_H
#define STORE_PG_INSIDE_H

#include "store/pg.h"

#define PG_WHY        512
#define PG_NAME       64 /* Postgres's NAMEDATALEN */
#define PG_SQLSTATE   6
#define PG_TYPES_NONE (-1)
#define PG_REQUEST_ID 65
#define PG_ADDRESS    46 /* INET6_ADDRSTRLEN */

struct pg {
	struct pg_options options;
	PGconn *conn;         /* NULL while there is none */
	bool is_role_refused; /* demand_unprivileged found something */
	bool is_in_doubt;     /* was the last pipeline committed? */
	bool is_stale;        /* open a new one before the next pipeline */
	uint64_t retry_ms;    /* before this, connecting is not tried */
	enum err away;        /* what the last failed attempt gave */
	uint64_t round_trips;
	char request_id[PG_REQUEST_ID]; /* the caller's; "" for none */
	char ip[PG_ADDRESS];
	char sqlstate[PG_SQLSTATE];
	char constraint[PG_NAME];
	char why[PG_WHY];
};

/* --- pg_result.c --- */

/* Notes why something failed, without SQLSTATE, and gives `e` back. */
enum err pg_fail(struct pg *pg, enum err e, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Notes libpq's own message about the connection: ERR_UNAVAILABLE. */
enum err pg_fail_connection(struct pg *pg);

/* Notes the refusal of statement `name` and gives the error it maps to. */
enum err pg_fail_result(struct pg *pg, const char *name, const PGresult *r);

/* The types' OIDs in order; their number, or PG_TYPES_NONE: unknown name. */
int pg_types_parse(const char *types, Oid out_oids[static PG_PARAMS_MAX]);

/* --- pg_connect.c --- */

/*
 * Connects, sets the session up and prepares everything; pg->conn is set on
 * success and NULL on failure.
 */
enum err pg_open(struct pg *pg, uint64_t deadline_ms) MUST_CHECK;

/* Closes the connection, if there is one. Never waits. */
void pg_drop(struct pg *pg);

/*
 * The first statement of every pipeline: whose rows are to be seen, for which
 * request and from which address.
 */
extern const struct pg_query pg_identity;

/*
 * The same where statements are unnamed, that is behind a pooler: no session
 * is ours there, so the settings go with each transaction. Before the same
 * parameters comes pg_statement_timeout's text.
 */
extern const struct pg_query pg_identity_and_settings;

#define PG_TIMEOUT_TEXT 24
void
pg_statement_timeout(const struct pg *pg, char out[static PG_TIMEOUT_TEXT]);

/* --- pg_trip.c --- */

/*
 * One pipeline under way: send everything, sync, take every answer in the
 * same order, end. When the wire breaks or the deadline passes, the function
 * that noticed has dropped the connection and returns the error; the trip is
 * over then. A statement that the server refuses is remembered instead, the
 * rest is still taken, and pg_trip_end returns the refusal.
 */
struct pg_trip {
	struct pg *pg;
	uint64_t deadline_ms;
	size_t queued;    /* bytes given to libpq since it was last empty */
	enum err refused; /* the first refusal */
	bool is_whole;    /* all of it may be with the server */
};

/* Asks for a statement to be parsed, by name or only to check it. */
enum err
pg_trip_prepare(struct pg_trip *t, const struct pg_query *query) MUST_CHECK;

/* Sends a prepared statement. */
enum err pg_trip_send_prepared(struct pg_trip *t, const struct pg_query *query,
    const char *const *params) MUST_CHECK;

/* Sends a statement with its text. */
enum err pg_trip_send_text(struct pg_trip *t, const struct pg_query *query,
    const char *const *params) MUST_CHECK;

/* Ends the transaction and sends what is still queued. */
enum err pg_trip_sync(struct pg_trip *t) MUST_CHECK;

/* Takes the next answer; NULL when its statement failed or was skipped. */
enum err pg_trip_take(
    struct pg_trip *t, const char *name, PGresult **out_result) MUST_CHECK;

/* Takes the answer to the sync: OK when everything was committed. */
enum err pg_trip_end(struct pg_trip *t) MUST_CHECK;

#endif
