/*
 * What replies used and cost, summed up: the caller's own by day, model or
 * conversation, and everybody's for administrators (ERR_FORBIDDEN for others:
 * the database looks itself). All replies count as they were stored, those
 * that were cancelled or failed too.
 *
 * Thread: the request's; of a source, the chores' (bulk).
 */
#ifndef CHAT_USAGE_H
#define CHAT_USAGE_H

#include <stdbool.h>

#include "base/errors.h"

struct buf;
struct reply_source;
struct request;

/* The words of `by`: of one's own usage, and of everybody's. */
#define USAGE_BY_OWN "day model conversation"
#define USAGE_BY_ALL "day, user, store and model"
#define USAGE_KEYS   2 /* of those, at a time */

struct usage_ask {
	const char *by; /* a word; of everybody's, two with a comma, too */
	const char *from;
	const char *to; /* days, UTC, both included */
	const char *user;
	const char *store;
	const char *model; /* of everybody's: these alone; NULL: all */
	const char *after[USAGE_KEYS]; /* keys of the row before; NULL: none */
	long limit;
	const char *limit_text; /* of limit + 1 */
};

/* Is it one of USAGE_BY_ALL, or two that differ with a comma between? */
bool usage_by_is_known(const char *by);

/* Append a page as a JSON array; out_next is as rows_page takes it. */
enum err usage_own(struct request *req, const struct usage_ask *ask,
    struct buf *out, const char **out_next) MUST_CHECK;
enum err usage_all(struct request *req, const struct usage_ask *ask,
    struct buf *out, const char **out_next) MUST_CHECK;

/*
 * All of everybody's as CSV, page by page; the last record says how many there
 * were, so that what was cut off is known. The source lives in the request's
 * arena; `ask` is copied, without place and limit.
 */
enum err usage_csv(struct request *req, const struct usage_ask *ask,
    struct reply_source **out_source) MUST_CHECK;

#endif
