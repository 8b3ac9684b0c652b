/*
 * The check of a value against a schema. It steps down the value and the
 * schema together; both were parsed with a limit on their depth, which bounds
 * the recursion.
 */
#include <json-c/json.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/id.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/text.h"

/*
 * Comparisons that one check may take. Lists in the schema times lists in the
 * value would hold a relay's thread up: 8 KB of words for each of 40,000 items
 * took two seconds.
 */
#define STEPS_MAX 1000000

/* Where the check is: "a.b[2]", and what it found. */
struct place {
	char path[128];
	char *why;
	size_t steps;
};

static bool
check(struct place *at, struct json_object *schema, struct json_object *value);

static PRINTF_LIKE(2, 3) bool fault(struct place *at, const char *fmt, ...)
{
	size_t n = 0;
	va_list args;
	if (*at->path)
		n = (size_t)snprintf(
		    at->why, JSON_SCHEMA_WHY, "%s: ", at->path);
	va_start(args, fmt);
	(void)vsnprintf(at->why + n, JSON_SCHEMA_WHY - n, fmt, args);
	va_end(args);
	text_mend(at->why); /* names and values are cut */
	return false;
}

/* So many comparisons come. */
static bool
spend(struct place *at, size_t n)
{
	at->steps += n;
	return at->steps <= STEPS_MAX ||
	       fault(at, "It is too large to be checked.");
}

static struct json_object *
member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;
	(void)json_object_object_get_ex(o, key, &v);
	return v;
}

/* What a word of a schema counts; NAN, which nothing is beyond: nothing. */
static double
bound(struct json_object *schema, const char *word)
{
	struct json_object *v = member(schema, word);
	bool is_number = json_object_is_type(v, json_type_int) ||
			 json_object_is_type(v, json_type_double);
	return is_number ? json_object_get_double(v) : (double)NAN;
}

static bool
is_whole(struct json_object *v)
{
	double d = json_object_get_double(v);
	return json_object_is_type(v, json_type_int) ||
	       (json_object_is_type(v, json_type_double) && d > -1e15 &&
		   d < 1e15 && d == (double)(int64_t)d);
}

static bool
is_of(struct json_object *v, const char *type)
{
	static const struct {
		const char *name;
		json_type type;
	} types[] = {
	    {"string", json_type_string},
	    {"boolean", json_type_boolean},
	    {"object", json_type_object},
	    {"array", json_type_array},
	    {"number", json_type_double},
	};
	if (!strcmp(type, "null"))
		return v == NULL;
	if (!strcmp(type, "integer"))
		return is_whole(v);
	if (!strcmp(type, "number") && json_object_is_type(v, json_type_int))
		return true;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (!strcmp(type, types[i].name))
			return json_object_is_type(v, types[i].type);
	}
	return true;
}

/* "type" is a word or an array of words. */
static bool
check_type(struct place *at, struct json_object *schema, struct json_object *v)
{
	struct json_object *type = member(schema, "type");
	if (json_object_is_type(type, json_type_string)) {
		const char *word = json_object_get_string(type);
		if (is_of(v, word))
			return true;
		return fault(at, "It must be of the type %.20s.", word);
	}
	if (!json_object_is_type(type, json_type_array))
		return true;
	if (!spend(at, json_object_array_length(type)))
		return false;
	for (size_t i = 0; i < json_object_array_length(type); i++) {
		struct json_object *t = json_object_array_get_idx(type, i);
		if (json_object_is_type(t, json_type_string) &&
		    is_of(v, json_object_get_string(t)))
			return true;
	}
	return fault(
	    at, "It must be of one of the types %.80s.", json_text(type, NULL));
}

static bool
check_enum(struct place *at, struct json_object *schema, struct json_object *v)
{
	struct json_object *words = member(schema, "enum");
	struct json_object *only = NULL;
	if (json_object_object_get_ex(schema, "const", &only) &&
	    !json_object_equal(only, v))
		return fault(at, "It must be %.100s.",
		    only ? json_text(only, NULL) : "null");
	if (!json_object_is_type(words, json_type_array))
		return true;
	if (!spend(at, json_object_array_length(words)))
		return false;
	for (size_t i = 0; i < json_object_array_length(words); i++) {
		if (json_object_equal(json_object_array_get_idx(words, i), v))
			return true;
	}
	return fault(at, "It must be one of %.160s.", json_text(words, NULL));
}

static bool
is_of_format(const char *text, const char *format)
{
	int64_t ignored;
	if (!strcmp(format, "date-time"))
		return clock_parse(text, &ignored);
	if (!strcmp(format, "date"))
		return text_is_day(text);
	if (!strcmp(format, "uuid"))
		return id_is_uuid(text);
	return true;
}

static bool
check_text(struct place *at, struct json_object *schema, struct json_object *v)
{
	const char *text = json_object_get_string(v);
	size_t n = text_length(text, (size_t)json_object_get_string_len(v));
	double least = bound(schema, "minLength");
	double most = bound(schema, "maxLength");
	const char *format = json_member_text(schema, "format");
	if ((double)n < least)
		return fault(
		    at, "It must be at least %.0f characters long.", least);
	if ((double)n > most)
		return fault(
		    at, "It must be at most %.0f characters long.", most);
	if (!format || is_of_format(text, format))
		return true;
	if (!strcmp(format, "date-time"))
		return fault(at, "It must be a time with its offset such as "
				 "2026-01-31T23:59:59+01:00.");
	return fault(at, "It must be of the format %.20s.", format);
}

