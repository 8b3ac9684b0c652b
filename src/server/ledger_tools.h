/*
 * What models' calls do in the database: the relay gives a batch of uses, the
 * ledger notes what the reply took so far (unless it is noted), runs the uses
 * one after the other, each in a transaction of its own, and gives the batch
 * back. A batch without uses only notes.
 *
 * While the ledger has a batch, results are its to write; what was called the
 * relay may go on reading.
 *
 * While Postgres is away a batch is tried again until its time is up or the
 * relay does not want it any more; the uses that were not done by then have
 * failed. Trying again does nothing twice (tool_run.h). For the note alone
 * nothing is tried again: the next one says the same and more.
 */
#ifndef SERVER_LEDGER_TOOLS_H
#define SERVER_LEDGER_TOOLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chat/round_note.h"
#include "chat/tool_run.h"
#include "model/model_calls.h"

struct ledger;
struct queue;
struct stream;

struct tool_batch {
	struct tool_place place;
	char request_id[64];
	struct round_note note;
	bool is_noted;
	struct tool_use *uses[MODEL_CALLS_MAX]; /* the turn's */
	size_t n;                               /* 0: only the note */
	uint64_t until_ms;        /* CLOCK_MONOTONIC; no try after that */
	_Atomic bool is_unwanted; /* set by the relay: the reply ends */
	struct stream *owner;     /* the relay's; nobody else looks at it */
	struct tool_batch *next;  /* the ledger's */
};

/* How many batches may wait, and where they go back to. Called once, before
 * the thread; false without memory. */
bool ledger_tools_open(struct ledger *l, size_t max, struct queue *done);

/* Gives a batch. Thread: relay. */
void ledger_tools_give(struct ledger *l, struct tool_batch *b);

/* Runs what waits; true: some could not be run yet. Thread: ledger. */
bool ledger_tools_run(struct ledger *l);

void ledger_tools_free(struct ledger *l);

#endif
