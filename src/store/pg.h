/*
 * One Postgres connection and its prepared statements. A request's statements
 * go out in one pipeline with one Sync: one round trip, one implicit
 * transaction, one commit. Identity is the pipeline's first statement,
 * set_config('app.user_id', $1, true), never a session SET, so that nothing
 * leaks to the next request even through PgBouncer. The same statement says
 * for which request it is (pg_set_caller), so that the audit log knows.
 *
 * Every wait has a deadline (poll on the socket): a stopped server costs at
 * most CHAT_PG_TIMEOUT and then the connection is dropped. A connection found
 * dead while idle is made anew before the next pipeline is sent, so that a
 * restart of Postgres is not seen; one that dies in mid-pipeline is reported
 * as ERR_UNAVAILABLE, because nobody can tell whether it committed. While
 * Postgres is away, connecting is tried at most once a second.
 *
 * All parameters and results are text. Thread: one per connection (front,
 * ledger, chores each have their own).
 */
#ifndef STORE_PG_H
#define STORE_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct arena;
struct pg;

/* One statement of a domain's queries.def. */
struct pg_query {
	const char *name;  /* the statement's name, unique over all domains */
	const char *types; /* parameter types, space-separated, "" for none */
	const char *sql;
};

/* A domain's statements: an array indexed by the domain's enum. */
struct pg_domain {
	const struct pg_query *queries;
	size_t n;
};

#define PG_PARAMS_MAX 32
#define PG_CALLS_MAX  4096

/* One statement to run and, afterwards, what it gave. */
struct pg_call {
	const struct pg_query *query;
	const char *params[PG_PARAMS_MAX]; /* NULL is SQL's NULL */
	PGresult *result; /* set by pg_run; freed by pg_calls_clear */
};

/* How to connect. The strings are borrowed and must outlive the connection. */
struct pg_options {
	const char *url;
	const char *application; /* as seen in pg_stat_activity */
	long timeout_ms;         /* one pipeline's deadline */
	bool prepare;            /* named prepared statements */
	/* Refuse a role that row level security does not bind (a daemon). */
	bool demand_unprivileged;
	const struct pg_domain *domains;
	size_t n_domains;
};

/* Makes the object; does not connect yet. NULL without memory. */
struct pg *pg_new(const struct pg_options *options);

/* Closes and frees. NULL is fine. */
void pg_free(struct pg *pg);

/*
 * Connects and prepares everything now; OK at once when that is done already.
 * ERR_UNAVAILABLE when Postgres is away or refuses the login; ERR_INTERNAL
 * when the URL is not one, a statement cannot be prepared (an old schema, a
 * typo) or the role is refused (demand_unprivileged). pg_why says what
 * happened. Without named statements everything is still parsed here. The
 * second between attempts is not waited for.
 */
enum err pg_connect(struct pg *pg) MUST_CHECK;

/*
 * Runs `n` calls (at most PG_CALLS_MAX) as one transaction under the identity
 * `user_id` (NULL: no identity, row level security shows nothing). All results
 * are set, or none: what the calls held before is overwritten, so clear it
 * first. ERR_UNAVAILABLE: away, timed out, or a transient SQLSTATE
 * (serialization, deadlock, lock time-out, shutdown, read-only); ERR_CONFLICT:
 * a unique or exclusion constraint; ERR_INVALID_FIELD: a CHECK or a malformed
 * value; ERR_INTERNAL: anything else. After every one of these, except when
 * Postgres went away in mid-pipeline, nothing was stored.
 */
enum err pg_run(struct pg *pg, const char *user_id, struct pg_call *calls,
    size_t n) MUST_CHECK;

/* As pg_run, in several identities: `users[i]` is whose call i is. */
enum err pg_run_many(struct pg *pg, const char *const *users,
    struct pg_call *calls, size_t n) MUST_CHECK;

/*
 * For which request the pipelines from now on are, and from which address:
 * both are copied and go into what those pipelines leave in the audit log.
 * NULL for none; what is too long is cut.
 */
void pg_set_caller(struct pg *pg, const char *request_id, const char *ip);

/* Frees the results of `n` calls. */
void pg_calls_clear(struct pg_call *calls, size_t n);

/* What went wrong last, for the log; never for the caller. */
const char *pg_why(const struct pg *pg);

/* SQLSTATE and constraint name of the last failure; "" when there is none. */
const char *pg_sqlstate(const struct pg *pg);
const char *pg_constraint(const struct pg *pg);

/* Did the last pipeline end without anybody knowing whether it was committed?
 * It may still be. */
bool pg_is_in_doubt(const struct pg *pg);

/* Was the last connection given up because of its role
 * (demand_unprivileged)? Then no other try can help. */
bool pg_role_is_refused(const struct pg *pg);

/* Round trips made since pg_new: tests hold each route to its number. */
uint64_t pg_round_trips(const struct pg *pg);

/* The value of a column, or NULL for SQL's NULL. Borrowed from the result. */
const char *pg_text(const PGresult *r, int row, int column);

/* The value as a number; 0 for NULL. */
int64_t pg_number(const PGresult *r, int row, int column);

/* The value as a flag; false for NULL. */
bool pg_flag(const PGresult *r, int row, int column);

/* Rows that the statement returned, or, with none to return, changed. */
int pg_rows(const PGresult *r);

#endif
