/*
 * The ledger: one thread, one Postgres connection, the ends of all replies.
 * It takes every turn that waits (at most 64, and none beyond 2 MiB of text)
 * into one transaction, so that a busy worker commits dozens of replies at once
 * and an idle one does not wait.
 * While Postgres is away it keeps the turns and tries again; a batch that is
 * refused is retried turn by turn, so that one bad row spoils nobody else's.
 *
 * It also gives the worker's life sign, and sweeps up after dead workers.
 *
 * Thread: ledger_run is the thread; ledger_give from the relay; the rest from
 * the worker before and after the thread.
 */
#ifndef SERVER_LEDGER_H
#define SERVER_LEDGER_H

#include <stdbool.h>

#include "base/errors.h"

struct ledger;
struct queue;
struct shared;
struct turn;

/* NULL without memory. `shared` is borrowed. */
struct ledger *ledger_new(const struct shared *shared);

/* Where finished turns go. Called once, before the thread. */
void ledger_returns_to(struct ledger *l, struct queue *stored);

/* The thread's function; `arg` is the ledger. */
void *ledger_run(void *arg);

/* Gives a turn with its outcome; it comes back through the stored queue. */
void ledger_give(struct ledger *l, struct turn *t);

/* No more turns: the thread ends when what it has is stored. */
void ledger_close(struct ledger *l);

/* Stop trying: what is not stored by now goes back as failed. */
void ledger_give_up(struct ledger *l);

/* Has this worker's row been written? Before, a reply begun here would look
 * like a dead worker's to the others' sweep. Any thread. */
bool ledger_is_known(const struct ledger *l);

bool ledger_has_ended(const struct ledger *l);

void ledger_free(struct ledger *l);

#endif
