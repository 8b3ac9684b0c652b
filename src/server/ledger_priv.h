/*
 * What ledger.c, which stores the ends of replies, and ledger_rounds.c, which
 * does what comes round, share. Thread: ledger.
 */
#ifndef SERVER_LEDGER_PRIV_H
#define SERVER_LEDGER_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chat/turn.h"
#include "server/ledger.h"
#include "store/pg.h"

/* The most turns of one transaction. */
#define BATCH_MAX 64

/* What one batch's parameters may take; texts are borrowed, not copied. */
#define ARENA_MAX ((size_t)64 << 20)

/* What telling the caches of one batch takes. */
#define CACHE_ARENA_MAX ((size_t)1 << 20)

/* Of ledger_tools.c. */
struct ledger_tools {
	struct queue *inbox, *done;
	struct tool_batch *waiting; /* taken, and not done yet */
	uint64_t next_ms;           /* when they are tried again */
};

struct ledger {
	struct shared *shared;
	struct pg *pg;
	struct redis *redis;
	struct cache *cache;
	struct arena *arena;
	struct arena *cache_arena; /* of what the caches are told */
	struct queue *inbox;
	struct ledger_ways to;
	struct queue_pair *looks;  /* the relay's */
	struct queue_pair *works;  /* likewise */
	struct queue_pair *embeds; /* likewise; NULL: no vectors */
	struct roll *_Atomic roll; /* the relay's question; NULL: none */
	struct queue *kept;
	struct checkpoints *_Atomic checkpoints; /* to be stored; NULL: none */
	struct ledger_tools tools;
	struct turn *batch[BATCH_MAX];
	size_t n_batch;
	struct pg_call calls[BATCH_MAX * TURN_FINISH_CALLS];
	const char *users[BATCH_MAX * TURN_FINISH_CALLS];
	uint64_t next_sign_ms;
	uint64_t next_watch_ms;
	uint64_t next_cancels_ms;
	uint64_t next_sweep_ms;
	const char *dead; /* not told yet; NULL: none */
	bool sweeps_all;  /* once after each sign: the silent ones' too */
	uint64_t
	    steady_since_ms; /* every sign since then went well; 0 = none */
	int pause_ms;
	bool was_away;
	bool sign_fails;         /* the last sign did: it is logged once */
	_Atomic bool is_known;   /* the worker's row is there */
	_Atomic bool has_signed; /* or was tried to be written */
	_Atomic bool gives_up;
	_Atomic bool has_ended;
};

/* Gives the worker's life sign, if it is due. */
void ledger_sign(struct ledger *l);

/* Answers a few works and embeds of the relay's; true: more wait. */
bool ledger_work(struct ledger *l);

/* Does what is due; how long nothing will be, in ms. */
int ledger_rounds(struct ledger *l);

#endif
