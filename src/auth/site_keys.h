/*
 * The site's keys as one thread remembers them: read on first use, read again
 * when they are 10 minutes old or when a token names a key that is not among
 * them, which somebody may do on purpose: that is heeded at most once a minute.
 *
 * While the source is away the old keys serve for a day; there is one attempt
 * a minute then, or one every 5 s when there are none at all, so that it
 * costs the waiting of one request now and then. A set without a usable key
 * counts as away.
 *
 * Ownership: site_keys_free. Thread: one that may wait (chores).
 */
#ifndef AUTH_SITE_KEYS_H
#define AUTH_SITE_KEYS_H

#include <stdint.h>

#include "auth/site_rules.h"
#include "base/errors.h"

struct site_key;
struct site_keys;

#define SITE_KEYS_FRESH_MS  (10 * 60 * 1000)
#define SITE_KEYS_STALE_MS  (24 * 60 * 60 * 1000)
#define SITE_KEYS_RETRY_MS  (60 * 1000) /* with keys in hand */
#define SITE_KEYS_HURRY_MS  (5 * 1000)  /* without any */
#define SITE_KEYS_ASKING_MS (60 * 1000) /* for kids that are not known */

/* Nothing is read yet; `source` is borrowed. NULL without memory. */
struct site_keys *site_keys_new(const char *source);
void site_keys_free(struct site_keys *keys);

/* What a token says about its key. */
struct site_key_ask {
	enum site_alg alg; /* one of the configured */
	const char *kid; /* NULL: none, which finds the only key of its kind */
};

/*
 * Finds the key, valid until the next call. ERR_IDENTITY_INVALID when there is
 * none of that name; ERR_UNAVAILABLE when nobody can tell, as the source is
 * away. `now_ms` is CLOCK_MONOTONIC.
 */
enum err site_keys_find(struct site_keys *keys, const struct site_rules *rules,
    const struct site_key_ask *ask, uint64_t now_ms,
    const struct site_key **out_key) MUST_CHECK;

/* What went wrong at the last reading, for the log; "" for nothing. */
const char *site_keys_why(const struct site_keys *keys);

/* How often the source was asked: tests count. */
uint64_t site_keys_reads(const struct site_keys *keys);

#endif
