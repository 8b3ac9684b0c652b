/*
 * One request as the handlers see it: parsed, bounded, NUL-terminated. Nothing
 * in it knows FastCGI; the front thread fills it, a handler reads it. All
 * strings live in `arena` and are valid UTF-8 without NUL where they come from
 * the body, raw bytes without NUL where they come from headers.
 *
 * Thread: the front's, or the chores thread's after the request was handed to
 * it whole.
 */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"
#include "http/limits.h"

struct arena;
struct cache;
struct clock_agreed;
struct config;
struct json_object;
struct keyring;
struct limit_charged;
struct pg;
struct redis;
struct route;
struct site_keys;
struct session_doubt;

#define REQUEST_IDS_MAX 3

enum http_method {
	HTTP_GET,
	HTTP_POST,
	HTTP_PATCH,
	HTTP_PUT,
	HTTP_DELETE,
	HTTP_METHOD__MAX, /* any other: 405 everywhere */
};

/* What an API key may do, as bits. An access token may do all of it. */
enum scope {
	SCOPE_READ = 1,  /* GET */
	SCOPE_CHAT = 2,  /* everything else */
	SCOPE_ADMIN = 4, /* /admin, for an administrator's key */
};

/* Who asks: filled by authentication, empty on open routes. */
struct identity {
	const char *user_id;    /* UUID, NULL while nobody */
	const char *session_id; /* UUID */
	const char *role;       /* "user" or "admin" */
	const char *jti;        /* of the access token */
	const char *username;   /* NULL unless a handler looked it up */
	const char *key_id;     /* UUID of the API key that stands for the user;
				 * then     there is no session and no jti */
};

/* Microseconds spent, for the log line. */
struct phases {
	uint64_t accepted_us; /* CLOCK_MONOTONIC at accept */
	uint64_t auth_us;     /* token and session */
	uint64_t handle_us;   /* the handler, stores included */
};

/* What the handlers may use; one per thread, never shared. */
struct services {
	const struct config *config;
	struct pg *pg;
	struct redis *redis;
	struct cache *cache; /* NULL: nothing is cached */
	struct keyring *keys;
	struct site_keys *site_keys; /* of the site whose members come */
	struct session_doubt
	    *doubt; /* the worker's; see auth/session_watch.h */
	const struct clock_agreed *clock; /* what tokens are judged by */
	const char *worker_id; /* UUID of this worker, for running replies */

	/* The worker around them; `worker` is passed back. */
	void *worker;
	bool (*is_draining)(void *worker); /* it will end soon */
	bool (*refuses_new)(void *worker); /* and nobody else takes requests */
	bool (*has_room)(void *worker);    /* may one more reply begin? */
	bool (*has_reader_room)(void *worker); /* be followed? */
	/* Nobody will write this reply, if it is stored; NULL: never mind. */
	void (*disown)(
	    void *worker, const char *user_id, const char *message_id);
};

struct request {
	struct arena *arena;
	struct services *services;

	enum http_method method;
	const char *method_name;
	const char *path;       /* percent-decoded, NUL-free, begins with '/' */
	bool has_encoded_slash; /* one of its slashes came as %2F */
	const char *query; /* as sent, without '?'; "" when there is none */
	const char *body;  /* NUL-terminated copy of the body; "" without one */
	size_t body_len;

	const char *request_id;  /* nginx's $request_id, or made here */
	const char *remote_addr; /* as nginx knows it (realip) */
	const char *user_agent;  /* "" when absent, as all below */
	const char *authorization;
	const char *content_type;
	const char *accept;
	const char *cookie;
	const char *origin;
	const char *sec_fetch_site;
	const char *cors_method;   /* Access-Control-Request-Method */
	const char *cors_headers;  /* Access-Control-Request-Headers */
	const char *natter_client; /* X-Natter-Client: the anti-CSRF header */
	const char *device; /* X-Natter-Device: the client's id of its device */
	const char *idempotency_key;
	const char *forwarded_for; /* X-Forwarded-For, cut */
	const char *forwarded;     /* Forwarded, cut */
	const char *last_event_id;

