/*
 * What is stored of a reply: the relay asks, which has no Postgres, and the
 * ledger answers between two batches. A look is one question with its answer
 * and changes hands with it.
 *
 * Ownership: whoever holds the pointer. Thread: looks_ask and looks_take the
 * relay's, looks_answer the ledger's; looks_new and looks_free before and after
 * both.
 */
#ifndef SERVER_LOOK_H
#define SERVER_LOOK_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"
#include "base/id.h"

struct looks;
struct pg;

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

/* At most `max` questions and answers at a time; NULL without memory. */
struct looks *looks_new(size_t max);
void looks_free(struct looks *looks);

/* Asks; the ledger is to be woken. False when too much is asked. */
bool looks_ask(struct looks *looks, struct look *look);

/* An answer, or NULL when there is none; looks_fd is readable while there is
 * one. */
struct look *looks_take(struct looks *looks);
int looks_fd(const struct looks *looks);

/* Answers a few of what waits, in one round trip; true: more waits. */
bool looks_answer(struct looks *looks, struct pg *pg);

#endif
