/*
 * From a site's token to a session: its check, its user, its session. Owns no
 * state. Must not know HTTP beyond struct request, nor how keys are had.
 */
#include <string.h>

#include "auth/exchange.h"
#include "auth/jwt.h"
#include "auth/profile.h"
#include "auth/queries.h"
#include "auth/session.h"
#include "auth/site_rules.h"
#include "auth/site_token.h"
#include "auth/throttle.h"
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

/* Without an address, or a rate, nobody is charged. */
static bool
is_charged(const struct request *req, const char *address)
{
	return address && req->services->config->exchange_address_rate > 0;
}

static enum err
ask_throttle(struct request *req, const struct session_member *m,
    enum auth_query query, long *out_wait_s)
{
	struct pg_call call = {
	    .query = &auth_queries[query],
	    .params = {m->address, m->rate},
	};
	enum err e = pg_run(req->services->pg, NULL, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	*out_wait_s = (long)pg_number(call.result, 0, 0);
	pg_calls_clear(&call, 1);
	return OK;
}

/* Charges the address. What is no token at all costs nothing to refuse. */
static enum err
charge(struct request *req, const char *token, struct session_member *m)
{
	struct jwt_segments segments;
	long wait_s = 0;
	enum err e = throttle_exchange_key(req, &m->address);
	m->rate = arena_printf(
	    req->arena, "%ld", req->services->config->exchange_address_rate);
	if (!e && !m->rate)
		e = ERR_TOO_LARGE;
	if (e || !is_charged(req, m->address) ||
	    !jwt_split(token, SITE_TOKEN_MAX, &segments))
		return e;
	e = ask_throttle(req, m, AUTH_EXCHANGE_BEGIN, &wait_s);
	if (e || wait_s == 0)
		return e;
	req->retry_after_s = (int)wait_s;
	return request_fail(
	    req, ERR_RATE_LIMITED, "too many tokens were refused before");
}

/* A token that could not be looked at does not count. */
static void
give_back(struct request *req, const struct session_member *m)
{
	long nothing;
	if (is_charged(req, m->address) &&
	    ask_throttle(req, m, AUTH_EXCHANGE_GOOD, &nothing) != OK)
		return; /* it stays charged then */
}

enum err
exchange_sign_in(struct request *req, const struct exchange_ask *ask,
    struct session_tokens *out_tokens)
{
	char id[ID_TEXT];
	struct site_claims claims = {0};
	struct session_member member = {
	    .new_id = id,
	    .issuer = req->services->config->exchange_issuer,
	};
	const struct session_ask session = {
	    .member = &member,
	    .device_name = ask->device_name,
	    .is_remembered = ask->is_remembered,
	    .carrier = ask->carrier,
	};
	enum err e = *member.issuer ? charge(req, ask->token, &member) : OK;
	if (e)
		return e;
	e = check_token(req, ask->token, &claims);
	if (e && e != ERR_IDENTITY_INVALID && e != ERR_IDENTITY_EXPIRED)
		give_back(req, &member);
	if (e)
		return e;
	id_make(id);
	member.external_id = claims.external_id;
	member.username = choose_username(req, &claims);
	member.name = claims.name;
	e = session_open(req, &session, out_tokens);
	if (!e)
		profile_note_zone(req, out_tokens->user_id, claims.time_zone);
	return e;
}