	const struct route *route;
	const char *ids[REQUEST_IDS_MAX]; /* the {…} of the route, in order */
	struct identity who;
	struct limit_lines limits;     /* what it was charged to, and is left */
	struct limit_charged *charged; /* limit.h's, to be given back */
	struct phases phases;
	bool is_by_cookie;         /* the browser's cookies speak for it; see
				    * auth/browser.h */
	const char *device_cookie; /* the browser's id then; may be NULL */

	const char *bad_field; /* what a 422 is about */
	const char *detail; /* a sentence added to the problem; may be NULL */
	const char *running_message; /* a problem is about this reply */
	bool is_replay; /* answered with what its Idempotency-Key led to */
	bool is_alarm;  /* an operator should look: the log line is a warning */
	const char *why;   /* for the log only */
	int retry_after_s; /* of 429 and 503; 0 = the default */
};

/* Records that `field` is wrong and returns ERR_INVALID_FIELD. */
enum err
request_refuse(struct request *req, const char *field, const char *detail);

/* Records `why` for the log (copied into the arena) and returns `e`. */
enum err request_fail(struct request *req, enum err e, const char *why);

/*
 * The decoded value of a query parameter, NULL when absent, "" when empty;
 * ERR_INVALID_FIELD for bad percent-encoding, invalid UTF-8 or a repeat.
 */
enum err request_query(
    struct request *req, const char *name, const char **out_value) MUST_CHECK;

/* As request_query, of a parameter that may come several times: at most `max`
 * values (NULL-ended, so that there is room for max + 1). */
enum err request_query_each(struct request *req, const char *name, size_t max,
    const char **out_values) MUST_CHECK;

/*
 * Refuses the first parameter of the query that `known`, names with a space
 * between, does not hold.
 */
enum err
request_known_parameters(struct request *req, const char *known) MUST_CHECK;

/*
 * A time of the query, RFC 3339 as it came; NULL when absent. Refuses what is
 * none, naming the parameter.
 */
enum err request_query_time(
    struct request *req, const char *name, const char **out_time) MUST_CHECK;

/* A whole number from the query within [min, max]; `def` when absent. */
enum err request_query_number(struct request *req, const char *name, long def,
    long min, long max, long *out_number) MUST_CHECK;

/* One of the words true/false/1/0 from the query; -1 when absent. */
enum err request_query_flag(
    struct request *req, const char *name, int *out_flag) MUST_CHECK;

/* Is the media type application/json, whatever its parameters? */
bool request_is_json(const struct request *req);

/* The body as a JSON object; the caller puts it (AUTO_JSON). */
enum err
request_json(struct request *req, struct json_object **out_body) MUST_CHECK;

/* How a member of a JSON body must look. */
struct field_rule {
	const char *name;
	size_t min; /* characters; 0 also lets "" through */
	size_t max; /* bytes */
	bool required;
	bool nullable; /* null counts as absent */
};

/*
 * The string member `rule->name` of `body`, copied into the arena; NULL when
 * absent and allowed to be. Refuses another type, a bad length, naming the
 * field.
 */
enum err request_field(struct request *req, struct json_object *body,
    const struct field_rule *rule, const char **out_text) MUST_CHECK;

/* The member `name` as request_query_time; null counts as absent. */
enum err request_field_time(struct request *req, struct json_object *body,
    const char *name, const char **out_time) MUST_CHECK;

/* The flag member `name`; `*out_flag` is left alone when absent. */
enum err request_field_flag(struct request *req, struct json_object *body,
    const char *name, bool *out_flag) MUST_CHECK;

/* The member `name` that must be an object, as text; NULL when absent. */
enum err request_field_object(struct request *req, struct json_object *body,
    const char *name, size_t max, const char **out_json) MUST_CHECK;

/* Refuses the first member of `body` that `known` (NULL-ended) does not name.
 */
enum err request_known_fields(struct request *req, struct json_object *body,
    const char *const *known) MUST_CHECK;

#endif
