/*
 * What the tests of the Postgres store run against: a database of their own
 * with one table, and a domain of small statements.
 */
#ifndef TESTS_SUPPORT_PG_SCRATCH_H
#define TESTS_SUPPORT_PG_SCRATCH_H

#include "store/pg.h"

enum scratch_query {
	Q_ADD,     /* (id, body) */
	Q_COUNT,   /* how many there are */
	Q_WHO,     /* app.user_id, as statements see it */
	Q_SETTING, /* (name): a setting's value */
	Q_PID,     /* the server process */
	Q_SLEEP,   /* (seconds) */
	Q_ECHO,    /* (text) */
	Q_MANY,    /* (n): n rows */
	Q_CAST,    /* (text): as a uuid */
	Q_DIVIDE,  /* always 22012 */
	Q_LATE,    /* adds a row that only the commit refuses */
	Q_RAISE,   /* (SQLSTATE): raises it */
	Q__MAX
};

extern const struct pg_query scratch_queries[Q__MAX];
extern const struct pg_domain scratch_domain;

/* Makes the database `name` with its table; the URL is to be freed. */
char *scratch_database(const char *name);

/* Makes what the statements need in the database at `url`. */
void scratch_tables(const char *url);

/* A connection object with the domain's statements; not connected yet. */
struct pg *scratch_pg(const char *url, bool prepare, long timeout_ms);

/* A call of one of the statements, with no, one or two parameters. */
struct pg_call
scratch_call(enum scratch_query query, const char *a, const char *b);

/* Runs one call as nobody and gives its first value as a number, or -1. */
int64_t scratch_number(struct pg *pg, enum scratch_query query);

#endif
