/*
 * Replies whose worker died: taken over by another one, a few at a time, and
 * ended as interrupted (or cancelled, where their user had asked for that) with
 * what is known of their text. Taking and ending are transactions of their own,
 * and both may be done twice or half: a reply that was taken stays its new
 * worker's until it has ended or that one is dead too, and it ends once.
 *
 * Thread: ledger.
 */
#ifndef CHAT_RECOVER_H
#define CHAT_RECOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "base/id.h"

struct pg;

/* A reply that this worker has to end. Its buffers are lost_clear's to free. */
struct lost_reply {
	char user_id[ID_TEXT];
	char message_id[ID_TEXT];
	int64_t lost_ms; /* since it was taken over */
	bool has_text;   /* `text` is known: clean UTF-8 */
	struct buf text;
	/* What its log says of tools, JSON arrays; empty: it says nothing. */
	struct buf tool_calls;
	struct buf tool_responses;
	uint64_t bytes; /* how much there was by its log, which of a completion
			 * that nobody keeps has no text */

	/* Filled by lost_end. */
	bool was_ended;     /* by this call; else somebody was first */
	bool is_cancelled;  /* not interrupted */
	struct buf stored;  /* the message as the API shows it, JSON; empty:
			     * it has been deleted */
	struct buf content; /* its text as it is stored */
};

/* Whose replies are taken. */
enum lost_whose {
	LOST_OF_DEAD,   /* of workers that their master saw die */
	LOST_OF_SILENT, /* of those that gave no sign for 10 s, too */
};

/*
 * Takes over what there is and gives up to `max` replies that this worker has
 * to end, in the users' order.
 */
enum err lost_take(struct pg *pg, const char *worker_id, enum lost_whose whose,
    struct lost_reply *out, size_t max, size_t *out_n) MUST_CHECK;

/* The most replies of one lost_end. */
#define LOST_MAX 16

/*
 * Ends them in one transaction. A text counts only where it goes on from what
 * is stored. After an error nothing has happened.
 */
enum err
lost_end(struct pg *pg, struct lost_reply *replies, size_t n) MUST_CHECK;

/* Frees what hangs on them. */
void lost_clear(struct lost_reply *replies, size_t n);

#endif
