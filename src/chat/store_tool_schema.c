/*
 * The schema of a tool's arguments, word by word: one that is misspelt, or that
 * Natter does not hold arguments against, would promise what nobody keeps.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "chat/store_tool_rule.h"

#define SCHEMA_DEPTH 12
#define NAME_LENGTH  64

/* Of names that models take, of tools and of their arguments. */
static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
			      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

/* What a word of a schema must hold. */
enum word_kind {
	WORD_ANY,
	WORD_TEXT,
	WORD_FLAG,
	WORD_NUMBER,
	WORD_COUNT,
	WORD_LIST,    /* one thing or more */
	WORD_TYPE,    /* a type, or several */
	WORD_NAMES,   /* of properties, each once */
	WORD_SCHEMA,  /* a schema, or true or false */
	WORD_MEMBERS, /* names with their schemas */
};

static const struct {
	const char *name;
	enum word_kind kind;
} words[] = {
    {"type", WORD_TYPE},
    {"properties", WORD_MEMBERS},
    {"required", WORD_NAMES},
    {"additionalProperties", WORD_SCHEMA},
    {"items", WORD_SCHEMA},
    {"enum", WORD_LIST},
    {"const", WORD_ANY},
    {"minLength", WORD_COUNT},
    {"maxLength", WORD_COUNT},
    {"minItems", WORD_COUNT},
    {"maxItems", WORD_COUNT},
    {"minimum", WORD_NUMBER},
    {"maximum", WORD_NUMBER},
    {"exclusiveMinimum", WORD_NUMBER},
    {"exclusiveMaximum", WORD_NUMBER},
    {"format", WORD_TEXT},
    {"description", WORD_TEXT},
    {"title", WORD_TEXT},
    {"default", WORD_ANY},
    {"examples", WORD_LIST},
    {"$comment", WORD_TEXT},
    {"$schema", WORD_TEXT},
};

static const char *const types[] = {
    "string", "number", "integer", "boolean", "array", "object", "null"};

/* Where in the schema: "properties.order.type". */
struct place {
	char path[160];
	char *why;
};

static bool
check_schema(struct place *at, struct json_object *schema, int depth);

static PRINTF_LIKE(2, 3) bool fault(struct place *at, const char *fmt, ...)
{
	size_t n = 0;
	va_list args;

	if (at->path[0] != '\0')
		n = (size_t)snprintf(at->why, STORE_TOOL_WHY, "%s: ", at->path);
	va_start(args, fmt);
	(void)vsnprintf(at->why + n, STORE_TOOL_WHY - n, fmt, args);
	va_end(args);
	text_mend(at->why); /* names are cut */
	return false;
}

/* Steps down; the length to step up to again. */
static size_t
down(struct place *at, const char *name)
{
	size_t n = strlen(at->path);

	(void)snprintf(at->path + n, sizeof(at->path) - n, "%s%.64s",
	    n > 0 ? "." : "", name);
	return n;
}

static bool
is_type(struct json_object *v)
{
	if (!json_object_is_type(v, json_type_string))
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(json_object_get_string(v), types[i]) == 0)
			return true;
	return false;
}

static bool
check_type(struct place *at, struct json_object *v)
{
	bool ok = is_type(v);

	if (json_object_is_type(v, json_type_array)) {
		size_t n = json_object_array_length(v);

		ok = n > 0;
		for (size_t i = 0; i < n; i++)
			ok = ok && is_type(json_object_array_get_idx(v, i));
	}
	return ok || fault(at, "It must be string, number, integer, boolean, "
			       "array, object or null, or a list of them.");
}

static bool
is_member_name(const char *name)
{
	size_t n = strlen(name);

	return n >= 1 && n <= NAME_LENGTH && strspn(name, letters) == n;
}

static bool
check_members(struct place *at, struct json_object *v, int depth)
{
	if (!json_object_is_type(v, json_type_object))
		return fault(at, "It must be an object.");
	json_object_object_foreach(v, name, inside)
	{
		size_t up = down(at, name);

		if (!is_member_name(name))
			return fault(at, "A name has 1 to 64 of a-z, A-Z, "
					 "0-9, _ and -.");
		if (!check_schema(at, inside, depth))
			return false;
		at->path[up] = '\0';
	}
	return true;
}

