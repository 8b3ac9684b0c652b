/*
 * What is stored of a reply: the relay asks, which has no Postgres, and the
 * ledger answers between two batches. A look is one question with its answer
 * and changes hands with it (base/queue_pair.h).
 *
 * Ownership: whoever holds the pointer. Thread: looks_answer is the ledger's.
 */
#ifndef SERVER_LOOK_H
#define SERVER_LOOK_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "base/id.h"

struct pg;
struct queue_pair;

struct look {
	char user_id[ID_TEXT];
	char message_id[ID_TEXT];
	void *owner; /* the relay's; nobody else looks at it */

	/* Of the answer. ERR_NOT_FOUND: there is no such message (any more);
	 * anything else: nobody knows now. */
	enum err error;
	PGresult *result; /* with OK: one row for message_read */
};

void look_free(struct look *look);

/* At most `max` looks at a time; NULL without memory. */
struct queue_pair *looks_new(size_t max);

/* Answers a few of what waits, in one round trip; true: more waits. */
bool looks_answer(struct queue_pair *looks, struct pg *pg);

#endif
