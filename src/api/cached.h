/*
 * Replies that are kept for whoever asks the same next (store/cache.h): the
 * whole body, after the caller's identity was checked.
 *
 * Thread: the request's.
 */
#ifndef API_CACHED_H
#define API_CACHED_H

#include <stdint.h>

#include "base/errors.h"

struct buf;
struct cache_slot;
struct reply;
struct request;

/*
 * Appends the body to the empty buffer. *out_life_ms is how long it will be
 * true unless somebody writes: negative, as it comes, for ever; 0: it is not
 * worth keeping.
 */
typedef enum err (*cached_build_fn)(
    struct request *req, void *arg, struct buf *body, int64_t *out_life_ms);

/*
 * Answers 200 with the body: the kept one, or what `build` makes. The slot's
 * user is filled in here.
 */
enum err cached_reply(struct request *req, struct reply *rep,
    struct cache_slot *slot, cached_build_fn build, void *arg) MUST_CHECK;

#endif
