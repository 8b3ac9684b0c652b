/*
 * Checks what is said of a store's tool, and makes secrets. Schemas are
 * store_tool_schema.c's.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/text.h"
#include "chat/store_tool_rule.h"
#include "chat/tool.h"

#define NAME_LENGTH 64
#define TEXT_MAX    1024
#define URL_MAX     2000
#define SECRET_MIN  32
#define SECRET_MAX  256

/* Of names that models take. */
static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
			      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

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
	*out_fault = (struct store_tool_fault){0};
	char *why = out_fault->why;

	if (said->name != NULL && !check_name(said->name, why))
		out_fault->field = "name";
	else if (said->description != NULL &&
		 !check_description(said->description, why))
		out_fault->field = "description";
	else if (said->parameters != NULL &&
		 !store_tool_schema_fits(said->parameters, why))
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
	(void)snprintf(out, STORE_TOOL_SECRET, "nts_");
	sodium_bin2base64(out + 4, STORE_TOOL_SECRET - 4, bytes, sizeof(bytes),
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	explicit_bzero(bytes, sizeof(bytes));
}
