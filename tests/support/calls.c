/*
 * Calls of the API for tests through nginx. Owns nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "metrics_text.h"

void
call_send(const struct stack *s, const struct person *p,
    const struct send *send, struct answer *a)
{
	char path[128], key[600];
	struct ask ask = {.method = "POST",
	    .base = s->base,
	    .path = path,
	    .token = p->token,
	    .json = send->json,
	    .headers = {send->key != NULL ? key : NULL},
	    .timeout_ms = send->timeout_ms > 0 ? send->timeout_ms : 90000};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    send->conversation);
	if (send->key != NULL)
		snprintf(key, sizeof(key), "Idempotency-Key: %s", send->key);
	http_ask(&ask, a);
}

void
call_complete(const struct stack *s, const struct person *p, const char *json,
    struct answer *a)
{
	const struct ask ask = {.method = "POST",
	    .base = s->base,
	    .path = "/openai/v1/chat/completions",
	    .token = p->token,
	    .json = json,
	    .timeout_ms = 90000};

	http_ask(&ask, a);
}

bool
call_was_late(struct answer *a)
{
	if (a->status != 503 ||
	    (strcmp(answer_text(a, "code"), "unavailable") != 0 &&
		strcmp(answer_text(a, "error.code"), "unavailable") != 0))
		return false;
	answer_clear(a);
	return true;
}

double
call_metric(const struct stack *s, const char *begin)
{
	const struct ask ask = {.base = s->base, .path = "/metrics"};
	struct answer a;
	double n;

	http_ask(&ask, &a);
	n = a.status == 200 ? metrics_sum(a.body.p, begin) : -1;
	answer_clear(&a);
	return n;
}

void
call_refresh(
    const struct stack *s, const char *refresh_token, struct exchanged *out)
{
	char json[512];
	struct ask ask = {.method = "POST",
	    .base = s->base,
	    .path = "/api/v1/auth/refresh",
	    .json = json};
	struct answer a;
	const char *wait;

	snprintf(
	    json, sizeof(json), "{\"refresh_token\":\"%s\"}", refresh_token);
	http_ask(&ask, &a);
	*out = (struct exchanged){.status = a.status};
	snprintf(out->code, sizeof(out->code), "%s", answer_text(&a, "code"));
	snprintf(out->access, sizeof(out->access), "%s",
	    answer_text(&a, "access_token"));
	snprintf(out->refresh, sizeof(out->refresh), "%s",
	    answer_text(&a, "refresh_token"));
	wait = answer_header(&a, "Retry-After");
	out->retry_after = wait != NULL ? atol(wait) : -1;
	answer_clear(&a);
}

long
call_status(const struct stack *s, const char *method, const char *path,
    const char *token, const char *json)
{
	struct ask ask = {.method = method,
	    .base = s->base,
	    .path = path,
	    .token = token,
	    .json = json};
	struct answer a;
	long status;

	http_ask(&ask, &a);
	status = a.status;
	answer_clear(&a);
	return status;
}

long
call_verify(const struct stack *s, const char *token)
{
	return call_status(s, "GET", "/api/v1/auth/verify", token, NULL);
}

long
call_logout(const struct stack *s, const char *token)
{
	return call_status(s, "POST", "/api/v1/auth/logout", token, "{}");
}

long
session_generation(const char *username)
{
	char text[16];

	db_value("SELECT s.rt_gen FROM auth.sessions s JOIN auth.users u"
		 " ON u.id = s.user_id WHERE u.username = $1"
		 " ORDER BY s.created_at DESC LIMIT 1",
	    username, text, sizeof(text));
	return atol(text);
}

void
person_make_boss(const struct stack *s, struct person *p)
{
	struct exchanged e;
	char ignored[8];

	person_make(s, p);
	db_value("UPDATE auth.users SET role = 'admin'"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    p->user_id, ignored, sizeof(ignored));
	call_refresh(s, p->refresh, &e);
	if (e.status != 200) {
		fprintf(stderr, "person_make_boss: %ld %s\n", e.status, e.code);
		abort();
	}
	memcpy(p->token, e.access, sizeof(p->token));
}
