/*
 * Values against schemas: always an answer, the same each time, with a clean
 * sentence that says what is wrong exactly where something is; a value that is
 * all that a schema allows fits it. An input is a schema and, behind a NUL, a
 * value.
 */
#include <string.h>

#include "base/json.h"
#include "base/json_schema.h"
#include "base/text.h"
#include "chat/store_tool_rule.h"
#include "fuzz.h"

static void
check_why(bool fits, const char *why)
{
	FUZZ_PROMISE(strlen(why) < JSON_SCHEMA_WHY);
	FUZZ_PROMISE(text_is_clean(why, strlen(why)));
	FUZZ_PROMISE(fits == (*why == '\0'));
}

static void
check_value(struct json_object *schema, struct json_object *value)
{
	char why[JSON_SCHEMA_WHY], again[JSON_SCHEMA_WHY];
	bool fits = json_schema_fits(schema, value, why);

	check_why(fits, why);
	FUZZ_PROMISE(json_schema_fits(schema, value, again) == fits);
	FUZZ_PROMISE(strcmp(why, again) == 0);
}

/* {"const": v}, {"enum": [v]} and {} take v. */
static void
check_itself(struct json_object *value)
{
	AUTO_JSON struct json_object *schema = json_object_new_object();
	struct json_object *list = json_object_new_array();
	char why[JSON_SCHEMA_WHY];

	FUZZ_PROMISE(json_schema_fits(schema, value, why));
	json_object_object_add(schema, "const", json_object_get(value));
	json_object_array_add(list, json_object_get(value));
	json_object_object_add(schema, "enum", list);
	FUZZ_PROMISE(json_schema_fits(schema, value, why));
}

static void
check_schema(struct json_object *schema, const char *text)
{
	char why[JSON_SCHEMA_WHY], words[STORE_TOOL_WHY] = "";

	check_why(json_schema_is_sound(schema, why), why);
	/* What a store may say is a schema, and its sentence clean. */
	if (store_tool_schema_fits(text, words))
		FUZZ_PROMISE(json_schema_is_sound(schema, why));
	else
		FUZZ_PROMISE(words[0] != '\0');
	FUZZ_PROMISE(text_is_clean(words, strlen(words)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_JSON struct json_object *schema = NULL, *value = NULL;
	const char *p = (const char *)data;
	size_t n = strnlen(p, size);
	char *text;

	if (json_parse_any(p, n, 32, &schema) != OK)
		return 0;
	text = strndup(p, n);
	if (text != NULL)
		check_schema(schema, text);
	free(text);
	if (n < size &&
	    json_parse_any(p + n + 1, size - n - 1, 32, &value) == OK) {
		check_value(schema, value);
		check_itself(value);
	}
	return 0;
}
