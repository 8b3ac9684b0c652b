/*
 * /api/v1/auth: reads the request, calls the auth domain, writes the reply.
 * Must not know SQL, Redis or how tokens are made.
 *
 * Round trips (Postgres, Redis), the session's own check aside: register 1, 0
 * (by invitation 2, 0); login 2, 0; exchange 2, 0; refresh 1, 0; logout 1, 1
 * (by its cookie alone 2, 1); verify 0, 0. One more to Redis where a session
 * had to go.
 */
#include <json-c/json.h>
#include <string.h>

#include "api/api.h"
#include "auth/browser.h"
#include "auth/exchange.h"
#include "auth/invite.h"
#include "auth/password.h"
#include "auth/profile.h"
#include "auth/refresh.h"
#include "auth/session.h"
#include "auth/user.h"
#include "base/config.h"
#include "base/json.h"
#include "base/zone.h"
#include "http/reply.h"
#include "http/request.h"

#define USERNAME_MAX 512 /* bytes as typed; text_username knows the rest */
#define DEVICE_MAX   200

/* The answer of register, login and refresh. */
static enum err
reply_tokens(struct request *req, struct reply *rep, int status,
    const struct session_tokens *t)
{
	struct json_object *o = json_object_new_object();
	struct json_object *user = json_object_new_object();
	json_put_text(user, "id", t->user_id);
	json_put_text(user, "username", t->username);
	json_put_text(user, "role", t->role);
	json_put_text(user, "created_at", t->user_created_at);
	json_put_text(o, "access_token", t->access_token);
	json_put_text(o, "token_type", "Bearer");
	json_put_number(o, "expires_in", t->expires_in);
	json_put_number(o, "refresh_in", t->refresh_in);
	if (t->carrier == SESSION_IN_BODY)
		json_put_text(o, "refresh_token", t->refresh_token);
	json_put_text(o, "session_id", t->session_id);
	json_object_object_add(o, "user", user);
	enum err e = reply_json(req, rep, status, o);
	if (!e && t->carrier != SESSION_IN_BODY)
		e = browser_give(req, rep, t);
	return e;
}

/* Reads {…, cookie?}: are cookies to carry this session? */
static enum err
read_cookie(struct request *req, struct json_object *body)
{
	bool is_wanted = false;
	enum err e = request_field_flag(req, body, "cookie", &is_wanted);
	return !e && is_wanted ? browser_enter(req) : e;
}

static enum session_carrier
carrier_of(const struct request *req, bool is_remembered)
{
	if (!req->is_by_cookie)
		return SESSION_IN_BODY;
	return is_remembered ? SESSION_IN_COOKIE : SESSION_IN_BRIEF_COOKIE;
}

static const char *const login_fields[] = {
    "username", "password", "device", "remember", "cookie", NULL};
static const char *const register_fields[] = {"username", "password", "device",
    "remember", "cookie", "invite", "time_zone", NULL};

/*
 * Reads {username, password, device?, remember?, cookie?, invite?, time_zone?},
 * as far as `known` names them. A new password has its fewest characters; one
 * that is to be checked only has to be there.
 */
static enum err
read_ask(struct request *req, const char *const *known, size_t password_min,
    struct user_ask *out)
{
	const struct field_rule username = {.name = "username",
	    .min = 1,
	    .max = USERNAME_MAX,
	    .required = true};
	const struct field_rule password = {.name = "password",
	    .min = password_min,
	    .max = PASSWORD_MAX,
	    .required = true};
	const struct field_rule device = {
	    .name = "device", .min = 1, .max = DEVICE_MAX, .nullable = true};
	const struct field_rule invite = {
	    .name = "invite", .max = INVITE_CODE, .nullable = true};
	const struct field_rule zone = {.name = "time_zone",
	    .min = 1,
	    .max = ZONE_NAME_MAX - 1,
	    .nullable = true};
	struct user_ask ask = {.is_remembered = true};
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	if (!e)
		e = request_known_fields(req, body, known);
	if (!e)
		e = request_field(req, body, &username, &ask.username);
	if (!e)
		e = request_field(req, body, &device, &ask.device_name);
	if (!e)
		e = request_field(req, body, &invite, &ask.invite);
	if (!e)
		e = request_field(req, body, &zone, &ask.time_zone);
	if (!e && ask.time_zone && !profile_is_zone(ask.time_zone))
		e = request_refuse(req, "time_zone",
		    "It must be a name of the time zone database, such as "
		    "Europe/Berlin.");
	if (!e)
		e = request_field_flag(
		    req, body, "remember", &ask.is_remembered);
	if (!e)
		e = request_field(req, body, &password, &ask.password);
	if (!e)
		e = read_cookie(req, body);
	if (!e && req->is_by_cookie)
		e = browser_name_device(req);
	ask.carrier = carrier_of(req, ask.is_remembered);
	if (!e)
		*out = ask;
	return e;
}

/* The arena's copies of a password: its own and the body's. */
static void
wipe_password(struct request *req, const struct user_ask *ask)
{
	explicit_bzero((char *)ask->password, strlen(ask->password));
	explicit_bzero((char *)req->body, req->body_len);
}

