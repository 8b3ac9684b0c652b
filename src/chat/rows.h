/*
 * Rows as the API shows them, by a table of their columns: what has no rule of
 * its own beyond its columns' names and kinds needs no function either.
 *
 * Thread: the request's.
 */
#ifndef CHAT_ROWS_H
#define CHAT_ROWS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct buf;
struct pg_call;
struct request;

/* The keys before the first row of a list, the newest first. */
#define ROWS_TIME_LAST "infinity"
#define ROWS_ID_LAST   "ffffffff-ffff-ffff-ffff-ffffffffffff"

enum row_kind {
	ROW_TEXT,
	ROW_RAW, /* JSON as it stands, numbers among it */
	ROW_FLAG,
	ROW_TIME,
	ROW_SKIP, /* is not shown */
};

/* A list is ordered by so many columns at most. */
#define ROW_KEYS_MAX 3

struct row_column {
	const char *name;
	enum row_kind kind;
};

/* The columns of a statement, in its order; those after them are not shown. */
struct row_shape {
	const struct row_column *columns;
	size_t n;
	int keys[ROW_KEYS_MAX + 1]; /* columns a list is ordered by, then -1 */
};

#define ROW_SHAPE(table, ...)                                            \
	{                                                                \
		.columns = (table), .n = sizeof(table) / sizeof(*table), \
		.keys = {                                                \
			__VA_ARGS__,                                     \
			-1                                               \
		}                                                        \
	}

/* Appends one row as an object. */
void rows_write(
    struct buf *out, const struct row_shape *shape, const PGresult *r, int row);

/* Appends all rows as an array. */
void rows_write_all(
    struct buf *out, const struct row_shape *shape, const PGresult *r);

/* Runs the call and appends its one row; ERR_NOT_FOUND without one. */
enum err rows_one(struct request *req, const struct row_shape *shape,
    struct pg_call *call, struct buf *out) MUST_CHECK;

/*
 * Runs the call, which was asked for `limit` rows and one more, and appends
 * the page as an array. out_next has room for the shape's keys and is all NULL:
 * where more rows follow it gets the last row's keys.
 */
enum err rows_page(struct request *req, const struct row_shape *shape,
    struct pg_call *call, long limit, struct buf *out,
    const char **out_next) MUST_CHECK;

/* Runs the call, which changes one row or none: ERR_NOT_FOUND. */
enum err rows_change(struct request *req, struct pg_call *call) MUST_CHECK;

#endif
