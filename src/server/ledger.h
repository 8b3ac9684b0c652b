/*
 * The ledger: one thread, one Postgres connection, the ends of all replies.
 * It takes every turn that waits (at most 64, and none beyond 2 MiB of text)
 * into one transaction, so that a busy worker commits dozens of replies at once
 * and an idle one does not wait.
 * While Postgres is away it keeps the turns and tries again; a batch that is
 * refused is retried turn by turn, so that one bad row spoils nobody else's.
 *
 * It also gives the worker's life sign, sweeps up after dead workers, and
 * watches over ended sessions (auth/session_watch.h) for its worker and for the
 * relay, which asks nobody itself.
 *
 * Thread: ledger_run is the thread; ledger_give from the relay; the rest from
 * the worker before and after the thread.
 */
#ifndef SERVER_LEDGER_H
#define SERVER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct checkpoints;
struct ledger;
struct queue;
struct queue_pair;
struct session_pair;
struct shared;
struct turn;

/* NULL without memory. `shared` is borrowed. */
struct ledger *ledger_new(struct shared *shared);

/* On whose sessions the replies of a relay lean; allocated by malloc. */
struct roll {
	struct session_pair *pairs;
	size_t n;       /* all of them */
	size_t n_ended; /* those in front, once the ledger has looked */
};

void roll_free(struct roll *roll);

/* Back to the relay. */
struct ledger_ways {
	struct queue *stored;  /* struct turn */
	struct queue *rolls;   /* struct roll */
	struct queue *cancels; /* struct cancels (chat/cancel.h) */
};

/* Where finished turns go, and so on. Called once, before the thread. */
void ledger_returns_to(struct ledger *l, const struct ledger_ways *ways);

/* Whose questions it answers besides (look.h). Called once, before the thread.
 */
void ledger_looks(struct ledger *l, struct queue_pair *looks);

/* The same of afterwork (works.h). Called once, before the thread. */
void ledger_works_for(struct ledger *l, struct queue_pair *works);

/* The same of vectors (embeds.h). Called once, before the thread, if at all. */
void ledger_embeds_for(struct ledger *l, struct queue_pair *embeds);

/* Somebody asked there. Thread: relay. */
void ledger_wake(struct ledger *l);

/* The thread's function; `arg` is the ledger. */
void *ledger_run(void *arg);

/* Gives a turn with its outcome; it comes back through the stored queue. */
void ledger_give(struct ledger *l, struct turn *t);

/*
 * Asks which of these sessions have ended; the roll comes back through the
 * queue within about a second. One at a time. Thread: relay.
 */
void ledger_ask(struct ledger *l, struct roll *roll);

/* Where checkpoints come back to. Called once, before the thread. */
void ledger_keeps_for(struct ledger *l, struct queue *kept);

/* Stores texts of running replies (ledger_checkpoint.h); they come back
 * through the queue. One batch at a time. Thread: relay. */
void ledger_keep(struct ledger *l, struct checkpoints *checkpoints);

/* No more turns: the thread ends when what it has is stored. */
void ledger_close(struct ledger *l);

/* Stop trying: what is not stored by now goes back as failed. */
void ledger_give_up(struct ledger *l);

/* Under which id; never changes. Any thread. */
const char *ledger_worker_id(const struct ledger *l);

/* Has this worker's row been written? Before, a reply begun here would look
 * like a dead worker's to the others' sweep. Any thread. */
bool ledger_is_known(const struct ledger *l);

/* Has it been tried? If it went well, shared->clock knows the database's. */
bool ledger_has_signed(const struct ledger *l);

bool ledger_has_ended(const struct ledger *l);

void ledger_free(struct ledger *l);

#endif
