/*
 * The log of a reply: what lies under `reply:<message id>` in Redis, as words
 * to send and as entries read back. Every event that a client may have seen is
 * in it, whole, from the first on, for as long as the reply runs and 10 minutes
 * after it was stored.
 *
 * It is a Redis stream. An entry's id is the event's position, `<n>-<bytes>`:
 * the n-th event, from 1, after which the reply's text has so many bytes. The
 * same text is the event's SSE id, so that a reader who says what it saw last
 * has said both. An entry has the fields `e` (the event's name) and `d` (its
 * data, JSON); a delta has `t` alone, its raw text, which begins at bytes minus
 * its length. A log that was rebuilt repeats text under a later position:
 * readers cut what they have (reply_event_cut).
 *
 * Thread: any; pure. Strings are borrowed.
 */
#ifndef SERVER_REPLY_LOG_H
#define SERVER_REPLY_LOG_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "chat/reply_position.h"

struct buf;

/* How long a log stays after its reply was stored, in seconds. */
#define REPLY_LOG_KEEP_S 600

/* Beyond CHAT_REPLY_MAX_SECONDS: how long one stays that nobody ends. */
#define REPLY_LOG_SPARE_S 900

/*
 * Whoever ends the log of another's reply (its worker is dead, or seems so)
 * gives the terminal entry the last event's n plus this. The writer, should it
 * wake up, cannot append past it: Redis takes rising ids only.
 */
#define REPLY_LOG_SEAL ((uint64_t)1 << 32)

/* "reply:" and a UUID: the key, and the channel of hints. */
#define REPLY_LOG_KEY (ID_TEXT + 6)

void reply_log_key(const char *message_id, char out_key[static REPLY_LOG_KEY]);

/* One event of a reply. */
struct reply_event {
	struct reply_position at;
	const char *name; /* not NUL-terminated: "delta", … */
	size_t name_len;
	const char *data; /* JSON; of a delta its raw text */
	size_t n;
};

/* Has it this name? */
bool reply_event_is(const struct reply_event *e, const char *name);

bool reply_event_is_delta(const struct reply_event *e);

/* Is it `done` or `error`: does nothing follow? */
bool reply_event_is_terminal(const struct reply_event *e);

/* Reads one entry of an XRANGE or XREVRANGE answer; false: it is none of ours.
 */
bool reply_event_read(const redisReply *entry, struct reply_event *out_event);

/* What a reader who has `bytes` bytes of the text finds in an event. */
enum reply_cut {
	REPLY_NEW,  /* something it lacks: of a delta, what is left of it */
	REPLY_SEEN, /* a delta that it has */
	REPLY_GAP,  /* a delta with text missing before it */
};

/* Takes away from a delta what the reader has. */
enum reply_cut reply_event_cut(struct reply_event *e, uint64_t bytes);

/* Appends the event as the client sees it: its position as `id`. */
void reply_event_say(const struct reply_event *e, struct buf *out);

/* A command for Redis with what its words need. */
struct reply_command {
	int n;
	const char *words[10];
	size_t lens[10];
	char key[REPLY_LOG_KEY];
	char position[REPLY_POSITION_TEXT];
	char number[24];
	char hint[24];
};

/* XADD of the first event, which makes the log. */
void reply_log_begin(struct reply_command *c, const char *message_id,
    const struct reply_event *e);

/* XADD of a later one; answered by nil where the log is gone, and by an error
 * where somebody has ended it. */
void reply_log_append(struct reply_command *c, const char *message_id,
    const struct reply_event *e);

/* EXPIRE. */
void reply_log_expire(
    struct reply_command *c, const char *message_id, int64_t seconds);

/*
 * The channel on which a reader tells all relays whose log it follows, by the
 * message's id. The events of other replies are not hinted at, but for the
 * first and the last one.
 */
#define REPLY_LOG_FOLLOWED "replies:followed"

/* PUBLISH: event n is there. Only a hint: the log is the truth. */
void
reply_log_hint(struct reply_command *c, const char *message_id, uint64_t n);

/* DEL. */
void reply_log_delete(struct reply_command *c, const char *message_id);

/* What a log is made of anew. */
struct reply_rebuild {
	const char *start; /* the start event's data, JSON */
	size_t start_len;
	struct reply_event text; /* all text up to now, as one delta */
	const char *events;      /* those besides the text: a JSON array of */
	size_t events_len;       /* [n, bytes of text before it, name, data] */
	int64_t life_s;          /* the log's longest life */
};

/*
 * EVAL of reply_rebuild.lua: the log anew, whole. Answered by 1, or by 0 where
 * it has ended: then it is left alone. Rare, so the script's text goes along
 * each time.
 */
void reply_log_rebuild(struct reply_command *c, const char *message_id,
    const struct reply_rebuild *what);

#endif
