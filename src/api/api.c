/*
 * Dispatch: the table of routes.def, and what stands before every handler.
 * Knows no route in particular but the health checks, which answer even while
 * draining.
 */
#include <string.h>

#include "api/api.h"
#include "api/upload.h"
#include "auth/access.h"
#include "auth/browser.h"
#include "auth/client.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/id.h"
#include "http/limit_headers.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/request.h"
#include "limit/limit.h"
#include "store/cache.h"
#include "store/pg.h"

static const struct route routes[] = {
#define ROUTE(                                                            \
    method, pattern, handler, access, limit, thread, body_max, arena_max) \
	{pattern, handler, method, access, limit, thread, body_max, arena_max},
#include "api/routes.def"
#undef ROUTE
};

static const struct {
	enum http_method method;
	const char *pattern;
	const char *names;
} parameters[] = {
#define PARAMETERS(method, pattern, names) {method, pattern, names},
#include "api/parameters.def"
#undef PARAMETERS
};

const struct route_table api_routes = {
    routes, sizeof(routes) / sizeof(routes[0])};

/*
 * A browser's question whether a page may call: the paths' methods are what
 * their rows say, so that it has no row of its own.
 */
static enum err
permit(struct request *req, struct reply *rep)
{
	const char *allow = NULL;
	enum err e = route_find(&api_routes, req, &allow);

	if (e != ERR_METHOD_NOT_ALLOWED)
		return e;
	origin_permit(req, rep, allow);
	return reply_empty(rep, 204);
}

static const struct route preflight = {.method = HTTP_METHOD__MAX,
    .pattern = "(preflight)",
    .handler = permit,
    .access = ACCESS_OPEN,
    .thread = ON_FRONT,
    .arena_max = (size_t)64 << 10};

static enum err
check(struct request *req, struct reply *rep, size_t content_length)
{
	const char *allow = NULL;
	enum err e = route_find(&api_routes, req, &allow);

	if (e == ERR_METHOD_NOT_ALLOWED && origin_is_preflight(req)) {
		req->route = &preflight;
		return content_length > 0 ? ERR_TOO_LARGE : OK;
	}
	if (e == ERR_METHOD_NOT_ALLOWED)
		reply_header(rep, "Allow", allow);
	if (e != OK)
		return e;
	if (content_length > req->route->body_max)
		return ERR_TOO_LARGE;
	if (content_length > 0 && !request_is_json(req) &&
	    !upload_is_taken(req))
		return ERR_MEDIA_TYPE;
	return OK;
}

enum err
api_route(struct request *req, struct reply *rep, size_t content_length)
{
	enum err e = check(req, rep, content_length);

	if (e != OK)
		reply_error(req, rep, e);
	return e;
}

static bool
answers_while_draining(const struct route *route)
{
	return route->handler == api_livez || route->handler == api_readyz ||
	       route->handler == api_metrics;
}

static enum err
authenticate(struct request *req)
{
	static enum err (*const ways[])(struct request *) = {
	    [ACCESS_USER] = access_authenticate,
	    [ACCESS_PAGE] = access_authenticate_page,
	    [ACCESS_LEAVE] = access_authenticate_leaving,
	    [ACCESS_ADMIN] = access_authenticate,
	};
	uint64_t began = clock_mono_us();
	enum err e;

	if (req->route->access == ACCESS_OPEN)
		return limit_open(req);
	e = ways[req->route->access](req);
	req->phases.auth_us = clock_mono_us() - began;
	if (e == OK && req->route->access == ACCESS_ADMIN &&
	    strcmp(req->who.role, "admin") != 0)
		return ERR_FORBIDDEN;
	return e;
}

/*
 * Whose data a request changes that is no GET: the caller's own; an
 * administrator's, those of whom (or what) the path names first.
 */
static struct cache_write
change_of(const struct request *req)
{
	bool is_named = req->route->access == ACCESS_ADMIN && req->ids[0] &&
			id_is_uuid(req->ids[0]);
	struct cache_write w = {
	    .change = req->method == HTTP_DELETE ? CACHE_DELETE : CACHE_WRITE,
	    .users = {is_named ? req->ids[0] : req->who.user_id},
	};

	if (req->route->thread == ON_BULK)
		w.longer_ms = req->services->config->bulk_seconds * 1000;
	w.n_users = req->method != HTTP_GET && w.users[0];
	return w;
}

/* After ERR_UNAVAILABLE a commit may still come: the mark ends by itself. */
static enum err
run_handler(struct request *req, struct reply *rep)
{
	struct cache *cache = req->services->cache;
	struct cache_write w = change_of(req);
	enum err e;

	cache_write_begin(cache, req->arena, &w);
	e = req->route->handler(req, rep);
	if (e != ERR_UNAVAILABLE)
		cache_write_end(cache, req->arena, &w);
	return e;
}

/* Refuses what the route's query cannot say. */
static enum err
check_query(struct request *req)
{
	const char *known = "";

	/* A preflight asks for another request, and has that one's query. */
	if (!*req->query || req->route == &preflight)
		return OK;
	for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++)
		if (parameters[i].method == req->route->method &&
		    strcmp(parameters[i].pattern, req->route->pattern) == 0)
			known = parameters[i].names;
	return strcmp(known, "*") == 0 ? OK
				       : request_known_parameters(req, known);
}

static enum err
handle(struct request *req, struct reply *rep)
{
	struct services *services = req->services;
	uint64_t began;
	enum err e;

	/* A worker that only leaves (reload) still answers what it took. */
	if (services->refuses_new(services->worker) &&
	    !answers_while_draining(req->route))
		return ERR_DRAINING;
	e = authenticate(req);
	if (e == OK)
		e = check_query(req);
	if (e != OK)
		return e;
	began = clock_mono_us();
	e = run_handler(req, rep);
	req->phases.handle_us = clock_mono_us() - began;
	return e;
}

/* Will this session never be refreshed again? */
static bool
is_terminal(enum err e)
{
	return e == ERR_SESSION_REVOKED || e == ERR_REFRESH_INVALID ||
	       e == ERR_REFRESH_EXPIRED || e == ERR_REFRESH_REUSED;
}

void
api_handle(struct request *req, struct reply *rep)
{
	enum err e;

	pg_set_caller(req->services->pg, req->request_id, client_address(req));
	e = handle(req, rep);
	limit_give_back(req, e);
	pg_set_caller(req->services->pg, NULL, NULL);
	if (e != OK && req->is_by_cookie && is_terminal(e))
		browser_take_back(req, rep);
	if (e != OK)
		reply_error(req, rep, e);
	rep->limits = limit_headers(req);
}
