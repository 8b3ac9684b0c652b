/*
 * What a store's tool must be like: names, URLs, schemas, secrets. Each row
 * that is refused differs from one that is taken by what it is about.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/store_tool_rule.h"

static struct store_tool_fault fault;

static bool
takes(const struct store_tool_said *said, const char *field)
{
	enum err e;

	memset(&fault, 0, sizeof(fault));
	e = store_tool_check(said, &fault);
	cr_expect(e == OK || e == ERR_INVALID_FIELD);
	cr_expect_eq(e == OK, fault.field == NULL);
	cr_expect_eq(e == OK, fault.why[0] == '\0', "%s", fault.why);
	if (e != OK)
		cr_expect_str_eq(fault.field, field);
	return e == OK;
}

#define LONG_NAME \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

Test(store_tool_rule, names_are_what_models_take_and_not_our_own)
{
	static const struct {
		const char *name;
		bool want;
	} rows[] = {
	    {"order_status", true},
	    {"a", true},
	    {"A-1_z", true},
	    {LONG_NAME, true},
	    {LONG_NAME "a", false},
	    {"", false},
	    {"order status", false},
	    {"order.status", false},
	    {"order/status", false},
	    {"\xc3\xa4", false},
	    {"order\n", false},
	    {"create_task", false},
	    {"search_documents", false},
	    {"create_tasks", true},
	    {"Create_task", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(
		    takes(&(struct store_tool_said){.name = rows[i].name},
			"name"),
		    rows[i].want, "%s: %s", rows[i].name, fault.why);
}

Test(store_tool_rule, urls_lead_out_unless_they_are_allowed)
{
	static const struct {
		const char *url, *allowed;
		bool want;
	} rows[] = {
	    {"https://shop.example/tools/order.php", "", true},
	    {"http://shop.example", "", true},
	    {"https://shop.example:8443/x?y=1", "", true},
	    {"HTTPS://shop.example/", "", true},
	    {"https://93.184.215.14/", "", true},
	    {"https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", "", true},
	    {"", "", false}, {"shop.example", "", false},
	    {"ftp://shop.example/", "", false},
	    {"file:///etc/passwd", "", false},
	    {"javascript:alert(1)", "", false}, {"https://", "", false},
	    {"https://user@shop.example/", "", false},
	    {"https://user:pass@shop.example/", "", false},
	    {"https://shop.example/#x", "", false},
	    {"https://shop.example/a b", "", false},
	    {"https://shop.example:99999/", "", false},
	    {"http://127.0.0.1/", "", false},
	    {"http://127.0.0.1/", "127.0.0.1", true},
	    {"http://127.0.0.1:8080/", "127.0.0.1:8080", true},
	    {"http://127.0.0.1/", "127.0.0.1:8080", false},
	    {"https://127.0.0.1/", "127.0.0.1:443", true},
	    {"http://127.1/", "", false}, {"http://2130706433/", "", false},
	    {"http://0x7f000001/", "", false},
	    {"http://10.1.2.3/", "10.0.0.0/8", true},
	    {"http://169.254.169.254/latest/meta-data", "", false},
	    {"http://[::1]/", "", false},
	    {"http://[::1]:8080/", "[::1]:8080", true},
	    {"http://[::ffff:10.0.0.1]/", "", false},
	    {"http://[fe80::1]/", "fd00::/8", false},
	    /* Of a name nobody knows here; it is looked at when it is called.
	     */
	    {"http://localhost/", "", true},
	    {"http://127.0.0.1/", NULL, true}, /* natterctl knows no list */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(takes(&(struct store_tool_said){.url = rows[i].url,
				       .allowed = rows[i].allowed},
				 "url"),
		    rows[i].want, "%s, %s: %s", rows[i].url, rows[i].allowed,
		    fault.why);
}

#define OBJECT(s) "{\"type\":\"object\"," s "}"
#define ONE(s)    OBJECT("\"properties\":{\"a\":" s "}")

