/*
 * Events that a site's pages report of their users, and their sums by day.
 * Thread: front.
 */
#ifndef CHAT_ANALYTICS_H
#define CHAT_ANALYTICS_H

#include "base/errors.h"

struct buf;
struct request;

#define ANALYTICS_EVENTS_MAX     100 /* of a batch */
#define ANALYTICS_PROPERTIES_MAX 2048
#define ANALYTICS_VALUE_MAX      1e15

/* The day before the first row of a list: all come after it. */
#define ANALYTICS_DAY_LAST "infinity"

struct analytics_ask {
	const char *category; /* NULL: of all */
	const char *from;
	const char *to;
	const char *after[3]; /* day, category, name of the row before */
	long limit;
	const char *limit_text; /* of limit + 1 */
};

/* Stores a batch, a JSON array as ANALYTICS_ADD takes it. */
enum err analytics_add(struct request *req, const char *events) MUST_CHECK;

/* Appends a page of the caller's sums as a JSON array; out_next is as
 * rows_page takes it. */
enum err analytics_list(struct request *req, const struct analytics_ask *ask,
    struct buf *out, const char **out_next) MUST_CHECK;

#endif
