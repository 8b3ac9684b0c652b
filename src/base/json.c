/*
 * json-c behind the project's limits. What json-c's strict mode still lets
 * through is refused by a scan before it: see `scan`.
 */
#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"

#define DEPTH_MAX  32
#define NUMBER_MAX 64 /* characters: Postgres's numeric takes any such */

/*
 * What json-c allocates beyond the text itself, in bytes (measured with 0.16,
 * rounded up): `{}` in three characters takes 790.
 */
#define COST_OBJECT 800
#define COST_ARRAY  400
#define COST_MEMBER 200
#define COST_VALUE  80
#define COST_MAX    ((size_t)128 << 20)

static const char *
digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* Does an integer of these digits fit json-c's int64 or uint64? */
static bool
fits_integer(const char *p, size_t n, bool is_negative)
{
	const char *most =
	    is_negative ? "9223372036854775808" : "18446744073709551615";
	size_t n_most = strlen(most);
	return n < n_most || (n == n_most && memcmp(p, most, n) <= 0);
}

/*
 * The end of the number at `p`, NULL when it is not one of JSON's or cannot
 * be kept as it is. Four-digit exponents would be refused by Postgres.
 */
static const char *
scan_number(const char *p, const char *end)
{
	const char *begin = p;
	if (*p == '-')
		p++;
	const char *whole = p;
	p = digits(p, end);
	if (p == whole || (*whole == '0' && p > whole + 1))
		return NULL;
	bool is_integer = true;
	size_t n_whole = (size_t)(p - whole);
	if (p < end && *p == '.') {
		const char *fraction = ++p;
		is_integer = false;
		p = digits(p, end);
		if (p == fraction)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		const char *exponent = p;
		is_integer = false;
		p = digits(p, end);
		if (p == exponent || p > exponent + 3)
			return NULL;
	}
	if (p - begin > NUMBER_MAX ||
	    (is_integer && !fits_integer(whole, n_whole, whole > begin)))
		return NULL;
	return p;
}

/* The byte after the string whose first byte (after the quote) is at `p`. */
static const char *
scan_string(const char *p, const char *end)
{
	while (p < end) {
		unsigned char c = (unsigned char)*p++;
		if (c == '"')
			return p;
		if (c < 0x20)
			return NULL;
		if (c != '\\')
			continue;
		if (end - p >= 5 && memcmp(p, "u0000", 5) == 0)
			return NULL;
		if (p < end)
			p++;
	}
	return NULL;
}

/*
 * json-c 0.16, strict, still takes NaN, Infinity, 1., -01, 'keys', raw
 * controls in strings and overlong UTF-8, clamps an integer that is too big,
 * and cuts a key at \u0000. Each would come back changed, or be refused by
 * Postgres long after the caller was told that the body is fine.
 */
static bool
scan(const char *p, size_t n)
{
	static const char outside[] = "{}[]:, \t\r\ntruefalsn";
	const char *end = p + n;
	if (!text_is_clean(p, n))
		return false;
	while (p && p < end) {
		char c = *p;
		if (c == '"')
			p = scan_string(p + 1, end);
		else if (c == '-' || (c >= '0' && c <= '9'))
			p = scan_number(p, end);
		else
			p = strchr(outside, c) ? p + 1 : NULL;
	}
	return p != NULL;
}

/* What one character outside of strings makes json-c allocate. */
static size_t
cost_of(char c)
{
	switch (c) {
	case '{':
		return COST_OBJECT;
	case '[':
		return COST_ARRAY;
	case ':':
		return COST_MEMBER;
	case ',':
		return COST_VALUE;
	default:
		return 0;
	}
}

