/*
 * What the threads of one worker share: all of it read-only after the worker
 * made it, except the atomic drain state. Each thread opens its own stores
 * with services_open.
 */
#ifndef SERVER_SHARED_H
#define SERVER_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>

#include "auth/session_watch.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/id.h"
#include "http/request.h"
#include "store/cache.h"

struct config;
struct disowned;
struct keyring;
struct ledger;
struct relay;

/* How a worker is leaving. */
enum drain {
	DRAIN_NO,     /* it is not */
	DRAIN_LEAVE,  /* others take the new requests (reload, recycling) */
	DRAIN_REFUSE, /* nobody else will: answer new requests with 503 */
};

struct shared {
	const struct config *config;
	struct keyring *keys;
	char worker_id[ID_TEXT];
	const char *dead; /* workers that the master saw end: "{id,…}"; NULL */
	int listen_fd;
	int report_fd; /* the worker's words to the master */
	struct relay *relay;
	struct ledger *ledger;
	struct disowned *disowned; /* the ledger settles them */
	_Atomic int drain;         /* enum drain */
	struct session_doubt doubt;
	struct cache_shared caches; /* the ledger tells them */
	struct clock_agreed clock;  /* the ledger asks with each life sign */
};

/*
 * Makes this thread's services; the stores connect on first use. `name` says
 * which thread, in pg_stat_activity; a transaction of its may take so many
 * times CHAT_PG_TIMEOUT. ERR_INTERNAL without memory.
 */
enum err services_open(struct services *out, struct shared *shared,
    const char *name, int patience) MUST_CHECK;

/* When a write whose answer was lost is certainly decided, in ms. */
long services_decided_ms(const struct config *config);

/* The thread's connections alone, for the ledger; NULL: no memory. */
struct pg *
services_pg(const struct shared *shared, const char *name, int patience);
struct redis *services_redis(struct shared *shared);

/* The caches of a thread with this connection; NULL: no memory. */
struct cache *services_cache(struct shared *shared, struct redis *redis);

void services_close(struct services *services);

#endif
