/*
 * The relay: one thread, one libuv loop, every reply in flight. It asks the
 * model (upstream.h), writes to nginx (client.h), and gives finished turns to
 * the ledger; nothing in it ever blocks.
 *
 * A reply costs 16 KB and its text: 11.3 of libcurl's (5.4 of them the handle),
 * 2 of the stream, 1.3 of the turn. A thread
 * each would cost 68 KB and collapse at 50,000 events/s, a process each 1.4 MB
 * (measured on 2 cores with 1,000 replies).
 *
 * Thread: relay_new and relay_free by the worker before and after the thread;
 * relay_run is the thread; the rest from any thread.
 */
#ifndef SERVER_RELAY_H
#define SERVER_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"
#include "http/request.h"

struct config;
struct follow;
struct ledger;
struct relay;
struct route;
struct turn;

/* A request whose reply goes on, as the front gives it away. */
struct handoff {
	struct turn *turn;     /* the relay's from now on; or NULL, and */
	struct follow *follow; /* likewise: reads a reply begun before */
	int fd;         /* the connection to nginx; the relay's from now on */
	int request_id; /* FastCGI's */
	const char *method;        /* constant, for the log line */
	const struct route *route; /* constant, for line and counts */
	char *origin; /* an allowed page's, or NULL; the relay's from now on */
	char *limits; /* header lines, or NULL; the relay's from now on */
	struct phases phases; /* of the front, for the log line */
};

/* NULL without memory or descriptors. */
struct relay *relay_new(const struct config *config, struct ledger *ledger);

/* The thread's function: runs until relay_drain was called and no reply is
 * left. `arg` is the relay. */
void *relay_run(void *arg);

/* Gives one reply to the relay; false when its inbox is full. */
bool relay_give(struct relay *r, const struct handoff *handoff);

/* Replies in flight, those in the inbox included; the same of readers. */
size_t relay_count(const struct relay *r);
size_t relay_readers(const struct relay *r);

/*
 * No more replies will come: finish those in flight; what still runs after
 * `drain_ms` ends with an `error` event and is stored as far as it got. Readers
 * end at once: another worker takes them.
 */
void relay_drain(struct relay *r, uint64_t drain_ms);

/* Has the thread ended? */
bool relay_has_ended(const struct relay *r);

void relay_free(struct relay *r);

#endif
