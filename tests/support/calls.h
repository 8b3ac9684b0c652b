/*
 * The API as a client of a stack uses it, a line a call: sign in, exchange a
 * refresh token, ask who one is. Any thread.
 */
#ifndef TESTS_SUPPORT_CALLS_H
#define TESTS_SUPPORT_CALLS_H

#include "stack.h"

/* A question, as POST /conversations/{id}/messages takes it. */
struct send {
	const char *conversation;
	const char *key;  /* Idempotency-Key, or NULL */
	const char *json; /* the body */
	long timeout_ms;  /* 90,000 when 0 */
};

/* Asks it as this person; the caller clears the answer. */
void call_send(const struct stack *s, const struct person *p,
    const struct send *send, struct answer *a);

/* POST /openai/v1/chat/completions; the caller clears the answer. */
void call_complete(const struct stack *s, const struct person *p,
    const char *json, struct answer *a);

/* Did it wait for a lock longer than it may, as happens on a busy machine (503
 * "unavailable")? Nothing was done then, and it may be asked again: the answer
 * is cleared. */
bool call_was_late(struct answer *a);

/* The sum of all series of GET /metrics whose text begins so; -1: no answer. */
double call_metric(const struct stack *s, const char *begin);

/* Registers a user who is an administrator, with a token that says so. */
void person_make_boss(const struct stack *s, struct person *p);

/* What a refresh gave; "" where it gave none. */
struct exchanged {
	long status;
	char code[32];
	char access[2048];
	char refresh[256];
	long retry_after; /* -1: not said */
};

/* POST /auth/refresh with the token in the body. */
void call_refresh(
    const struct stack *s, const char *refresh_token, struct exchanged *out);

/* The status of a call; `json` and `token` may be NULL. */
long call_status(const struct stack *s, const char *method, const char *path,
    const char *token, const char *json);

/* GET /auth/verify: the status. */
long call_verify(const struct stack *s, const char *token);

/* POST /auth/logout of this session: the status. */
long call_logout(const struct stack *s, const char *token);

/* The generation of the user's newest session, read as superuser. */
long session_generation(const char *username);

#endif
