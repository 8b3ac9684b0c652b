/*
 * Web pages that talk to us: which request may use its cookies (CSRF), and
 * which other origins' pages may call at all (CORS). A browser says where a
 * request comes from in Sec-Fetch-Site and Origin, which no page can forge;
 * CHAT_ORIGINS names the origins that count as our own. Clients that are no
 * browsers send neither, and are not concerned: they send no cookies.
 *
 * Thread: any.
 */
#ifndef HTTP_ORIGIN_H
#define HTTP_ORIGIN_H

#include <stdbool.h>

#include "base/errors.h"

struct config;
struct reply;
struct request;

/*
 * Is the text a list of origins as browsers send them: http or https, "://",
 * a host in lower case, a port unless it is the usual one, nothing after it?
 * Spaces between; "" is a list too. There is no wildcard.
 */
bool origin_list_is_fit(const char *list);

/* Is it one of CHAT_ORIGINS, letter by letter? */
bool origin_is_allowed(const struct config *config, const char *origin);

/*
 * May this request be believed for its cookies? A POST of application/json
 * with X-Natter-Client, from the same origin or an allowed one. Otherwise
 * ERR_CSRF_FAILED.
 */
enum err origin_check(struct request *req) MUST_CHECK;

/* Does a browser ask whether a page of an allowed origin may call? */
bool origin_is_preflight(const struct request *req);

/* Answers that, for a route that takes the methods in `allow`. Under /openai/
 * pages may send any header: the libraries there have many of their own, and
 * no cookie counts. */
void
origin_permit(const struct request *req, struct reply *rep, const char *allow);

/*
 * Adds what lets a page of an allowed origin read the reply. `origin` is the
 * request's and lives as long as the reply. Nothing without CHAT_ORIGINS.
 */
void origin_allow(
    const struct config *config, const char *origin, struct reply *rep);

#endif
