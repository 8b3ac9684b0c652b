/*
 * Breakers, one for each model at each server, shared by a host's workers:
 * five replies that a model failed in a row, within 30 s, open its breaker.
 * Then nobody asks it for the cool-down; after that one reply does (the
 * probe), and what becomes of it closes the breaker or begins the cool-down
 * anew. A failure is a reply that the model could not begin; what breaks off
 * later is not counted, for no other model could have helped.
 *
 * The state of a breaker is one word in a mapping that the master makes before
 * it forks, changed by compare-and-swap: no lock that a killed worker could
 * hold. Names come from users too, so the table is bounded and a name has the
 * one place that its hash says: a breaker that another name pushes out has
 * forgotten its failures, no more.
 *
 * Thread: any; breaker_share before there are threads. Time is
 * clock_mono_ms(), which is one for all processes of a host.
 */
#ifndef MODEL_BREAKER_H
#define MODEL_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BREAKER_FAILURES  5
#define BREAKER_WINDOW_MS 30000

/* A reply's leave to ask a model. Zeroed: none. */
struct breaker_pass {
	uint64_t key;
	bool is_probe;
};

/* Makes the table that all children of this process share; false: no memory. */
bool breaker_share(void);

uint64_t breaker_key(const char *base_url, const char *model);

/*
 * May a reply ask this model now? A probe that is not settled within
 * `lease_ms` (its worker died) has lost its turn to another.
 */
bool breaker_enter(struct breaker_pass *pass, uint64_t key, uint64_t now_ms,
    uint64_t lease_ms);

/* The model began to answer, or refused what nobody would take. */
void breaker_succeeded(struct breaker_pass *pass);

/* It did not; 0 ms of cool-down: nobody counts. */
void breaker_failed(
    struct breaker_pass *pass, uint64_t now_ms, uint64_t cooldown_ms);

/* Nothing was learnt: the reply was ended from outside. */
void breaker_let_go(struct breaker_pass *pass, uint64_t now_ms);

/* How long nobody may ask this model, in ms; 0: ask. While it is probed, when
 * to look again. */
uint64_t breaker_wait_ms(uint64_t key, uint64_t now_ms);

/* How many breakers are open, those that are being probed included. */
size_t breaker_count_open(void);

#endif
