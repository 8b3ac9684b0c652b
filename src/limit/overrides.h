/*
 * What administrators set of limits: for a role, a user, or what each user does
 * in a store. The functions in the database look at the caller themselves
 * (ERR_FORBIDDEN). A change holds once the numbers that workers remember have
 * run out (limit.h): within 15 seconds, without a restart.
 *
 * Thread: any, with its own services.
 */
#ifndef LIMIT_OVERRIDES_H
#define LIMIT_OVERRIDES_H

#include <stdbool.h>

#include "base/errors.h"
#include "limit/quotas.h"

struct buf;
struct request;

/* Largest number that a limit may be; auth.limits holds it to that, too. */
#define LIMIT_VALUE_MAX 1000000000000

/* Whose limits; one of them, the others NULL. */
struct limits_of {
	const char *role;
	const char *user_id;
	const char *store_id;
};

/*
 * Appends {"overrides": {name: number}, "limits": [{"name", "limit",
 * "source"}]}: what is set here, and what holds then, from the user, their
 * role, the store or the settings. In a store what is not set is each user's
 * own: null. ERR_NOT_FOUND: no such role, user or store.
 */
enum err overrides_get(struct request *req, const struct limits_of *whose,
    struct buf *out) MUST_CHECK;

/*
 * Sets what `values` names, a JSON object of numbers, and removes what is null
 * there; NULL removes all. Then as overrides_get.
 */
enum err overrides_put(struct request *req, const struct limits_of *whose,
    const char *values, struct buf *out) MUST_CHECK;

/* Appends a page of all there are, after the row with id `after` (NULL: from
 * the first); out_next is as rows_page takes it. */
enum err overrides_page(struct request *req, const char *after, long limit,
    const char *limit_text, struct buf *out, const char **out_next) MUST_CHECK;

/* Is it a limit that these can have? Requests other than turns are in no
 * store. */
bool overrides_fit(const struct limits_of *whose, enum quota q);

/* The word for where a number comes from; what is not set is NULL. */
const char *overrides_source(
    const struct limits_of *whose, const char *own, const char *of_role);

#endif
