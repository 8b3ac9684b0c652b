/*
 * Matching a path and method against a table of routes. A pattern is a path
 * whose segments are literal or `{name}`; a `{name}` takes one non-empty
 * segment, a `{+name}` at its end all that is left, slashes and all. The table
 * comes from api/routes.def; this file knows no handler.
 *
 * Thread: any; pure.
 */
#ifndef HTTP_ROUTE_H
#define HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "http/request.h"

struct arena;
struct reply;

typedef enum err (*route_handler_fn)(struct request *req, struct reply *rep);

/* Who may call a route. */
enum route_access {
	ACCESS_OPEN,  /* anybody */
	ACCESS_USER,  /* a valid access token of a live session */
	ACCESS_PAGE,  /* the same, or a browser's cookie with one */
	ACCESS_LEAVE, /* the same, or a browser's cookie with a refresh token */
	ACCESS_ADMIN, /* the same, role admin */
};

/* What a call is charged to. */
enum route_limit {
	LIMIT_NONE,    /* nothing: health, and what nginx asks for each page */
	LIMIT_OPEN,    /* its address: routes that need no identity */
	LIMIT_REFRESH, /* its address, its session, and failures */
	LIMIT_API,     /* its user, its address, and both together */
	LIMIT_TURN,    /* likewise, but as one that calls a model */
};

/* Which thread runs the handler. */
enum route_thread {
	ON_FRONT,  /* short: a few round trips */
	ON_CHORES, /* slow: hashing */
	ON_BULK,   /* long: exports, imports, files to be read; they hold up
		    * no hashing */
	ON_SEARCH, /* waits for another server where it asks for a vector; else
		    * on the front */
	ROUTE_THREADS,
};

struct route {
	const char *pattern;
	route_handler_fn handler;
	enum http_method method;
	enum route_access access;
	enum route_limit limit;
	enum route_thread thread;
	size_t body_max;  /* bytes; 0 = takes no body */
	size_t arena_max; /* bytes that handling one request may allocate */
};

struct route_table {
	const struct route *routes;
	size_t n;
};

/*
 * Finds the route: the first row whose pattern fits says which resource it is,
 * so a literal segment must stand before a `{name}` in its place; of the rows
 * with that pattern, the one of the method. ERR_NO_ROUTE: no pattern fits the
 * path; ERR_METHOD_NOT_ALLOWED: one does, `allow` then lists its methods
 * ("GET, POST"). ERR_BAD_REQUEST: a slash came encoded, and it has no `{+name}`
 * that may have one. The ids are copied into the arena. HEAD is GET.
 */
enum err route_find(const struct route_table *table, struct request *req,
    const char **out_allow) MUST_CHECK;

/* The method of that name; HTTP_METHOD__MAX for an unknown one. */
enum http_method route_method(const char *name);

/*
 * Percent-decodes the path of a request URI (up to '?') into the arena, and
 * tells whether a slash came encoded. ERR_BAD_REQUEST for bad encoding, NUL,
 * invalid UTF-8, or a path that does not begin with '/'.
 */
enum err route_decode_path(struct arena *a, const char *uri,
    const char **out_path, bool *out_has_encoded_slash) MUST_CHECK;

#endif
