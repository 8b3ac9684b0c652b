/*
 * From a site's token to a session: its check, its user, its session. Owns no
 * state. Must not know HTTP beyond struct request, nor how keys are had.
 */
#include <string.h>

#include "auth/exchange.h"
#include "auth/queries.h"
#include "auth/session.h"
#include "auth/site_rules.h"
#include "auth/site_token.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/id.h"
#include "base/text.h"
#include "http/request.h"

#define USERNAME_BYTES 57 /* leaves room for an ending that makes it unique */

static enum err
check_token(
    struct request *req, const char *token, struct site_claims *out_claims)
{
	const struct config *config = req->services->config;
	struct site_rules rules;
	char said[SITE_WHY] = "";
	const char *why = NULL;
	enum err e = site_rules_read(config, &rules, said);
	if (e == ERR_EXCHANGE_OFF)
		return e;
	if (e) /* natterd does not start with such settings */
		return request_fail(req, ERR_INTERNAL, said);
	const struct site_check check = {
	    .rules = &rules,
	    .keys = req->services->site_keys,
	    .arena = req->arena,
	    .wall_ms = clock_agreed_ms(req->services->clock),
	    .mono_ms = clock_mono_ms(),
	    .username_claim = config->exchange_username_claim,
	    .name_claim = config->exchange_name_claim,
	};
	e = site_token_verify(&check, token, out_claims, &why);
	if (why) /* also what is wrong with the site's keys while they serve */
		(void)request_fail(req, e, why);
	return e;
}

/* A username from what the site calls the member; NULL when it cannot be. */
static const char *
username_from(struct request *req, const char *text)
{
	const char *name = NULL;
	if (!text)
		return NULL;
	char *s = arena_strndup(
	    req->arena, text, text_prefix(text, strlen(text), USERNAME_BYTES));
	s = s ? s + strspn(s, " ") : NULL;
	for (char *p = s; p && *p; p++) {
		if (*p == ' ' && p[strspn(p, " ")] != '\0')
			*p = '-'; /* between words; text_username strips */
	}
	return s && text_username(req->arena, s, &name) == OK ? name : NULL;
}

static const char *
choose_username(struct request *req, const struct site_claims *claims)
{
	const char *name = username_from(req, claims->username);
	if (!name)
		name = username_from(req, claims->external_id);
	return name ? name : "member";
}

/* Finds or makes the user behind the claims. */
static enum err
find_user(struct request *req, const struct site_claims *claims,
    const char **out_user_id)
{
	char id[ID_TEXT];
	id_make(id);
	struct pg_call call = {
	    .query = &auth_queries[AUTH_USER_OF_SITE],
	    .params = {id, req->services->config->exchange_issuer,
		claims->external_id, choose_username(req, claims),
		claims->name},
	};
	enum err e = pg_run(req->services->pg, NULL, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	const char *user_id =
	    arena_strdup(req->arena, pg_text(call.result, 0, 0));
	if (pg_flag(call.result, 0, 1))
		e = ERR_USER_DISABLED;
	else if (!user_id)
		e = ERR_TOO_LARGE;
	else
		*out_user_id = user_id;
	pg_calls_clear(&call, 1);
	return e;
}

enum err
exchange_sign_in(struct request *req, const struct exchange_ask *ask,
    struct session_tokens *out_tokens)
{
	struct site_claims claims = {0};
	struct session_ask session = {
	    .device_name = ask->device_name,
	    .is_remembered = ask->is_remembered,
	};
	enum err e = check_token(req, ask->token, &claims);
	if (!e)
		e = find_user(req, &claims, &session.user_id);
	if (e)
		return e;
	e = session_open(req, &session, out_tokens);
	/* Disabled, or deleted, since the step before. */
	return e == ERR_INVALID_CREDENTIALS ? ERR_USER_DISABLED : e;
}
