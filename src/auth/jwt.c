/*
 * Cuts and reads the text of JWTs. Owns nothing. Must not know keys, clocks or
 * what a claim means.
 */
#include <string.h>

#include "auth/jwt.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/text.h"
#include "model/json_scan.h"

/* The six bits that a character of base64url stands for, or -1. */
static int
bits_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

/* Not empty, base64url alone, no spare bits set: each value has one text. */
static bool
is_canonical(const struct jwt_segment *s)
{
	static const int spare[4] = {0, 0x3f, 0x0f, 0x03};
	if (s->n == 0 || s->n % 4 == 1)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		if (bits_of(s->p[i]) < 0)
			return false;
	}
	return (bits_of(s->p[s->n - 1]) & spare[s->n % 4]) == 0;
}

bool
jwt_split(const char *token, size_t max, struct jwt_segments *out)
{
	size_t n = strnlen(token, max + 1);
	if (n > max)
		return false;
	const char *first = memchr(token, '.', n);
	if (!first)
		return false;
	const char *claims = first + 1;
	const char *second = memchr(claims, '.', (size_t)(token + n - claims));
	if (!second)
		return false;
	const char *signature = second + 1;
	*out = (struct jwt_segments){
	    .header = {token, (size_t)(first - token)},
	    .claims = {claims, (size_t)(second - claims)},
	    .signature = {signature, (size_t)(token + n - signature)},
	    .signed_text = {token, (size_t)(second - token)},
	};
	return is_canonical(&out->header) && is_canonical(&out->claims) &&
	       is_canonical(&out->signature);
}

const unsigned char *
jwt_bytes(struct arena *a, const struct jwt_segment *s, size_t *out_n)
{
	size_t n = s->n / 4 * 3 + (s->n % 4 ? s->n % 4 - 1 : 0);
	unsigned char *bytes = arena_alloc(a, n + 1);
	if (!bytes || !text_from_base64url(s->p, s->n, bytes, n))
		return NULL;
	*out_n = n;
	return bytes;
}

/* Members as written; a valid object is given, so the scan cannot fail. */
static int
count_members(const char *json, size_t n)
{
	struct json_scan scan;
	struct json_span ignored;
	int count = 0;
	json_scan_init(&scan, json, n);
	if (!json_scan_enter(&scan, '{'))
		return -1;
	while (json_scan_member(&scan, &ignored)) {
		(void)json_scan_value(&scan, &ignored);
		count++;
	}
	return json_scan_end(&scan) ? count : -1;
}

enum err
jwt_object(struct arena *a, const struct jwt_segment *s,
    struct json_object **out_object)
{
	size_t n = 0;
	struct json_object *o = NULL;
	const char *json = (const char *)jwt_bytes(a, s, &n);
	if (!json)
		return ERR_TOO_LARGE;
	enum err e = json_parse_object(json, n, &o);
	if (e)
		return e;
	/* json-c keeps the last of two, whatever their escapes. */
	if (count_members(json, n) != json_object_object_length(o)) {
		json_object_put(o);
		return ERR_BAD_JSON;
	}
	*out_object = o;
	return OK;
}

const char *
jwt_text(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;
	if (!json_object_object_get_ex(o, name, &v) ||
	    !json_object_is_type(v, json_type_string))
		return NULL;
	const char *text = json_object_get_string(v);
	return strlen(text) == (size_t)json_object_get_string_len(v) ? text
								     : NULL;
}

bool
jwt_text_is(struct json_object *o, const char *name, const char *want)
{
	const char *text = jwt_text(o, name);
	return text && strcmp(text, want) == 0;
}

bool
jwt_number(struct json_object *o, const char *name, int64_t *out)
{
	struct json_object *v = NULL;
	if (!json_object_object_get_ex(o, name, &v) ||
	    !json_object_is_type(v, json_type_int))
		return false;
	int64_t n = json_object_get_int64(v);
	if (n < 0 || n > (INT64_C(1) << 53))
		return false;
	*out = n;
	return true;
}
