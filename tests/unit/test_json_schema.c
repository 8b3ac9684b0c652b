/*
 * Values against schemas, one row each: what fits, and the sentence where it
 * does not.
 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/text.h"

#define OBJECT(more)     "{\"type\":\"object\"," more "}"
#define PROPERTY(schema) OBJECT("\"properties\":{\"x\":" schema "}")

static const struct {
	const char *schema;
	const char *value;
	const char *why; /* "": it fits */
} rows[] = {
    {"{}", "{\"a\":1}", ""},
    {"true", "{}", ""},
    {"{\"type\":\"nonsense\"}", "{}", ""},
    {OBJECT("\"title\":\"t\""), "{}", ""},
    {"{\"type\":\"string\"}", "{}", "It must be of the type string."},

    {PROPERTY("{\"type\":\"string\"}"), "{\"x\":\"\"}", ""},
    {PROPERTY("{\"type\":\"string\"}"), "{\"x\":1}",
	"x: It must be of the type string."},
    {PROPERTY("{\"type\":\"string\"}"), "{\"x\":null}",
	"x: It must be of the type string."},
    {PROPERTY("{\"type\":[\"string\",\"null\"]}"), "{\"x\":null}", ""},
    {PROPERTY("{\"type\":[\"string\",\"null\"]}"), "{\"x\":true}",
	"x: It must be of one of the types [\"string\",\"null\"]."},
    {PROPERTY("{\"type\":\"integer\"}"), "{\"x\":7}", ""},
    {PROPERTY("{\"type\":\"integer\"}"), "{\"x\":7.0}", ""},
    {PROPERTY("{\"type\":\"integer\"}"), "{\"x\":7.5}",
	"x: It must be of the type integer."},
    {PROPERTY("{\"type\":\"integer\"}"), "{\"x\":\"7\"}",
	"x: It must be of the type integer."},
    {PROPERTY("{\"type\":\"number\"}"), "{\"x\":7}", ""},
    {PROPERTY("{\"type\":\"number\"}"), "{\"x\":7.5}", ""},
    {PROPERTY("{\"type\":\"number\"}"), "{\"x\":[]}",
	"x: It must be of the type number."},
    {PROPERTY("{\"type\":\"boolean\"}"), "{\"x\":false}", ""},
    {PROPERTY("{\"type\":\"boolean\"}"), "{\"x\":0}",
	"x: It must be of the type boolean."},
    {PROPERTY("{\"type\":\"array\"}"), "{\"x\":{}}",
	"x: It must be of the type array."},
    {PROPERTY("{\"type\":\"object\"}"), "{\"x\":[]}",
	"x: It must be of the type object."},
    {PROPERTY("{\"type\":\"null\"}"), "{\"x\":0}",
	"x: It must be of the type null."},

    {OBJECT("\"required\":[\"a\",\"b\"]"), "{\"a\":null,\"b\":1}", ""},
    {OBJECT("\"required\":[\"a\",\"b\"]"), "{\"a\":1}", "It must have \"b\"."},
    {PROPERTY("{\"type\":\"object\",\"required\":[\"y\"]}"), "{\"x\":{}}",
	"x: It must have \"y\"."},

    {OBJECT("\"properties\":{\"a\":{}},\"additionalProperties\":false"),
	"{\"a\":1}", ""},
    {OBJECT("\"properties\":{\"a\":{}},\"additionalProperties\":false"),
	"{\"b\":1}", "It has no \"b\"."},
    {OBJECT("\"additionalProperties\":true"), "{\"b\":1}", ""},
    {OBJECT("\"additionalProperties\":{\"type\":\"string\"}"), "{\"b\":1}",
	"b: It must be of the type string."},

    {PROPERTY("{\"enum\":[\"a\",\"b\",null]}"), "{\"x\":\"b\"}", ""},
    {PROPERTY("{\"enum\":[\"a\",\"b\",null]}"), "{\"x\":null}", ""},
    {PROPERTY("{\"enum\":[\"a\",\"b\"]}"), "{\"x\":\"c\"}",
	"x: It must be one of [\"a\",\"b\"]."},
    {PROPERTY("{\"enum\":[\"a\",\"b\"]}"), "{\"x\":\"A\"}",
	"x: It must be one of [\"a\",\"b\"]."},
    {PROPERTY("{\"const\":1}"), "{\"x\":1}", ""},
    {PROPERTY("{\"const\":1}"), "{\"x\":2}", "x: It must be 1."},
    {PROPERTY("{\"const\":null}"), "{\"x\":2}", "x: It must be null."},

    /* Characters, not bytes. */
    {PROPERTY("{\"minLength\":2,\"maxLength\":3}"),
	"{\"x\":\"\xc3\xa4\xc3\xb6\xc3\xbc\"}", ""},
    {PROPERTY("{\"minLength\":2,\"maxLength\":3}"), "{\"x\":\"\xc3\xa4\"}",
	"x: It must be at least 2 characters long."},
    {PROPERTY("{\"minLength\":2,\"maxLength\":3}"), "{\"x\":\"abcd\"}",
	"x: It must be at most 3 characters long."},
    {PROPERTY("{\"maxLength\":0}"), "{\"x\":7}", ""},

    {PROPERTY("{\"minimum\":1,\"maximum\":50}"), "{\"x\":1}", ""},
    {PROPERTY("{\"minimum\":1,\"maximum\":50}"), "{\"x\":50}", ""},
    {PROPERTY("{\"minimum\":1,\"maximum\":50}"), "{\"x\":0}",
	"x: It must be at least 1."},
    {PROPERTY("{\"minimum\":1,\"maximum\":50}"), "{\"x\":50.5}",
	"x: It must be at most 50."},
    {PROPERTY("{\"exclusiveMinimum\":1}"), "{\"x\":1}",
	"x: It is out of its bounds."},
    {PROPERTY("{\"exclusiveMaximum\":1}"), "{\"x\":0.5}", ""},

    {PROPERTY("{\"items\":{\"type\":\"string\",\"minLength\":1}}"),
	"{\"x\":[\"a\",\"b\",\"\"]}",
	"x[2]: It must be at least 1 characters long."},
    {PROPERTY("{\"minItems\":1,\"maxItems\":2}"), "{\"x\":[]}",
	"x: It must hold at least 1 items."},
    {PROPERTY("{\"minItems\":1,\"maxItems\":2}"), "{\"x\":[1,2,3]}",
	"x: It must hold at most 2 items."},
    {PROPERTY("{\"items\":{\"properties\":{\"y\":{\"type\":\"null\"}}}}"),
	"{\"x\":[{\"y\":null},{\"y\":1}]}",
	"x[1].y: It must be of the type null."},
    /* A fault behind what fits names the right place. */
    {OBJECT("\"properties\":{\"a\":{\"items\":{}},\"b\":"
	    "{\"type\":\"null\"}}"),
	"{\"a\":[[1],[2]],\"b\":1}", "b: It must be of the type null."},

    {PROPERTY("{\"format\":\"date-time\"}"),
	"{\"x\":\"2026-02-28T23:59:59+01:00\"}", ""},
    {PROPERTY("{\"format\":\"date-time\"}"),
	"{\"x\":\"2026-02-28T23:59:59.25Z\"}", ""},
    {PROPERTY("{\"format\":\"date-time\"}"), "{\"x\":\"2026-02-30T23:59:59Z\"}",
	"x: It must be a time with its offset such as "
	"2026-01-31T23:59:59+01:00."},
    {PROPERTY("{\"format\":\"date-time\"}"), "{\"x\":\"2026-02-28T12:00:00\"}",
	"x: It must be a time with its offset such as "
	"2026-01-31T23:59:59+01:00."},
    {PROPERTY("{\"format\":\"date-time\"}"), "{\"x\":\"tomorrow\"}",
	"x: It must be a time with its offset such as "
	"2026-01-31T23:59:59+01:00."},
    {PROPERTY("{\"format\":\"date\"}"), "{\"x\":\"2026-02-28\"}", ""},
    {PROPERTY("{\"format\":\"date\"}"), "{\"x\":\"2026-02-30\"}",
	"x: It must be of the format date."},
    {PROPERTY("{\"format\":\"uuid\"}"),
	"{\"x\":\"019a0000-0000-7000-8000-000000000000\"}", ""},
    {PROPERTY("{\"format\":\"uuid\"}"), "{\"x\":\"7\"}",
	"x: It must be of the format uuid."},
    {PROPERTY("{\"format\":\"hostname\"}"), "{\"x\":\"?\"}", ""},

    /* Words of the wrong kind hold nothing. */
    {OBJECT("\"required\":7,\"properties\":7,\"enum\":7"), "{\"x\":1}", ""},
    {OBJECT("\"required\":[7,null]"), "{\"7\":1}", ""},
    {PROPERTY("{\"minLength\":\"2\",\"format\":7,\"type\":7}"), "{\"x\":\"\"}",
	""},
};

