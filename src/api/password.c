/*
 * /api/v1/auth/password and /auth/reauth: the signed-in user proves the
 * password once more. Must not know how. Round trips, the session's own check
 * aside: two to Postgres; one to Redis where other sessions ended.
 */
#include <json-c/json.h>
#include <stdint.h>
#include <string.h>

#include "api/api.h"
#include "auth/browser.h"
#include "auth/password.h"
#include "auth/proof.h"
#include "base/config.h"
#include "base/json.h"
#include "http/reply.h"
#include "http/request.h"

/* The arena's copies: the fields' and the body's. */
static void
wipe(struct request *req, const char *a, const char *b)
{
	if (a)
		explicit_bzero((char *)(uintptr_t)a, strlen(a));
	if (b)
		explicit_bzero((char *)(uintptr_t)b, strlen(b));
	explicit_bzero((char *)(uintptr_t)req->body, req->body_len);
}

enum err
api_auth_reauth(struct request *req, struct reply *rep)
{
	static const char *const known[] = {"password", NULL};
	const struct field_rule rule = {.name = "password",
	    .min = 1,
	    .max = PASSWORD_MAX,
	    .required = true};
	const char *password = NULL;
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	if (!e)
		e = request_known_fields(req, body, known);
	if (!e)
		e = request_field(req, body, &rule, &password);
	if (!e)
		e = proof_renew(req, password);
	wipe(req, password, NULL);
	return e ? e : reply_empty(rep, 204);
}

enum err
api_auth_password(struct request *req, struct reply *rep)
{
	static const char *const known[] = {
	    "current_password", "new_password", NULL};
	const struct field_rule current = {.name = "current_password",
	    .min = 1,
	    .max = PASSWORD_MAX,
	    .required = true};
	const struct field_rule next = {.name = "new_password",
	    .min = (size_t)req->services->config->password_min,
	    .max = PASSWORD_MAX,
	    .required = true};
	const char *old_password = NULL, *new_password = NULL;
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	if (!e)
		e = request_known_fields(req, body, known);
	if (!e)
		e = request_field(req, body, &current, &old_password);
	if (!e)
		e = request_field(req, body, &next, &new_password);
	browser_know_device(req);
	if (!e)
		e = proof_change_password(req, old_password, new_password);
	wipe(req, old_password, new_password);
	return e ? e : reply_empty(rep, 204);
}