/* Would the values of this text, which was scanned, take too much memory? */
static bool
is_too_costly(const char *p, size_t n)
{
	const char *end = p + n;
	size_t cost = 0;
	/* Most texts cannot, however many objects they hold. */
	if (n <= COST_MAX / COST_OBJECT)
		return false;
	while (p < end && cost <= COST_MAX) {
		cost += cost_of(*p);
		p = *p == '"' ? scan_string(p + 1, end) : p + 1;
	}
	return cost > COST_MAX;
}

static struct json_object *
parse(struct json_tokener *t, const char *p, size_t n, bool *out_ok)
{
	struct json_object *o = json_tokener_parse_ex(t, p, (int)n);
	if (json_tokener_get_error(t) == json_tokener_continue)
		/* A bare number or word ends only at the end: say so. */
		o = json_tokener_parse_ex(t, "", 1);
	*out_ok = json_tokener_get_error(t) == json_tokener_success;
	if (!*out_ok && o) {
		json_object_put(o);
		o = NULL;
	}
	return o;
}

static const char *
serialize(struct json_object *o, size_t *out_n)
{
	return json_object_to_json_string_length(
	    o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, out_n);
}

/* An object with a member missing would be a lie: better no process. */
static void
put(struct json_object *o, const char *key, struct json_object *value)
{
	int rc = json_object_object_add(o, key, value);
	assert(rc == 0);
	(void)rc;
}

void
json_cleanup(struct json_object **o)
{
	json_object_put(*o);
}

enum err
json_parse_object(const char *p, size_t n, struct json_object **out_object)
{
	struct json_object *o;
	enum err e = json_parse_any(p, n, DEPTH_MAX, &o);
	if (e)
		return e;
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return ERR_BAD_JSON;
	}
	*out_object = o;
	return OK;
}

enum err
json_parse_any(
    const char *p, size_t n, int depth, struct json_object **out_value)
{
	bool ok;
	if (n == 0 || n > INT_MAX || !scan(p, n))
		return ERR_BAD_JSON;
	if (is_too_costly(p, n))
		return ERR_TOO_LARGE;
	struct json_tokener *t = json_tokener_new_ex(depth);
	assert(t);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT);
	struct json_object *o = parse(t, p, n, &ok);
	json_tokener_free(t);
	if (!ok)
		return ERR_BAD_JSON;
	*out_value = o;
	return OK;
}

const char *
json_text(struct json_object *o, size_t *out_n)
{
	size_t n;
	const char *text = serialize(o, &n);
	assert(text);
	if (out_n)
		*out_n = n;
	return text;
}

void
json_append(struct buf *b, struct json_object *o)
{
	size_t n;
	const char *text = json_text(o, &n);
	buf_add(b, text, n);
}

static struct json_object *
member(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *v = NULL;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, type))
		return NULL;
	return v;
}

const char *
json_member_text(struct json_object *o, const char *key)
{
	return json_object_get_string(member(o, key, json_type_string));
}

int64_t
json_member_number(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key, json_type_int);

	return v != NULL ? json_object_get_int64(v) : -1;
}

void
json_put_text(struct json_object *o, const char *key, const char *text)
{
	struct json_object *value = NULL;
	if (text) {
		value = json_object_new_string(text);
		assert(value);
	}
	put(o, key, value);
}

void
json_put_number(struct json_object *o, const char *key, int64_t number)
{
	struct json_object *value = json_object_new_int64(number);
	assert(value);
	put(o, key, value);
}

void
json_put_flag(struct json_object *o, const char *key, bool flag)
{
	struct json_object *value = json_object_new_boolean(flag);
	assert(value);
	put(o, key, value);
}

void
json_put_raw(struct json_object *o, const char *key, const char *json)
{
	if (!json) {
		put(o, key, NULL);
		return;
	}
	/* The type is of no matter: the serializer writes its user data. */
	struct json_object *value = json_object_new_boolean(0);
	char *copy = strdup(json);
	assert(value && copy);
	json_object_set_serializer(value, json_object_userdata_to_json_string,
	    copy, json_object_free_userdata);
	put(o, key, value);
}
