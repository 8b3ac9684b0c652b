/*
 * json-c with the project's limits. Parsing is strict: one value, depth at
 * most 32, valid UTF-8, no NUL in any string or key, every number one that is
 * kept exactly. What was parsed can therefore always be stored as JSONB.
 * Objects do not leave the function that parsed or built them. Without memory
 * the process ends: a reply with a member missing would be a lie.
 *
 * Thread: any.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct buf;

/* Releases a json-c object when its block ends. */
#define AUTO_JSON __attribute__((cleanup(json_cleanup)))
void json_cleanup(struct json_object **o);

/*
 * Parses `n` bytes as one object (`{…}`); ERR_BAD_JSON otherwise,
 * ERR_TOO_LARGE where its values would take over 128 MiB beyond the text.
 */
enum err json_parse_object(
    const char *p, size_t n, struct json_object **out_object) MUST_CHECK;

/* As json_parse_object with a depth limit and without the object demand. */
enum err json_parse_any(const char *p, size_t n, int depth,
    struct json_object **out_value) MUST_CHECK;

/* The object's text, plain, slashes unescaped, valid as long as the object. */
const char *json_text(struct json_object *o, size_t *out_n);

/* Appends the object's text to `b`. */
void json_append(struct buf *b, struct json_object *o);

/* A member that is text, valid as long as the object; NULL when it is missing
 * or something else. */
const char *json_member_text(struct json_object *o, const char *key);

/* A member that is a whole number; -1 likewise. */
int64_t json_member_number(struct json_object *o, const char *key);

/* Adds a member that is a string, or null for NULL. */
void json_put_text(struct json_object *o, const char *key, const char *text);

/* Adds a member that is a number. */
void json_put_number(struct json_object *o, const char *key, int64_t number);

/* Adds a member that is true or false. */
void json_put_flag(struct json_object *o, const char *key, bool flag);

/*
 * Adds a member whose value is JSON text that is known to be valid (a JSONB
 * column); it is copied as it stands.
 */
void json_put_raw(struct json_object *o, const char *key, const char *json);

#endif
