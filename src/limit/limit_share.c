/*
 * A worker's share of the limits, for reads while neither store can charge
 * them. Owns the one table of it: a time for each slot until which the slot is
 * used up. Two buckets that fall into one slot share it, which is stricter and
 * never laxer, and the table stays as small as it is.
 */
#include <pthread.h>
#include <stddef.h>

#include "limit/limit_inside.h"

#define SLOTS 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t used_up[SLOTS]; /* us of CLOCK_MONOTONIC */

static int64_t *
slot_of(const char *key)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * UINT64_C(1099511628211);
	return &used_up[(h >> 32) % SLOTS];
}

/* What an item's bucket may hold here, at least one. */
static int64_t
share_of(int64_t limit, long workers)
{
	int64_t share = limit / workers;
	return share > 0 ? share : 1;
}

static void
weigh(struct limit_item *item, long workers, int64_t now_us)
{
	int64_t *slot = slot_of(item->key);
	if (item->limit == 0)
		return;
	item->limit = share_of(item->limit, workers);
	int64_t step = limit_step(item), room = step * item->limit;
	if (*slot < now_us)
		*slot = now_us;
	if (*slot > now_us + room)
		*slot = now_us + room;
	item->remaining = (now_us + room - *slot) / step;
	item->reset_us = *slot - now_us;
	item->retry_us = item->remaining > 0 ? 0 : *slot + step - room - now_us;
}

void
limit_share_charge(struct limit_bill *bill, long workers, int64_t now_us)
{
	bool passes = true;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < bill->n; i++) {
		weigh(&bill->items[i], workers, now_us);
		passes = passes && bill->items[i].retry_us == 0;
	}
	for (size_t i = 0; passes && i < bill->n; i++) {
		struct limit_item *item = &bill->items[i];
		if (item->limit == 0)
			continue;
		*slot_of(item->key) += limit_step(item);
		item->remaining--;
		item->reset_us += limit_step(item);
	}
	pthread_mutex_unlock(&lock);
}
