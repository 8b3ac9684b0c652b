/*
 * The cookies of a session. Owns their names and lives, no state. Must not
 * know what stands behind a token.
 */
#include <sodium.h>
#include <string.h>

#include "auth/browser.h"
#include "auth/refresh.h"
#include "auth/session.h"
#include "base/text.h"
#include "http/cookie.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/request.h"

#define REFRESH_COOKIE "__Host-rt"
#define ACCESS_COOKIE  "__Host-at"
#define DEVICE_COOKIE  "__Host-did"

#define DAY_S          86400L
#define REFRESH_LIFE_S (14 * DAY_S)  /* a session's without a refresh */
#define DEVICE_LIFE_S  (400 * DAY_S) /* the longest that browsers keep */

#define DEVICE_BYTES 16
#define DEVICE_TEXT  22 /* in base64url */

void
browser_know_device(struct request *req)
{
	const char *id = cookie_find(req->arena, req->cookie, DEVICE_COOKIE);
	if (id && strlen(id) == DEVICE_TEXT)
		req->device_cookie = id;
}

enum err
browser_enter(struct request *req)
{
	enum err e = origin_check(req);
	if (e)
		return e;
	browser_know_device(req);
	req->is_by_cookie = true;
	return OK;
}

enum err
browser_name_device(struct request *req)
{
	unsigned char id[DEVICE_BYTES];
	if (req->device_cookie)
		return OK;
	randombytes_buf(id, sizeof id);
	req->device_cookie = text_base64url(req->arena, id, sizeof id);
	return req->device_cookie ? OK : ERR_TOO_LARGE;
}

const char *
browser_refresh_token(const struct request *req)
{
	return cookie_find(req->arena, req->cookie, REFRESH_COOKIE);
}

const char *
browser_access_token(const struct request *req)
{
	return cookie_find(req->arena, req->cookie, ACCESS_COOKIE);
}

bool
browser_holds(const struct request *req, const char *session_id)
{
	const char *text = browser_refresh_token(req);
	struct refresh_token token;
	if (!text || refresh_parse(req->services->keys, text, &token) != OK)
		return false;
	bool is_so = strcmp(token.session_id, session_id) == 0;
	sodium_memzero(&token, sizeof token);
	return is_so;
}

static enum err
put(struct request *req, struct reply *rep, const struct cookie *cookie)
{
	const char *text = cookie_write(req->arena, cookie);
	if (!text)
		return ERR_TOO_LARGE;
	reply_header(rep, "Set-Cookie", text);
	return OK;
}

enum err
browser_give(
    struct request *req, struct reply *rep, const struct session_tokens *tokens)
{
	bool stays = tokens->carrier == SESSION_IN_COOKIE;
	const struct cookie refresh = {.name = REFRESH_COOKIE,
	    .value = tokens->refresh_token,
	    .max_age_s = stays ? REFRESH_LIFE_S : 0,
	    .is_strict = true};
	const struct cookie access = {.name = ACCESS_COOKIE,
	    .value = tokens->access_token,
	    .max_age_s = stays ? tokens->expires_in : 0};
	const struct cookie device = {.name = DEVICE_COOKIE,
	    .value = req->device_cookie ? req->device_cookie : "",
	    .max_age_s = DEVICE_LIFE_S,
	    .is_strict = true};
	enum err e = put(req, rep, &refresh);
	if (!e)
		e = put(req, rep, &access);
	if (!e && *device.value)
		e = put(req, rep, &device);
	return e;
}

void
browser_take_back(struct request *req, struct reply *rep)
{
	const struct cookie gone[] = {
	    {.name = REFRESH_COOKIE, .value = "", .is_strict = true},
	    {.name = ACCESS_COOKIE, .value = ""},
	};
	for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
		if (put(req, rep, &gone[i]) != OK)
			return; /* without memory; they are worth nothing */
	}
}
