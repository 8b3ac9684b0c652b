/*
 * One blocking Redis connection with a breaker. Every command has a deadline
 * (CHAT_REDIS_TIMEOUT), connecting included; after any error the connection is
 * closed and made anew, never reused: a late reply would answer somebody
 * else's question. Three failures in a row open the breaker: for one second
 * calls fail at once, then one may try. A connection found closed while idle
 * is made anew before the command, so that a restart of Redis is not seen.
 *
 * Redis is a cache: callers decide what its absence means. Thread: one.
 */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct redis;

#define REDIS_SHA             41 /* a SHA-1 in hex with its NUL */
#define REDIS_SCRIPT_ARGS_MAX 64 /* keys and arguments of one call */

/*
 * A script with its SHA-1, loaded on first use and again after NOSCRIPT. May
 * be static and shared by threads, each with its own connection. The Redis
 * user needs the commands eval, evalsha and script|load.
 */
struct redis_script {
	const char *text;
	char sha[REDIS_SHA]; /* filled by the first call; "" before */
};

#define AUTO_REPLY __attribute__((cleanup(redis_reply_cleanup)))
void redis_reply_cleanup(redisReply **r);

/*
 * Where Redis is, parsed from redis://[[user:]password@]host[:port][/db] or
 * unix://[[user:]password@]/path[?db=N]; the parts may be percent-encoded.
 * All strings belong to the struct.
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
enum err
redis_address_parse(const char *url, struct redis_address *out) MUST_CHECK;
void redis_address_clear(struct redis_address *a);

/* Makes the object; does not connect yet. NULL: bad URL or no memory. */
struct redis *redis_new(const char *url, long timeout_ms);
void redis_free(struct redis *r);

/*
 * Runs a command given as words (binary-safe where `lens` is not NULL).
 * ERR_UNAVAILABLE: away, timed out, breaker open, or an error reply such as
 * LOADING, READONLY or OOM. ERR_INTERNAL: any other error reply, which is a
 * mistake of ours (WRONGTYPE, a script's error); redis_why has its text.
 * *out_reply is never an error reply; the caller frees it (AUTO_REPLY).
 */
enum err redis_command(struct redis *r, int argc, const char **argv,
    const size_t *lens, redisReply **out_reply) MUST_CHECK;

/*
 * As redis_command, of what Redis must hear if that is possible at all. Even
 * with the breaker open it is sent, and 10 ms are waited for an answer: a Redis
 * that hangs carries it out when it wakes, since it lies in its socket, and one
 * that is back closes the breaker.
 */
enum err redis_tell(struct redis *r, int argc, const char **argv) MUST_CHECK;

/* Runs a script by EVALSHA, by EVAL after NOSCRIPT: one round trip as a rule.
 */
enum err redis_script_run(struct redis *r, struct redis_script *script,
    int n_keys, int argc, const char **argv, redisReply **out_reply) MUST_CHECK;

/*
 * Is it an error reply that speaks of the server and not of the command:
 * LOADING, READONLY, OOM and their like?
 */
bool redis_reply_is_fault(const redisReply *reply);

/*
 * From now on adds 1 to *counter whenever what Redis holds may no longer be
 * what we left there: a command failed, a connection was made (by a restarted
 * server's clients, for one). The counter is borrowed and may be shared.
 */
void redis_count_troubles(struct redis *r, _Atomic uint64_t *counter);

/* Is the breaker open: would a call fail at once? */
bool redis_is_away(const struct redis *r);

/* Commands sent since redis_new: tests hold each route to its number. */
uint64_t redis_round_trips(const struct redis *r);

/* What went wrong last, for the log. */
const char *redis_why(const struct redis *r);

#endif
