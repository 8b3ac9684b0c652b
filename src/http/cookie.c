/*
 * Reading and writing cookies. Knows no cookie in particular.
 */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/arena.h"
#include "http/cookie.h"

#define OURS                         \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"abcdefghijklmnopqrstuvwxyz" \
	"0123456789-_."

#define BLANKS " \t"

/* Drops blanks at both ends of [*p, *end). */
static void
trim(const char **p, const char **end)
{
	while (*p < *end && strchr(BLANKS, **p))
		++*p;
	while (*p < *end && strchr(BLANKS, (*end)[-1]))
		--*end;
}

/* Is [p, end) `name` and "="? Then *p is moved to the value. */
static bool
is_named(const char **p, const char *end, const char *name)
{
	size_t n = strlen(name);
	if ((size_t)(end - *p) <= n || memcmp(*p, name, n) != 0 ||
	    (*p)[n] != '=')
		return false;
	*p += n + 1;
	return true;
}

const char *
cookie_find(struct arena *a, const char *header, const char *name)
{
	const char *found = NULL, *found_end = NULL;
	for (const char *pair = header; *pair;) {
		const char *next = pair + strcspn(pair, ";");
		const char *p = pair, *end = next;
		trim(&p, &end);
		if (is_named(&p, end, name)) {
			if (found)
				return NULL;
			found = p;
			found_end = end;
		}
		pair = *next ? next + 1 : next;
	}
	if (!found || found == found_end ||
	    found + strspn(found, OURS) < found_end)
		return NULL;
	return arena_strndup(a, found, (size_t)(found_end - found));
}

const char *
cookie_write(struct arena *a, const struct cookie *cookie)
{
	const char *same_site = cookie->is_strict ? "Strict" : "Lax";
	const char *life = "";
	assert(strncmp(cookie->name, "__Host-", 7) == 0);
	assert(cookie->value[strspn(cookie->value, OURS)] == '\0');
	if (!*cookie->value)
		life = "; Max-Age=0";
	else if (cookie->max_age_s > 0)
		life = arena_printf(a, "; Max-Age=%ld", cookie->max_age_s);
	if (!life)
		return NULL;
	return arena_printf(a, "%s=%s; Path=/%s; Secure; HttpOnly; SameSite=%s",
	    cookie->name, cookie->value, life, same_site);
}
