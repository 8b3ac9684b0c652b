/*
 * Stopping a reply: its user asks from anywhere, the row in running_replies
 * keeps the wish, and the worker that writes the reply looks there. Postgres is
 * the truth; a word through Redis only makes it quicker.
 */
#ifndef CHAT_CANCEL_H
#define CHAT_CANCEL_H

#include <stddef.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct buf;
struct pg;
struct request;

/* Where a worker hears of it at once: this and its id; the message's id. */
#define CANCEL_CHANNEL "cancel:"

/*
 * Asks for the reply's end and appends the message as it is now. *out_status:
 * 202, it is being written and will end in a moment; 200, it had ended.
 * ERR_NOT_FOUND; ERR_NOT_A_REPLY. One round trip, and one to Redis while it
 * is written. Thread: front.
 */
enum err message_cancel(struct request *req, const char *id, struct buf *out,
    int *out_status) MUST_CHECK;

/* Replies that are to end, by their messages' ids; allocated by malloc. */
struct cancels {
	size_t n;
	char ids[][ID_TEXT]; /* sorted */
};

/*
 * Those that this worker writes; NULL in *out: none. ERR_INTERNAL also without
 * memory. Thread: ledger.
 */
enum err cancels_find(
    struct pg *pg, const char *worker_id, struct cancels **out) MUST_CHECK;

#endif
