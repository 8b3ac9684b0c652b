/*
 * Opens the stores of one thread with every domain's statements. The only
 * place that knows which domains there are.
 */
#include <pthread.h>

#include "auth/queries.h"
#include "auth/site_keys.h"
#include "base/config.h"
#include "base/keyring.h"
#include "base/zone.h"
#include "chat/queries.h"
#include "server/disowned.h"
#include "server/ledger.h"
#include "server/relay.h"
#include "server/shared.h"
#include "store/pg.h"
#include "store/redis.h"

#define N_DOMAINS 2

/*
 * When a write whose worker died, or whose answer was lost, is certainly
 * decided: a request makes few
 * round trips to Postgres, each statement of which ends by its time-out; then
 * there is the time between them.
 */
#define WRITE_TRIPS     4
#define WRITE_MARGIN_MS 60000

static struct pg_domain domains[N_DOMAINS];
static pthread_once_t domains_once = PTHREAD_ONCE_INIT;

static bool
is_draining(void *worker)
{
	struct shared *shared = worker;

	return atomic_load(&shared->drain) != DRAIN_NO;
}

static bool
refuses_new(void *worker)
{
	struct shared *shared = worker;

	return atomic_load(&shared->drain) == DRAIN_REFUSE;
}

static bool
has_room(void *worker)
{
	struct shared *shared = worker;

	return relay_count(shared->relay) < (size_t)shared->config->streams_max;
}

static bool
has_reader_room(void *worker)
{
	struct shared *shared = worker;

	return relay_readers(shared->relay) <
	       (size_t)shared->config->streams_max;
}

static void
disown(void *worker, const char *user_id, const char *message_id)
{
	struct shared *shared = worker;

	disowned_add(shared->disowned, user_id, message_id);
}

long
services_decided_ms(const struct config *config)
{
	return WRITE_TRIPS * config->pg_timeout_ms + WRITE_MARGIN_MS;
}

static void
collect_domains(void)
{
	domains[0] = auth_domain;
	domains[1] = chat_domain;
}

struct pg *
services_pg(const struct shared *shared, const char *name, int patience)
{
	struct pg_options options = {
	    .url = shared->config->database_url,
	    .application = name,
	    .timeout_ms = shared->config->pg_timeout_ms * patience,
	    .prepare = shared->config->pg_prepare,
	    .demand_unprivileged = true,
	    .domains = domains,
	    .n_domains = N_DOMAINS,
	};

	if (pthread_once(&domains_once, collect_domains) != 0)
		return NULL;
	return pg_new(&options);
}

struct redis *
services_redis(struct shared *shared)
{
	const struct config *config = shared->config;
	struct redis *redis =
	    redis_new(config->redis_url, config->redis_timeout_ms);

	if (redis != NULL)
		redis_count_troubles(redis, &shared->doubt.troubles);
	return redis;
}

struct cache *
services_cache(struct shared *shared, struct redis *redis)
{
	const struct config *config = shared->config;

	return cache_new(
	    redis, &shared->caches, services_decided_ms(config), config->cache);
}

enum err
services_open(
    struct services *out, struct shared *shared, const char *name, int patience)
{
	*out = (struct services){
	    .config = shared->config,
	    .keys = shared->keys,
	    .worker_id = shared->worker_id,
	    .worker = shared,
	    .is_draining = is_draining,
	    .refuses_new = refuses_new,
	    .has_room = has_room,
	    .has_reader_room = has_reader_room,
	    .disown = disown,
	    .doubt = &shared->doubt,
	    .clock = &shared->clock,
	    .pg = services_pg(shared, name, patience),
	    .redis = services_redis(shared),
	    .site_keys = site_keys_new(shared->config->exchange_jwks),
	};
	out->cache = services_cache(shared, out->redis);
	if (out->pg != NULL && out->redis != NULL && out->site_keys != NULL &&
	    out->cache != NULL)
		return OK;
	services_close(out);
	return ERR_INTERNAL;
}

void
services_close(struct services *services)
{
	pg_free(services->pg);
	cache_free(services->cache);
	redis_free(services->redis);
	site_keys_free(services->site_keys);
	zones_forget(); /* this thread's */
	services->pg = NULL;
	services->cache = NULL;
	services->redis = NULL;
	services->site_keys = NULL;
}
