/*
 * Following a reply that is being written, or was: somebody reads it again
 * from where they left off. The front asks Postgres once whether the reply is
 * the caller's; the relay reads the rest from the reply's log.
 *
 * Ownership: a struct follow is one block of malloc and the relay's once handed
 * over; it holds a place among its user's readers. Thread: follow_new the
 * front's; the others any.
 */
#ifndef CHAT_FOLLOW_H
#define CHAT_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/errors.h"
#include "base/id.h"
#include "chat/reply_position.h"

struct buf;
struct request;

struct follow {
	char user_id[ID_TEXT];
	char grant_id[ID_TEXT]; /* the session or API key that asks */
	bool is_by_key;         /* the latter */
	char message_id[ID_TEXT];
	char user_message_id[ID_TEXT]; /* the question's; "" without one */
	char conversation_id[ID_TEXT];
	char request_id[64];
	struct reply_position position;
	bool is_over;      /* the reply had ended when it was asked for */
	bool wants_stream; /* else: waits for the end, then one document */
};

/* What somebody asks for. */
struct follow_ask {
	const char *message_id; /* the path's or a key's; any text */
	struct reply_position position;
	bool wants_stream;
};

/*
 * Looks whether the message is a reply of the caller's, in one round trip. A
 * position beyond what an ended reply has becomes 0-0. ERR_NOT_FOUND: it is
 * nobody's reply, or somebody else's. ERR_RATE_LIMITED: its user has as many
 * readers as one may have on a host (CHAT_READERS_PER_USER).
 */
enum err follow_new(struct request *req, const struct follow_ask *ask,
    struct follow **out_follow) MUST_CHECK;

/* Gives its place back; NULL is fine. */
void follow_free(struct follow *f);

/* The data of the `start` event of a reader: as that of the reply itself, and
 * `offset`, the byte of its text with which the next delta begins. It is
 * resumable in any case: what readers are told comes from where it is kept. */
void
follow_start_json(const struct follow *f, uint64_t offset, struct buf *out);

#endif
