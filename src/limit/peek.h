/*
 * Looks into the buckets of request limits in Redis (limit.h) without charging
 * anything: one round trip, however many.
 *
 * Thread: any, with its own services.
 */
#ifndef LIMIT_PEEK_H
#define LIMIT_PEEK_H

#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct request;

/* As many as one look takes. */
#define PEEK_MAX 54

struct bucket {
	const char *key;
	int64_t limit;     /* more than 0 */
	int64_t window_us; /* until it is full again; 0: it counts a day */
	/* What limit_peek found. */
	int64_t remaining;
	int64_t reset_us; /* of no day's */
};

/*
 * Fills in what is left. Of a bucket that is not there all is left; a day's
 * that is not there is left as it is: Redis may have forgotten it.
 * ERR_UNAVAILABLE: Redis is away.
 */
enum err
limit_peek(struct request *req, struct bucket *buckets, size_t n) MUST_CHECK;

#endif
