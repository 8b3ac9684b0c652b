/*
 * The API's two steps, called by the front (and the second also by the chores
 * thread). Step one needs no body, so that a body too large is refused before
 * it is read; step two authenticates and runs the handler. Handlers' own
 * prototypes stand here too, in the order of routes.def.
 *
 * Thread: front and chores, each with its own services.
 */
#ifndef API_API_H
#define API_API_H

#include "base/errors.h"
#include "http/route.h"

struct reply;
struct request;

/*
 * Finds the route and checks method, content type and length (`content_length`
 * as declared). On refusal the reply is filled and the error returned.
 */
enum err api_route(
    struct request *req, struct reply *rep, size_t content_length) MUST_CHECK;

/* Authenticates as the route demands, runs the handler, turns errors into
 * problems. The reply is always filled. */
void api_handle(struct request *req, struct reply *rep);

/* The whole table, for tests and documentation. */
extern const struct route_table api_routes;

#define ROUTE(                                                            \
    method, pattern, handler, access, limit, thread, body_max, arena_max) \
	enum err handler(struct request *req, struct reply *rep);
#include "api/routes.def"
#undef ROUTE

#endif