static bool
is_among(struct json_object *list, size_t n, struct json_object *v)
{
	for (size_t i = 0; i < n; i++)
		if (json_object_equal(json_object_array_get_idx(list, i), v))
			return true;
	return false;
}

static bool
check_names(struct place *at, struct json_object *v, struct json_object *schema)
{
	struct json_object *members = NULL;

	json_object_object_get_ex(schema, "properties", &members);
	if (!json_object_is_type(v, json_type_array))
		return fault(at, "It must be a list of names.");
	for (size_t i = 0; i < json_object_array_length(v); i++) {
		struct json_object *name = json_object_array_get_idx(v, i);

		if (!json_object_is_type(name, json_type_string) ||
		    is_among(v, i, name))
			return fault(
			    at, "It must be a list of names, each once.");
		if (!json_object_is_type(members, json_type_object) ||
		    !json_object_object_get_ex(
			members, json_object_get_string(name), NULL))
			return fault(at, "There is no property \"%.64s\".",
			    json_object_get_string(name));
	}
	return true;
}

static bool
is_number(struct json_object *v)
{
	return json_object_is_type(v, json_type_int) ||
	       json_object_is_type(v, json_type_double);
}

/* Of words that are neither schemas nor about them. */
static bool
check_plain(struct place *at, struct json_object *v, enum word_kind kind)
{
	switch (kind) {
	case WORD_TEXT:
		return json_object_is_type(v, json_type_string) ||
		       fault(at, "It must be a string.");
	case WORD_NUMBER:
		return is_number(v) || fault(at, "It must be a number.");
	case WORD_COUNT:
		return (json_object_is_type(v, json_type_int) &&
			   json_object_get_int64(v) >= 0) ||
		       fault(at, "It must be a whole number from 0.");
	case WORD_LIST:
		return (json_object_is_type(v, json_type_array) &&
			   json_object_array_length(v) > 0) ||
		       fault(at, "It must be a list that is not empty.");
	default:
		return true;
	}
}

static bool
check_word(
    struct place *at, struct json_object *schema, const char *word, int depth)
{
	struct json_object *v = NULL;
	size_t i = 0;

	while (i < sizeof(words) / sizeof(*words) &&
	       strcmp(words[i].name, word) != 0)
		i++;
	if (i == sizeof(words) / sizeof(*words))
		return fault(at, "Natter does not know this word of JSON "
				 "Schema.");
	json_object_object_get_ex(schema, word, &v);
	switch (words[i].kind) {
	case WORD_TYPE:
		return check_type(at, v);
	case WORD_NAMES:
		return check_names(at, v, schema);
	case WORD_SCHEMA:
		return check_schema(at, v, depth + 1);
	case WORD_MEMBERS:
		return check_members(at, v, depth + 1);
	default:
		return check_plain(at, v, words[i].kind);
	}
}

static bool
check_schema(struct place *at, struct json_object *schema, int depth)
{
	if (json_object_is_type(schema, json_type_boolean) && depth > 0)
		return true;
	if (!json_object_is_type(schema, json_type_object))
		return fault(at, "It must be a schema: an object.");
	if (depth > SCHEMA_DEPTH)
		return fault(at, "It is too deep.");
	json_object_object_foreach(schema, word, value)
	{
		size_t up = down(at, word);

		(void)value;
		if (!check_word(at, schema, word, depth))
			return false;
		at->path[up] = '\0';
	}
	return true;
}

bool
store_tool_schema_fits(const char *json, char why[static STORE_TOOL_WHY])
{
	struct place at = {.why = why};
	AUTO_JSON struct json_object *schema = NULL;
	const char *type;

	if (strlen(json) > STORE_TOOL_SCHEMA_MAX)
		return fault(&at, "It has at most %d bytes of JSON.",
		    STORE_TOOL_SCHEMA_MAX);
	if (json_parse_object(json, strlen(json), &schema) != OK)
		return fault(&at, "It must be a JSON object.");
	type = json_member_text(schema, "type");
	if (type == NULL || strcmp(type, "object") != 0)
		return fault(&at, "Its type must be \"object\".");
	return check_schema(&at, schema, 0);
}
