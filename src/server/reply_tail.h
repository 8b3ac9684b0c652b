/*
 * The log of a reply whose writer is dead (the contract is the relay's log of
 * replies, in Redis): its text, how far it came, and its last entry, which
 * nobody else will write.
 *
 * Thread: ledger; blocks for as long as a command of Redis may.
 */
#ifndef SERVER_REPLY_TAIL_H
#define SERVER_REPLY_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct buf;
struct redis;

/* How far a log came. */
struct reply_tail {
	bool is_there;
	bool has_ended; /* its last entry is `done` or `error` */
	uint64_t n;     /* of its last event */
	size_t bytes;   /* of text, with that event */
};

/*
 * Appends the text to `out`, as it lies there, at most REPLY_TAIL_MAX bytes.
 * OK also where there is no log. ERR_UNAVAILABLE: Redis is away; ERR_INTERNAL:
 * what lies there is no log.
 */
enum err reply_tail_read(struct redis *redis, const char *message_id,
    struct buf *out, struct reply_tail *out_tail) MUST_CHECK;

/* The longest reply that settings allow, in bytes. */
#define REPLY_TAIL_MAX ((size_t)16 << 20)

/* What the last entry tells. */
struct reply_last {
	const struct buf *text; /* all of it, as it is stored */
	const char *event;
	const struct buf *data; /* JSON */
};

/*
 * Appends what of the text is not in the log and the last entry, lets the log
 * expire, and tells readers to look. Whoever misses it finds the stored
 * message.
 */
void reply_tail_end(struct redis *redis, const char *message_id,
    const struct reply_tail *tail, const struct reply_last *last);

#endif
