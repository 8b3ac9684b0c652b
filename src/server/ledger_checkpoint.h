/*
 * Texts of running replies that have no log: the relay copies what is new, the
 * ledger appends it to the stored messages, and a sweep after this worker's
 * death finds it there. A batch changes hands as a roll does: nothing is
 * shared. A few at a time are stored between two batches of ended replies,
 * which therefore never wait for more than those few.
 *
 * Thread: whoever holds the batch.
 */
#ifndef SERVER_LEDGER_CHECKPOINT_H
#define SERVER_LEDGER_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/id.h"

struct arena;
struct pg;

enum checkpoint_result {
	CHECKPOINT_FAILED, /* Postgres was away, or refused the batch */
	CHECKPOINT_KEPT,
	CHECKPOINT_OTHER, /* another length is stored, or the reply has ended */
};

struct checkpoint {
	char user_id[ID_TEXT];
	char message_id[ID_TEXT];
	char *text; /* what is new, NUL-terminated; NULL: only how much it is
		     * is stored (of a completion that nobody keeps) */
	size_t n;   /* its bytes */
	size_t
	    from; /* bytes stored before; 0: whatever is stored is replaced */
	enum checkpoint_result result;
};

struct checkpoints {
	size_t n;    /* all of them */
	size_t done; /* those in front that the ledger has been through */
	struct checkpoint items[];
};

/* Stores the next few; false when the batch is through. */
bool checkpoints_store(struct checkpoints *c, struct pg *pg, struct arena *a);

/* Frees it, texts too. NULL is fine. */
void checkpoints_free(struct checkpoints *c);

#endif