static bool
check_number(
    struct place *at, struct json_object *schema, struct json_object *v)
{
	double d = json_object_get_double(v);
	double least = bound(schema, "minimum");
	double most = bound(schema, "maximum");
	if (d < least)
		return fault(at, "It must be at least %g.", least);
	if (d > most)
		return fault(at, "It must be at most %g.", most);
	if (d <= bound(schema, "exclusiveMinimum") ||
	    d >= bound(schema, "exclusiveMaximum"))
		return fault(at, "It is out of its bounds.");
	return true;
}

/* Steps down, checks, and steps up again unless there was a fault. */
static bool
check_inside(struct place *at, struct json_object *schema,
    struct json_object *value, size_t up)
{
	bool fits = check(at, schema, value);
	if (fits)
		at->path[up] = '\0';
	return fits;
}

static bool
check_array(struct place *at, struct json_object *schema, struct json_object *v)
{
	struct json_object *items = member(schema, "items");
	size_t n = json_object_array_length(v), up = strlen(at->path);
	double least = bound(schema, "minItems");
	double most = bound(schema, "maxItems");
	if ((double)n < least)
		return fault(at, "It must hold at least %.0f items.", least);
	if ((double)n > most)
		return fault(at, "It must hold at most %.0f items.", most);
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(
		    at->path + up, sizeof(at->path) - up, "[%zu]", i);
		if (!check_inside(
			at, items, json_object_array_get_idx(v, i), up))
			return false;
	}
	return true;
}

static bool
check_required(
    struct place *at, struct json_object *schema, struct json_object *v)
{
	struct json_object *names = member(schema, "required");
	if (!json_object_is_type(names, json_type_array))
		return true;
	if (!spend(at, json_object_array_length(names)))
		return false;
	for (size_t i = 0; i < json_object_array_length(names); i++) {
		const char *name =
		    json_object_get_string(json_object_array_get_idx(names, i));
		if (name && !json_object_object_get_ex(v, name, NULL))
			return fault(at, "It must have \"%.64s\".", name);
	}
	return true;
}

static bool
check_object(
    struct place *at, struct json_object *schema, struct json_object *v)
{
	struct json_object *known = member(schema, "properties");
	struct json_object *more = NULL, *inside;
	size_t up = strlen(at->path);
	bool is_closed =
	    json_object_object_get_ex(schema, "additionalProperties", &more) &&
	    json_object_is_type(more, json_type_boolean) &&
	    !json_object_get_boolean(more);
	if (!check_required(at, schema, v))
		return false;
	json_object_object_foreach(v, name, value)
	{
		bool is_known = json_object_is_type(known, json_type_object) &&
				json_object_object_get_ex(known, name, &inside);
		if (!is_known && is_closed)
			return fault(at, "It has no \"%.64s\".", name);
		(void)snprintf(at->path + up, sizeof(at->path) - up, "%s%.40s",
		    up > 0 ? "." : "", name);
		if (!check_inside(at, is_known ? inside : more, value, up))
			return false;
	}
	return true;
}

static bool
check(struct place *at, struct json_object *schema, struct json_object *v)
{
	if (!json_object_is_type(schema, json_type_object))
		return true;
	if (!spend(at, 1))
		return false;
	if (!check_type(at, schema, v) || !check_enum(at, schema, v))
		return false;
	switch (json_object_get_type(v)) {
	case json_type_string:
		return check_text(at, schema, v);
	case json_type_int:
	case json_type_double:
		return check_number(at, schema, v);
	case json_type_array:
		return check_array(at, schema, v);
	case json_type_object:
		return check_object(at, schema, v);
	default:
		return true;
	}
}

bool
json_schema_fits(struct json_object *schema, struct json_object *value,
    char out_why[static JSON_SCHEMA_WHY])
{
	struct place at = {.why = out_why};
	*out_why = '\0';
	return check(&at, schema, value);
}

bool
json_schema_is_sound(
    struct json_object *schema, char out_why[static JSON_SCHEMA_WHY])
{
	struct place at = {.why = out_why};
	const char *type;
	*out_why = '\0';
	if (!json_object_is_type(schema, json_type_object))
		return fault(&at, "It must be an object.");
	type = json_member_text(schema, "type");
	if (!type || strcmp(type, "object") != 0)
		return fault(&at, "Its type must be object.");
	struct json_object *known = member(schema, "properties");
	if (known && !json_object_is_type(known, json_type_object))
		return fault(&at, "Its properties must be an object.");
	if (!known)
		return true;
	json_object_object_foreach(known, name, inside)
	{
		if (!json_object_is_type(inside, json_type_object) &&
		    !json_object_is_type(inside, json_type_boolean))
			return fault(
			    &at, "properties.%.64s must be a schema.", name);
	}
	return true;
}
