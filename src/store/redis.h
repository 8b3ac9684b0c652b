/*
 * One blocking Redis connection with a breaker. Every command has a deadline
 * (CHAT_REDIS_TIMEOUT); after any error the connection is freed and made anew,
 * never reused (a late reply would answer somebody else's question) and never
 * redisReconnect'ed (hiredis 0.14 loses the time-out then). Three failures in
 * a row open the breaker: for one second calls fail at once, then one may try.
 *
 * Redis is a cache: callers decide what its absence means. Thread: one.
 */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct redis;

/* A script with its SHA-1, loaded on first use and again after NOSCRIPT. */
struct redis_script {
	const char *text;
	char sha[41]; /* filled by the first call; "" before */
};

#define AUTO_REPLY __attribute__((cleanup(redis_reply_cleanup)))
void redis_reply_cleanup(redisReply **r);

/*
 * Where Redis is, parsed from redis://[user:password@]host[:port][/db] or
 * unix:///path[?db=N]. All strings belong to the struct.
 */
struct redis_address {
	char *path; /* Unix socket, or NULL */
	char *host;
	int port;
	int db;
	char *user;
	char *password;
};

/* Parses a URL; ERR_INVALID_FIELD when it is not one. */
enum err redis_address_parse(const char *url, struct redis_address *out)
    MUST_CHECK;
void redis_address_clear(struct redis_address *a);

/* Makes the object; does not connect yet. NULL: bad URL or no memory. */
struct redis *redis_new(const char *url, long timeout_ms);
void redis_free(struct redis *r);

/*
 * Runs a command given as words (binary-safe where `lens` is not NULL).
 * ERR_UNAVAILABLE: away, timed out, breaker open, or an error reply such as
 * LOADING, READONLY or OOM. *out_reply is freed by the caller (AUTO_REPLY).
 */
enum err redis_command(struct redis *r, int argc, const char **argv,
    const size_t *lens, redisReply **out_reply) MUST_CHECK;

/* Runs a script by EVALSHA, by EVAL after NOSCRIPT: one round trip as a rule. */
enum err redis_script_run(struct redis *r, struct redis_script *script,
    int n_keys, int argc, const char **argv, redisReply **out_reply) MUST_CHECK;

/* Is the breaker open: would a call fail at once? */
bool redis_is_away(const struct redis *r);

/* What went wrong last, for the log. */
const char *redis_why(const struct redis *r);

#endif
