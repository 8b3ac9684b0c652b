/*
 * Redis's protocol over a socket of our own, with one deadline for a whole
 * exchange. hiredis formats and parses; its context is not used, because it
 * bounds each read(2) but not a command, cannot set CLOEXEC, and writes
 * without MSG_NOSIGNAL, so that a closed connection would kill the process.
 *
 * After any error the wire is closed. Thread: one.
 */
#ifndef STORE_REDIS_WIRE_H
#define STORE_REDIS_WIRE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct redis_address;

#define REDIS_WHY 192

struct redis_wire {
	int fd; /* -1 while closed */
	redisReader *reader;
	char why[REDIS_WHY];
};

/* One command as words; `lens` NULL means NUL-terminated. */
struct redis_words {
	int n;
	const char **p;
	const size_t *lens;
};

/* Connects, authenticates and selects the database. */
enum err redis_wire_open(struct redis_wire *w, const struct redis_address *a,
    uint64_t deadline_ms) MUST_CHECK;

/* Closes; closing twice is fine. */
void redis_wire_close(struct redis_wire *w);

/*
 * Is the wire open and silent? An idle connection that can be read from has
 * been closed by the server, or holds an answer that nobody asked for.
 */
bool redis_wire_is_fit(const struct redis_wire *w);

/* Sends a command and reads its one answer, which may be an error reply. */
enum err redis_wire_ask(struct redis_wire *w, struct redis_words words,
    uint64_t deadline_ms, redisReply **out_reply) MUST_CHECK;

#endif