Test(json_schema, a_value_fits_or_the_sentence_says_where_not)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct json_object *schema AUTO_JSON = NULL;
		struct json_object *value AUTO_JSON = NULL;
		char why[JSON_SCHEMA_WHY];
		bool fits;

		cr_assert_eq(json_parse_any(rows[i].schema,
				 strlen(rows[i].schema), 32, &schema),
		    OK, "%s", rows[i].schema);
		cr_assert_eq(json_parse_object(
				 rows[i].value, strlen(rows[i].value), &value),
		    OK, "%s", rows[i].value);
		fits = json_schema_fits(schema, value, why);
		cr_expect_str_eq(why, rows[i].why, "%s against %s: %s",
		    rows[i].value, rows[i].schema, why);
		cr_expect_eq(fits, rows[i].why[0] == '\0', "%s", rows[i].value);
	}
}

Test(json_schema, a_long_path_is_cut_and_nothing_else_happens)
{
	struct json_object *schema AUTO_JSON = NULL;
	struct json_object *value AUTO_JSON = NULL;
	char why[JSON_SCHEMA_WHY], text[2048] = "";
	const char *open = "{\"additionalProperties\":";

	for (int i = 0; i < 20; i++)
		strcat(text, open);
	strcat(text, "{\"type\":\"null\"}");
	for (int i = 0; i < 20; i++)
		strcat(text, "}");
	cr_assert_eq(json_parse_any(text, strlen(text), 32, &schema), OK);
	text[0] = '\0';
	for (int i = 0; i < 20; i++)
		strcat(text, "{\"a_name_that_is_rather_long_for_a_member\":");
	strcat(text, "1");
	for (int i = 0; i < 20; i++)
		strcat(text, "}");
	cr_assert_eq(json_parse_object(text, strlen(text), &value), OK);
	cr_expect(!json_schema_fits(schema, value, why));
	cr_expect_lt(strlen(why), JSON_SCHEMA_WHY);
	cr_expect_not_null(strstr(why, ": It must be of the type null."));
}

