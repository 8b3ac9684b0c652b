/*
 * Replies that dead workers left: takes them over a few at a time, reads each
 * one's text from its log in Redis, ends it, and writes the log's last entry,
 * so that its readers end too.
 *
 * While Redis is away a reply waits for a minute, still `streaming`, since its
 * text may be there alone; then it ends with what Postgres has of it.
 *
 * Thread: ledger.
 */
#ifndef SERVER_LEDGER_SWEEP_H
#define SERVER_LEDGER_SWEEP_H

#include <stdbool.h>

#include "base/errors.h"
#include "chat/recover.h"

struct pg;
struct redis;

struct sweep {
	struct pg *pg;
	struct redis *redis;
	const char *worker_id;
	enum lost_whose whose;
	size_t text_max; /* bytes of one reply's text */
};

/*
 * One piece of it: at most LOST_MAX replies, and no further one beyond 1 MiB of
 * text, so that the ledger has time for its own worker's. *out_has_more: there
 * may be more that can be ended now.
 */
enum err ledger_sweep(const struct sweep *s, bool *out_has_more) MUST_CHECK;

#endif