Test(store_tool_rule, schemas_are_checked_word_by_word)
{
	static const struct {
		const char *json;
		const char *why; /* in the sentence; NULL: it is taken */
	} rows[] = {
	    {"{\"type\":\"object\"}", NULL},
	    {OBJECT("\"properties\":{}"), NULL},
	    {ONE("{\"type\":\"string\",\"minLength\":1,\"maxLength\":20,"
		 "\"description\":\"x\",\"format\":\"date\"}"),
		NULL},
	    {ONE("{\"type\":[\"string\",\"null\"],\"enum\":[\"b\",null]}"),
		NULL},
	    {ONE("{\"type\":\"array\",\"items\":{\"type\":\"integer\","
		 "\"minimum\":-1,\"exclusiveMaximum\":2.5},\"minItems\":0}"),
		NULL},
	    {ONE("true"), NULL},
	    {OBJECT("\"properties\":{\"a\":{}},\"required\":[\"a\"],"
		    "\"additionalProperties\":false"),
		NULL},
	    {OBJECT("\"additionalProperties\":{\"type\":\"number\"}"), NULL},

	    {"", "JSON object"},
	    {"[]", "JSON object"},
	    {"{\"type\":\"object\"", "JSON object"},
	    {"{}", "type must be"},
	    {"{\"type\":\"string\"}", "type must be"},
	    {"{\"type\":[\"object\"]}", "type must be"},
	    {OBJECT("\"properties\":[]"), "properties: It must be an object"},
	    {OBJECT("\"propertys\":{}"), "propertys: Natter does not know"},
	    {OBJECT("\"$ref\":\"#/x\""), "$ref: Natter does not know"},
	    {OBJECT("\"anyOf\":[{}]"), "anyOf: Natter does not know"},
	    {OBJECT("\"required\":\"a\""), "required: It must be a list"},
	    {OBJECT("\"required\":[1]"), "required: It must be a list"},
	    {OBJECT("\"required\":[\"a\"]"),
		"required: There is no property \"a\""},
	    {OBJECT("\"properties\":{\"a\":{}},\"required\":[\"a\",\"a\"]"),
		"required: It must be a list of names, each once"},
	    {OBJECT("\"properties\":{\"a b\":{}}"),
		"properties.a b: A name has"},
	    {OBJECT("\"properties\":{\"\":{}}"), "A name has"},
	    {ONE("1"), "properties.a: It must be a schema"},
	    {ONE("{\"type\":\"text\"}"),
		"properties.a.type: It must be string, number"},
	    {ONE("{\"type\":[]}"), "properties.a.type: It must be string"},
	    {ONE("{\"type\":[\"string\",\"x\"]}"), "properties.a.type: It"},
	    {ONE("{\"enum\":[]}"), "properties.a.enum: It must be a list"},
	    {ONE("{\"minLength\":-1}"), "minLength: It must be a whole"},
	    {ONE("{\"minLength\":1.5}"), "minLength: It must be a whole"},
	    {ONE("{\"maximum\":\"1\"}"), "maximum: It must be a number"},
	    {ONE("{\"description\":1}"), "description: It must be a string"},
	    {ONE("{\"items\":[{}]}"), "items: It must be a schema"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool is_taken =
		    takes(&(struct store_tool_said){.parameters = rows[i].json},
			"parameters");

		cr_expect_eq(is_taken, rows[i].why == NULL, "%s: %s",
		    rows[i].json, fault.why);
		if (rows[i].why != NULL)
			cr_expect_not_null(strstr(fault.why, rows[i].why),
			    "%s: %s", rows[i].json, fault.why);
	}
}

static bool
takes_text(const char *text)
{
	return takes(
	    &(struct store_tool_said){.parameters = text}, "parameters");
}

Test(store_tool_rule, schemas_are_bounded)
{
	char json[20000];
	size_t n = 0;

	for (int depth = 1; depth < 20; depth++) {
		n = (size_t)sprintf(json, "{\"type\":\"object\"");
		for (int i = 0; i < depth; i++)
			n += (size_t)sprintf(json + n, ",\"items\":{\"title\":"
						       "\"x\"");
		for (int i = 0; i <= depth; i++)
			n += (size_t)sprintf(json + n, "}");
		cr_expect_eq(
		    takes_text(json), depth <= 12, "%d: %s", depth, fault.why);
	}
	for (size_t size = STORE_TOOL_SCHEMA_MAX - 2;
	     size < STORE_TOOL_SCHEMA_MAX + 3; size++) {
		n = (size_t)sprintf(
		    json, "{\"type\":\"object\",\"description\":\"");
		memset(json + n, 'a', size - n - 2);
		strcpy(json + size - 2, "\"}");
		cr_expect_eq(takes_text(json), size <= STORE_TOOL_SCHEMA_MAX,
		    "%zu", size);
	}
}

Test(store_tool_rule, the_rest_of_a_tool)
{
	static const struct {
		struct store_tool_said said;
		const char *field;
		bool want;
	} rows[] = {
	    {{.method = "POST"}, "method", true},
	    {{.method = "PUT"}, "method", true},
	    {{.method = "GET"}, "method", false},
	    {{.method = "post"}, "method", false},
	    {{.timeout_ms = "100"}, "timeout_ms", true},
	    {{.timeout_ms = "60000"}, "timeout_ms", true},
	    {{.timeout_ms = "99"}, "timeout_ms", false},
	    {{.timeout_ms = "60001"}, "timeout_ms", false},
	    {{.timeout_ms = "1e3"}, "timeout_ms", false},
	    {{.timeout_ms = "-100"}, "timeout_ms", false},
	    {{.timeout_ms = "1000.5"}, "timeout_ms", false},
	    {{.timeout_ms = ""}, "timeout_ms", false},
	    {{.timeout_ms = "99999999999999999999"}, "timeout_ms", false},
	    {{.description = "x"}, "description", true},
	    {{.description = ""}, "description", false},
	    {{.description = "\xff"}, "description", false},
	    {{.secret = "01234567890123456789012345678901"}, "secret", true},
	    {{.secret = "0123456789012345678901234567890"}, "secret", false},
	    {{.secret = "0123456789012345 6789012345678901"}, "secret", false},
	    {{.secret = "0123456789012345\t6789012345678901"}, "secret", false},
	    {{.secret = "\xc3\xa4"
			"01234567890123456789012345678901"},
		"secret", false},
	    {{0}, NULL, true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(takes(&rows[i].said, rows[i].field), rows[i].want,
		    "%zu: %s", i, fault.why);
}

Test(store_tool_rule, a_made_secret_is_one_and_never_the_same)
{
	char one[STORE_TOOL_SECRET], two[STORE_TOOL_SECRET];

	store_tool_secret(one);
	store_tool_secret(two);
	cr_expect_eq(strlen(one), 47);
	cr_expect_eq(strncmp(one, "nts_", 4), 0);
	cr_expect_str_neq(one, two);
	cr_expect(takes(&(struct store_tool_said){.secret = one}, "secret"));
}

Test(store_tool_rule, overlaps_are_seconds)
{
	long s = -1;

	cr_expect(store_tool_overlap("0", &s) && s == 0);
	cr_expect(store_tool_overlap("2592000", &s) && s == 2592000);
	cr_expect_not(store_tool_overlap("2592001", &s));
	cr_expect_not(store_tool_overlap("-1", &s));
	cr_expect_not(store_tool_overlap("1.0", &s));
	cr_expect_not(store_tool_overlap("", &s));
}
