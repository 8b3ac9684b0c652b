/*
 * A JWKS (RFC 7517): reading the document from a file or a URL within limits,
 * and the keys of it that serve.
 *
 * A URL is https, or http on this host alone (site_rules_read sees to it); no
 * redirect is followed, 3 s are enough for all of it, and beyond 128 KiB it is
 * refused. A file is read under the same limit.
 *
 * Thread: one that may wait (chores).
 */
#ifndef AUTH_JWKS_H
#define AUTH_JWKS_H

#include <stddef.h>

#include "auth/site_key.h"
#include "base/errors.h"

struct buf;

#define JWKS_KEYS_MAX   32
#define JWKS_BYTES_MAX  ((size_t)128 * 1024)
#define JWKS_TIMEOUT_MS 3000L

/* Keys, and what was wrong with those that are missing. */
struct jwks {
	struct site_key keys[JWKS_KEYS_MAX];
	size_t n;
	char why[SITE_WHY]; /* "" when nothing was */
};

/*
 * Fills `out` (buf_free it) with the document. ERR_UNAVAILABLE, with the
 * reason in `why`.
 */
enum err jwks_fetch(
    const char *source, struct buf *out, char why[static SITE_WHY]) MUST_CHECK;

/*
 * The keys of a document for these algorithms. ERR_UNAVAILABLE when none is
 * left; out->why says why either way.
 */
enum err
jwks_read(const char *p, size_t n, unsigned algs, struct jwks *out) MUST_CHECK;

void jwks_clear(struct jwks *set);

#endif
