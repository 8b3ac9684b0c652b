/*
 * Checks a store's tool, its schema word by word: a word that is misspelt or
 * that Natter does not hold arguments against would promise what nobody keeps.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/json.h"
#include "base/text.h"
#include "chat/store_tool_rule.h"
#include "chat/tool.h"

#define SCHEMA_DEPTH 12
#define NAME_LENGTH  64
#define TEXT_MAX     1024
#define URL_MAX      2000
#define SECRET_MIN   32
#define SECRET_MAX   256

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

static bool
check_parameters(const char *json, char *why)
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

static bool
check_name(const char *name, char *why)
{
	size_t n = strlen(name);

	if (n < 1 || n > NAME_LENGTH || strspn(name, letters) != n) {
		snprintf(why, STORE_TOOL_WHY,
		    "It takes 1 to 64 of a-z, A-Z, 0-9, _ and -.");
		return false;
	}
	for (enum native_tool t = 0; t < NATIVE_TOOLS; t++)
		if (strcmp(name, tool_native(t)->name) == 0) {
			snprintf(why, STORE_TOOL_WHY,
			    "Natter has a tool of this name itself.");
			return false;
		}
	return true;
}

/* An address that lies inside and stands in the URL itself is told at once;
 * of a name nobody knows before it is looked up. */
static bool
is_reachable(const char *host, const char *port, const char *allowed)
{
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} at = {0};
	char bare[64];
	size_t n = strlen(host);
	in_port_t p = htons((in_port_t)strtoul(port, NULL, 10));

	if (allowed == NULL || n >= sizeof(bare))
		return true;
	snprintf(bare, sizeof(bare), "%s", host + (host[0] == '['));
	bare[strcspn(bare, "]")] = '\0';
	if (inet_pton(AF_INET, bare, &at.four.sin_addr) == 1) {
		at.four.sin_family = AF_INET;
		at.four.sin_port = p;
	} else if (inet_pton(AF_INET6, bare, &at.six.sin6_addr) == 1) {
		at.six.sin6_family = AF_INET6;
		at.six.sin6_port = p;
	} else {
		return true;
	}
	return address_is_outside(&at.any) ||
	       address_list_has(allowed, host, &at.any);
}

static char *
part(CURLU *url, CURLUPart which, unsigned flags)
{
	char *text = NULL;

	return curl_url_get(url, which, &text, flags) == CURLUE_OK ? text
								   : NULL;
}

/* With the parser of the library that will call it: nobody is fooled. */
static bool
check_url(const char *text, const char *allowed, char *why)
{
	CURLU *url = curl_url();
	bool is_url = url != NULL && strlen(text) <= URL_MAX &&
		      curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;
	char *scheme = is_url ? part(url, CURLUPART_SCHEME, 0) : NULL;
	char *host = is_url ? part(url, CURLUPART_HOST, 0) : NULL;
	char *port =
	    is_url ? part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT) : NULL;
	char *user = is_url ? part(url, CURLUPART_USER, 0) : NULL;
	char *fragment = is_url ? part(url, CURLUPART_FRAGMENT, 0) : NULL;
	const char *wrong = NULL;

	if (scheme == NULL || host == NULL || port == NULL ||
	    (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
		wrong = "It must be an http:// or https:// URL of at most 2000 "
			"bytes.";
	else if (user != NULL || fragment != NULL)
		wrong = "It takes neither a user or password nor a fragment.";
	else if (!is_reachable(host, port, allowed))
		wrong = "This address lies inside the network, and "
			"CHAT_TOOLS_ALLOW does not name it.";
	if (wrong != NULL)
		snprintf(why, STORE_TOOL_WHY, "%s", wrong);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	curl_free(fragment);
	curl_url_cleanup(url);
	return wrong == NULL;
}

static bool
read_number(const char *digits, long max, long *out)
{
	size_t n = strlen(digits);
	long number = strtol(digits, NULL, 10);

	if (n < 1 || n > 9 || strspn(digits, "0123456789") != n || number > max)
		return false;
	*out = number;
	return true;
}

bool
store_tool_overlap(const char *digits, long *out_s)
{
	return read_number(digits, STORE_TOOL_OVERLAP_MAX_S, out_s);
}

static bool
check_timeout(const char *digits, char *why)
{
	long ms;

	if (read_number(digits, STORE_TOOL_TIMEOUT_MAX, &ms) &&
	    ms >= STORE_TOOL_TIMEOUT_MIN)
		return true;
	snprintf(why, STORE_TOOL_WHY,
	    "It must be a whole number from %d to %d: milliseconds.",
	    STORE_TOOL_TIMEOUT_MIN, STORE_TOOL_TIMEOUT_MAX);
	return false;
}

/* As it stands in files and environments of the site: no blanks, no controls.
 */
static bool
check_secret(const char *secret, char *why)
{
	size_t n = strlen(secret);
	bool is_plain = true;

	for (size_t i = 0; i < n; i++)
		is_plain = is_plain && secret[i] > ' ' && secret[i] < 0x7f;
	if (is_plain && n >= SECRET_MIN && n <= SECRET_MAX)
		return true;
	snprintf(why, STORE_TOOL_WHY,
	    "It must have %d to %d ASCII characters without blanks.",
	    SECRET_MIN, SECRET_MAX);
	return false;
}

static bool
check_description(const char *text, char *why)
{
	size_t n = strlen(text);

	if (n > 0 && text_is_clean(text, n) && text_length(text, n) <= TEXT_MAX)
		return true;
	snprintf(why, STORE_TOOL_WHY,
	    "It takes 1 to %d characters: what the tool does, for the model.",
	    TEXT_MAX);
	return false;
}

static bool
check_method(const char *method, char *why)
{
	if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0)
		return true;
	snprintf(why, STORE_TOOL_WHY, "It takes one of: POST PUT.");
	return false;
}

enum err
store_tool_check(
    const struct store_tool_said *said, struct store_tool_fault *out_fault)
{
	char *why = out_fault->why;

	out_fault->field = NULL;
	if (said->name != NULL && !check_name(said->name, why))
		out_fault->field = "name";
	else if (said->description != NULL &&
		 !check_description(said->description, why))
		out_fault->field = "description";
	else if (said->parameters != NULL &&
		 !check_parameters(said->parameters, why))
		out_fault->field = "parameters";
	else if (said->url != NULL && !check_url(said->url, said->allowed, why))
		out_fault->field = "url";
	else if (said->method != NULL && !check_method(said->method, why))
		out_fault->field = "method";
	else if (said->timeout_ms != NULL &&
		 !check_timeout(said->timeout_ms, why))
		out_fault->field = "timeout_ms";
	else if (said->secret != NULL && !check_secret(said->secret, why))
		out_fault->field = "secret";
	return out_fault->field == NULL ? OK : ERR_INVALID_FIELD;
}

void
store_tool_secret(char out[static STORE_TOOL_SECRET])
{
	unsigned char bytes[32];

	_Static_assert(STORE_TOOL_SECRET >= 4 + 44, "prefix and base64");
	randombytes_buf(bytes, sizeof(bytes));
	memcpy(out, "nts_", 4);
	sodium_bin2base64(out + 4, STORE_TOOL_SECRET - 4, bytes, sizeof(bytes),
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	explicit_bzero(bytes, sizeof(bytes));
}
