/*
 * The log of a reply whose writer is dead (reply_log.h): its text, how far it
 * came, and its last entry, which nobody else will write.
 *
 * Thread: ledger; blocks for as long as a command of Redis may.
 */
#ifndef SERVER_REPLY_TAIL_H
#define SERVER_REPLY_TAIL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/errors.h"
#include "server/reply_log.h"

struct redis;

/* How far a log came. */
struct reply_tail {
	bool is_there;
	bool has_ended; /* its last entry is terminal */
	struct reply_position at;
};

/* The longest reply that settings allow, in bytes; no more is read. */
#define REPLY_TAIL_MAX ((size_t)16 << 20)

/* What a log says of a reply, to be freed. */
struct reply_told {
	struct buf text;
	struct buf tool_calls;     /* JSON arrays of what the events said, in */
	struct buf tool_responses; /* their order; empty: there were none */
};

/*
 * Appends the text and the rest to `out`, as it lies there. OK also where there
 * is no log. ERR_UNAVAILABLE: Redis is away; ERR_INTERNAL: what lies there is
 * no log.
 */
enum err reply_tail_read(struct redis *redis, const char *message_id,
    struct reply_told *out, struct reply_tail *out_tail) MUST_CHECK;

/* Ends the arrays. */
void reply_told_close(struct reply_told *told);
void reply_told_free(struct reply_told *told);

/*
 * Appends what of the text (all of it, as it was stored) is not in the log and
 * the last event, whose position is filled in here; lets the log expire, and
 * tells readers to look. Whoever misses it finds the stored message.
 */
void reply_tail_end(struct redis *redis, const char *message_id,
    const struct reply_tail *tail, const struct buf *text,
    struct reply_event *last);

#endif
