/*
 * What a store's tool must be like before it is stored: a name that models
 * take, a URL that may be called, a schema that a model and Natter's own check
 * (base/json_schema.h) understand. By routes and natterctl alike, so that what
 * is refused never gets as far as the database.
 *
 * Thread: any; pure, but for the random bytes of a secret.
 */
#ifndef CHAT_STORE_TOOL_RULE_H
#define CHAT_STORE_TOOL_RULE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

#define STORE_TOOL_TIMEOUT_MIN 100
#define STORE_TOOL_TIMEOUT_MAX 60000
#define STORE_TOOL_SCHEMA_MAX  8192 /* bytes of JSON */

/* How long calls are signed with the secret before, too. */
#define STORE_TOOL_OVERLAP_S     86400
#define STORE_TOOL_OVERLAP_MAX_S 2592000

/* A secret that was made, with its NUL. */
#define STORE_TOOL_SECRET 48

/* What is said of a tool; NULL: nothing. */
struct store_tool_said {
	const char *name;
	const char *description;
	const char *parameters; /* JSON */
	const char *url;
	const char *method;
	const char *timeout_ms; /* digits */
	const char *secret;
	/* CHAT_TOOLS_ALLOW; NULL: whoever checks does not know it. */
	const char *allowed;
};

#define STORE_TOOL_WHY 320

struct store_tool_fault {
	const char *field; /* constant */
	char why[STORE_TOOL_WHY];
};

/* ERR_INVALID_FIELD and what is wrong with what. */
enum err store_tool_check(const struct store_tool_said *said,
    struct store_tool_fault *out_fault) MUST_CHECK;

/* store_tool_schema.c: is it a schema of a tool's arguments? Else why not. */
bool store_tool_schema_fits(const char *json, char why[static STORE_TOOL_WHY]);

/* Reads a number of seconds from 0 to STORE_TOOL_OVERLAP_MAX_S. */
bool store_tool_overlap(const char *digits, long *out_s);

/* Makes a secret: 32 random bytes as text. */
void store_tool_secret(char out[static STORE_TOOL_SECRET]);

#endif
