/*
 * The text of JWTs, ours and other people's: cutting one into its segments
 * before any parser sees it, and reading JSON members by their type. A token
 * that gets past jwt_split has one spelling: nothing in it can be changed
 * without changing what it says.
 *
 * Thread: any; pure.
 */
#ifndef AUTH_JWT_H
#define AUTH_JWT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct arena;

/* One segment, as written. Borrowed from the token. */
struct jwt_segment {
	const char *p;
	size_t n;
};

struct jwt_segments {
	struct jwt_segment header;
	struct jwt_segment claims;
	struct jwt_segment signature;
	struct jwt_segment signed_text; /* header, dot and claims */
};

/*
 * Cuts a token of at most `max` bytes: exactly two dots, no empty segment,
 * each canonical base64url without padding. Longer ones are not read further.
 */
bool jwt_split(const char *token, size_t max, struct jwt_segments *out);

/* The bytes of a segment that jwt_split cut; NULL beyond the arena's cap. */
const unsigned char *
jwt_bytes(struct arena *a, const struct jwt_segment *s, size_t *out_n);

/*
 * The JSON object of a segment, to be put (AUTO_JSON). ERR_BAD_JSON also for a
 * member that is there twice, which two readers could read differently;
 * ERR_TOO_LARGE beyond the arena's cap.
 */
enum err jwt_object(struct arena *a, const struct jwt_segment *s,
    struct json_object **out_object) MUST_CHECK;

/* The string member `name` without NULs, or NULL when it is anything else. */
const char *jwt_text(struct json_object *o, const char *name);

/* Is the member `name` exactly this string? */
bool jwt_text_is(struct json_object *o, const char *name, const char *want);

/* A whole number within 0..2^53: json-c clamps what does not fit. */
bool jwt_number(struct json_object *o, const char *name, int64_t *out);

#endif