Test(json_schema, a_schema_of_arguments_is_an_object_of_schemas)
{
	static const struct {
		const char *schema;
		const char *why;
	} schemas[] = {
	    {"{\"type\":\"object\"}", ""},
	    {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":true}}", ""},
	    {"[]", "It must be an object."},
	    {"{}", "Its type must be object."},
	    {"{\"type\":\"string\"}", "Its type must be object."},
	    {"{\"type\":\"object\",\"properties\":[]}",
		"Its properties must be an object."},
	    {"{\"type\":\"object\",\"properties\":{\"a\":7}}",
		"properties.a must be a schema."},
	};

	for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++) {
		struct json_object *schema AUTO_JSON = NULL;
		const char *text = schemas[i].schema;
		char why[JSON_SCHEMA_WHY];

		cr_assert_eq(
		    json_parse_any(text, strlen(text), 32, &schema), OK);
		cr_expect_eq(json_schema_is_sound(schema, why),
		    schemas[i].why[0] == '\0');
		cr_expect_str_eq(why, schemas[i].why);
	}
}

/* A sentence goes to a model as JSON: what it cuts must stay UTF-8. */
Test(json_schema, cuts_no_character_in_two)
{
	static const char *const parts[] = {
	    "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

	for (size_t i = 0; i < 12; i++) {
		struct buf name = {0}, schema = {0}, value = {0};
		struct json_object *s AUTO_JSON = NULL, *v AUTO_JSON = NULL;
		char why[JSON_SCHEMA_WHY];

		for (size_t j = 0; j < 100; j++)
			buf_puts(&name, j < i % 4 ? "x" : parts[i % 3]);
		buf_printf(&schema,
		    "{\"properties\":{\"%s\":{\"properties\":{\"%s\":"
		    "{\"const\":\"%s\"}}}},\"additionalProperties\":false}",
		    buf_text(&name), buf_text(&name), buf_text(&name));
		buf_printf(&value, "{\"%s\":{\"%s\":1}}", buf_text(&name),
		    buf_text(&name));
		cr_assert_eq(json_parse_any(schema.p, schema.n, 32, &s), OK);
		cr_assert_eq(json_parse_any(value.p, value.n, 32, &v), OK);
		cr_expect(!json_schema_fits(s, v, why));
		cr_expect(text_is_clean(why, strlen(why)), "%s", why);
		cr_expect_gt(strlen(why), 100);
		buf_free(&name);
		buf_free(&schema);
		buf_free(&value);
	}
}

Test(json_schema, holds_nobody_up, .timeout = 60)
{
	static const char *const words[] = {"enum", "type", "required"};

	for (size_t i = 0; i < 3; i++) {
		struct buf schema = {0}, value = {0};
		struct json_object *s AUTO_JSON = NULL, *v AUTO_JSON = NULL;
		char why[JSON_SCHEMA_WHY];

		buf_printf(&schema, "{\"items\":{\"%s\":[\"a\"", words[i]);
		buf_puts(&value, i < 2 ? "[\"a\"" : "[{\"a\":1}");
		for (int j = 0; j < 2000; j++)
			buf_puts(&schema, ",\"a\"");
		for (int j = 0; j < 24000; j++)
			buf_puts(&value, i < 2 ? ",\"a\"" : ",{\"a\":1}");
		buf_puts(&schema, "]}}");
		buf_putc(&value, ']');
		cr_assert_eq(json_parse_any(schema.p, schema.n, 32, &s), OK);
		cr_assert_eq(json_parse_any(value.p, value.n, 32, &v), OK);
		cr_expect(!json_schema_fits(s, v, why));
		cr_expect_not_null(
		    strstr(why, "]: It is too large to be checked."), "%s",
		    why);
		buf_free(&schema);
		buf_free(&value);
	}
}
