/*
 * Cookies (RFC 6265): one out of a request's header, one for a reply. Strict
 * about ours and indifferent to everybody else's: a site has cookies with
 * values of all kinds, and none of them may keep ours from being found.
 *
 * Thread: any; pure.
 */
#ifndef HTTP_COOKIE_H
#define HTTP_COOKIE_H

#include <stdbool.h>

struct arena;

/*
 * The value of the cookie `name` in a Cookie header, copied into the arena.
 * NULL unless it is there exactly once and has only characters of base64url
 * and dots, of which all our cookies are made: a cookie sent twice was put
 * there by somebody else at least once.
 */
const char *cookie_find(struct arena *a, const char *header, const char *name);

/* A cookie for this host alone. */
struct cookie {
	const char *name;  /* begins with __Host- */
	const char *value; /* "" deletes it */
	long max_age_s;    /* 0: until the browser is closed */
	bool is_strict;    /* SameSite=Strict; otherwise Lax */
};

/* The value of Set-Cookie for it, HttpOnly; NULL beyond the arena's cap. */
const char *cookie_write(struct arena *a, const struct cookie *cookie);

#endif
