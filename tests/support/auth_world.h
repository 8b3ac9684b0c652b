/*
 * Callers of the API for tests of auth: the shipped schema in a private
 * Postgres, a Redis, and the API's own dispatch, called as the front thread
 * calls it, without processes or FastCGI between.
 *
 * Thread: one per caller.
 */
#ifndef TESTS_SUPPORT_AUTH_WORLD_H
#define TESTS_SUPPORT_AUTH_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/id.h"
#include "http/reply.h"
#include "http/request.h"

struct json_object;

#define PASSWORD "correct horse battery"

struct caller {
	struct config config;
	struct services services;
	struct request req;
	struct reply rep;
	struct json_object *answer; /* of the last call; NULL: no body */
	char *app_url;
	char run_dir[40];
	char jwks[80];      /* CHAT_EXCHANGE_JWKS: see caller_use_site */
	const char *ip;     /* REMOTE_ADDR of the next call */
	const char *agent;  /* its User-Agent */
	const char *device; /* its X-Natter-Device */
	/* What a browser says; all NULL: none does. */
	const char *cookie;
	const char *origin;
	const char *sec_fetch_site;
	const char *natter_client;
};

/*
 * Makes the database `name` with its schema, and a Redis, once for all tests
 * of a program: call it in ReportHook(PRE_ALL). False without servers.
 */
bool auth_world_provide(const char *name);

/* Runs SQL as the superuser; one number that it selects. */
void auth_sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t auth_number(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Runs SQL as `role`; "" when that worked, else the SQLSTATE. */
const char *auth_try(const char *role, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Connections of its own; `redis_url` NULL: the shared one. */
void caller_open(struct caller *c, const char *redis_url);
void caller_close(struct caller *c);

/* Replaces its connection to Postgres or Redis by one to that URL. */
void caller_use_postgres(struct caller *c, const char *url);
void caller_use_redis(struct caller *c, const char *url);

/* The same for who stops Redis: the other waits for it for seconds. */
void caller_use_redis_for(struct caller *c, const char *url, long timeout_ms);

/*
 * Takes tokens of SITE_ISSUER for the audience "natter", signed RS256 or ES256
 * by the keys of this JWKS (a path or URL); the keys known before are
 * forgotten.
 */
#define SITE_ISSUER "https://club.example"
void caller_use_site(struct caller *c, const char *jwks);

/* Calls the API and gives the status; `token` and `body` may be NULL. */
int caller_call(struct caller *c, const char *method, const char *path,
    const char *token, const char *body);

/* The text at a path of the last answer ("user.id"), NULL when absent. */
const char *caller_text(const struct caller *c, const char *path);
int64_t caller_number(const struct caller *c, const char *path);

/* The problem code of the last answer, "" when it was none. */
const char *caller_code(const struct caller *c);

/* A header of the last answer, NULL when absent. */
const char *caller_header(const struct caller *c, const char *name);

/* Copies of what a sign-in gave. */
struct signed_in {
	char username[64];
	char user_id[ID_TEXT];
	char session_id[ID_TEXT];
	char access[2049];
	char refresh[128];
};

/* Makes a user with PASSWORD and signs in; asserts that it worked. */
void caller_register(struct caller *c, struct signed_in *out);

/* Signs the same user in once more. */
void caller_login(struct caller *c, struct signed_in *s);

/* Presents a refresh token; the status. On 200 *out has the new tokens. */
int caller_refresh(
    struct caller *c, const char *refresh_token, struct signed_in *out);

/* GET /auth/verify with this access token: the status. */
int caller_verify(struct caller *c, const char *access_token);

#endif