enum err
api_auth_register(struct request *req, struct reply *rep)
{
	struct user_ask ask;
	struct session_tokens tokens;
	enum err e = read_ask(req, register_fields,
	    (size_t)req->services->config->password_min, &ask);
	if (e)
		return e;
	e = user_register(req, &ask, &tokens);
	wipe_password(req, &ask);
	return e ? e : reply_tokens(req, rep, 201, &tokens);
}

enum err
api_auth_login(struct request *req, struct reply *rep)
{
	struct user_ask ask;
	struct session_tokens tokens;
	enum err e = read_ask(req, login_fields, 1, &ask);
	if (e)
		return e;
	e = user_sign_in(req, &ask, &tokens);
	wipe_password(req, &ask);
	return e ? e : reply_tokens(req, rep, 200, &tokens);
}

/* Reads {token, device?, remember?, cookie?}. */
static enum err
read_exchange(struct request *req, struct exchange_ask *out)
{
	static const char *const known[] = {
	    "token", "device", "remember", "cookie", NULL};
	/* Any text: what no site signed is identity_invalid, not a bad field.
	 */
	const struct field_rule token = {
	    .name = "token", .max = SIZE_MAX, .required = true};
	const struct field_rule device = {
	    .name = "device", .min = 1, .max = DEVICE_MAX, .nullable = true};
	struct exchange_ask ask = {.is_remembered = true};
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	if (!e)
		e = request_known_fields(req, body, known);
	if (!e)
		e = request_field(req, body, &token, &ask.token);
	if (!e)
		e = request_field(req, body, &device, &ask.device_name);
	if (!e)
		e = request_field_flag(
		    req, body, "remember", &ask.is_remembered);
	if (!e)
		e = read_cookie(req, body);
	if (!e && req->is_by_cookie)
		e = browser_name_device(req);
	ask.carrier = carrier_of(req, ask.is_remembered);
	if (!e)
		*out = ask;
	return e;
}

enum err
api_auth_exchange(struct request *req, struct reply *rep)
{
	struct exchange_ask ask;
	struct session_tokens tokens;
	enum err e = read_exchange(req, &ask);
	if (!e)
		e = exchange_sign_in(req, &ask, &tokens);
	return e ? e : reply_tokens(req, rep, 200, &tokens);
}

/* Reads {refresh_token}, or {cookie: true} and the token in the cookie. */
static enum err
read_refresh(struct request *req, struct json_object *body, const char **out)
{
	static const char *const known[] = {"refresh_token", "cookie", NULL};
	/* Any text: what no key made is refresh_invalid, not a bad field. */
	struct field_rule rule = {.name = "refresh_token", .max = SIZE_MAX};
	const char *token = NULL;
	enum err e = request_known_fields(req, body, known);
	if (!e)
		e = read_cookie(req, body);
	rule.required = !req->is_by_cookie;
	if (!e)
		e = request_field(req, body, &rule, &token);
	if (!e && token && req->is_by_cookie)
		e = request_refuse(
		    req, rule.name, "It is either here or in the cookie.");
	if (!e && req->is_by_cookie)
		token = browser_refresh_token(req);
	if (!e && !token)
		e = request_fail(
		    req, ERR_REFRESH_INVALID, "no refresh token in a cookie");
	if (!e)
		*out = token;
	return e;
}

enum err
api_auth_refresh(struct request *req, struct reply *rep)
{
	const char *token = NULL;
	struct session_tokens tokens;
	AUTO_JSON struct json_object *body = NULL;
	enum err e = request_json(req, &body);
	if (!e)
		e = read_refresh(req, body, &token);
	if (!e)
		e = session_refresh(req, token, &tokens);
	return e ? e : reply_tokens(req, rep, 200, &tokens);
}

/* {scope?: "this" | "others" | "all"}; no body at all means "this". */
static enum err
read_scope(struct request *req, enum session_scope *out)
{
	static const char *const known[] = {"scope", NULL};
	static const char *const names[] = {"this", "others", "all"};
	const struct field_rule rule = {
	    .name = "scope", .max = 16, .nullable = true};
	const char *scope = NULL;
	AUTO_JSON struct json_object *body = NULL;
	enum err e = OK;
	if (req->body_len > 0)
		e = request_json(req, &body);
	if (!e && body)
		e = request_known_fields(req, body, known);
	if (!e && body)
		e = request_field(req, body, &rule, &scope);
	if (e)
		return e;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(scope ? scope : "this", names[i]) == 0) {
			*out = (enum session_scope)i;
			return OK;
		}
	}
	return request_refuse(
	    req, "scope", "It is one of this, others and all.");
}

enum err
api_auth_logout(struct request *req, struct reply *rep)
{
	enum session_scope scope = SESSION_THIS;
	enum err e = read_scope(req, &scope);
	if (!e)
		e = session_end(req, scope);
	if (e)
		return e;
	if (scope != SESSION_OTHERS && browser_holds(req, req->who.session_id))
		browser_take_back(req, rep);
	return reply_empty(rep, 204);
}

/* For nginx's auth_request: who it is, in headers. */
enum err
api_auth_verify(struct request *req, struct reply *rep)
{
	reply_header(rep, "X-Auth-User", req->who.username);
	reply_header(rep, "X-Auth-User-Id", req->who.user_id);
	reply_header(rep, "X-Auth-Role", req->who.role);
	return reply_empty(rep, 204);
}
