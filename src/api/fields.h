/*
 * Members of a body, or parameters of a query, by a table of rules: what each
 * must be, and which one is refused. The values come as text, as statements
 * take them.
 *
 * Thread: the request's.
 */
#ifndef API_FIELDS_H
#define API_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "http/cursor.h"

struct reply;
struct request;

enum field_kind {
	FIELD_TEXT,   /* min to max characters */
	FIELD_BYTES,  /* text of at most max bytes */
	FIELD_LOWER,  /* min to max letters a to z */
	FIELD_WORD,   /* one of `words` */
	FIELD_FLAG,   /* true or false; as "t" or "f" */
	FIELD_NUMBER, /* a JSON number; as its text */
	FIELD_TIME,   /* RFC 3339 */
	FIELD_DATE,   /* YYYY-MM-DD */
	FIELD_UUID,
	FIELD_OBJECT, /* at most max bytes of JSON; as JSON text */
	FIELD_TAGS,   /* at most 20 strings of 1 to 64; as JSON text */
};

struct field {
	const char *name;
	enum field_kind kind;
	bool required;
	bool nullable; /* null may be given: it clears */
	size_t min;
	size_t max;
	const char *words; /* separated by spaces */
};

struct field_value {
	bool is_given;
	const char *text; /* NULL: not given, or null */
};

/* A statement's parameter that says whether the one before it counts. */
#define FIELD_GIVEN(v) ((v).is_given ? "t" : "f")

/* Reads the body: an object with these members and no others. */
enum err fields_read(struct request *req, const struct field *fields, size_t n,
    struct field_value *out_values) MUST_CHECK;

/* Reads one object, of which `where` says what it is a part of. */
struct json_object;
enum err fields_read_object(struct request *req, struct json_object *body,
    const struct field *fields, size_t n,
    struct field_value *out_values) MUST_CHECK;

/* Reads these parameters of the query; an empty one is refused. */
enum err fields_query(struct request *req, const struct field *fields, size_t n,
    struct field_value *out_values) MUST_CHECK;

/* What a list's cursors are made for: its name and its filters' values. */
const char *fields_list_name(struct request *req, const char *list,
    const struct field_value *values, size_t n);

/*
 * The common part of every list: reads `limit` (as the number and, one more,
 * as a parameter) and the cursor of the list so named.
 */
struct list_ask {
	const char *list;
	long limit;
	const char *limit_text; /* of limit + 1 */
	const char *after[CURSOR_KEYS_MAX];
};

enum err fields_list(struct request *req, const char *list,
    const struct field_value *values, size_t n,
    struct list_ask *out_ask) MUST_CHECK;

/*
 * The member `metadata` of a message's body, as request_field_object. Refuses
 * the keys that are Natter's own to set.
 */
enum err fields_message_metadata(struct request *req, struct json_object *body,
    const char **out_json) MUST_CHECK;

/*
 * Days from and to, of FIELD_DATE: the last 30 where the query did not say, as
 * a cursor does not hold, so that it is good past midnight. Refuses `to` before
 * `from`.
 */
enum err fields_span(struct request *req, struct field_value *from,
    struct field_value *to) MUST_CHECK;

/* Adds the Location of what was made. */
void fields_location(
    struct request *req, struct reply *rep, const char *path, const char *id);

#endif
