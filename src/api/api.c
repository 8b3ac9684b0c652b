/*
 * Dispatch: the table of routes.def, and what stands before every handler.
 * Knows no route in particular but the health checks, which answer even while
 * draining.
 */
#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "auth/access.h"
#include "base/clock.h"
#include "http/reply.h"
#include "http/request.h"

static const struct route routes[] = {
#define ROUTE(method, pattern, handler, access, thread, body_max, arena_max) \
	{method, pattern, handler, access, thread, body_max, arena_max},
#include "api/routes.def"
#undef ROUTE
};

const struct route_table api_routes = {
    routes, sizeof(routes) / sizeof(routes[0])};

/* Is the media type application/json, whatever its parameters? */
static bool
is_json(const char *type)
{
	static const char want[] = "application/json";
	size_t n = sizeof(want) - 1;

	return strncasecmp(type, want, n) == 0 &&
	       (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

static enum err
check(struct request *req, struct reply *rep, size_t content_length)
{
	const char *allow = NULL;
	enum err e = route_find(&api_routes, req, &allow);

	if (e == ERR_METHOD_NOT_ALLOWED)
		reply_header(rep, "Allow", allow);
	if (e != OK)
		return e;
	if (content_length > req->route->body_max)
		return ERR_TOO_LARGE;
	if (content_length > 0 && !is_json(req->content_type))
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
	return route->handler == api_livez || route->handler == api_readyz;
}

static enum err
authenticate(struct request *req)
{
	uint64_t began = clock_mono_us();
	enum err e;

	if (req->route->access == ACCESS_OPEN)
		return OK;
	e = access_authenticate(req);
	req->phases.auth_us = clock_mono_us() - began;
	if (e == OK && req->route->access == ACCESS_ADMIN &&
	    strcmp(req->who.role, "admin") != 0)
		return ERR_FORBIDDEN;
	return e;
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
	if (e != OK)
		return e;
	began = clock_mono_us();
	e = req->route->handler(req, rep);
	req->phases.handle_us = clock_mono_us() - began;
	return e;
}

void
api_handle(struct request *req, struct reply *rep)
{
	enum err e = handle(req, rep);

	if (e != OK)
		reply_error(req, rep, e);
}
