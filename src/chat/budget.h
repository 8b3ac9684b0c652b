/*
 * What a user's limits leave for a reply: the part of beginning a turn that
 * reads what chat.budget_reserve said (migration 034), through TURN_BEGIN's
 * rows. Deciding and counting are Postgres's alone.
 *
 * Thread: front. No I/O.
 */
#ifndef CHAT_BUDGET_H
#define CHAT_BUDGET_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/errors.h"
#include "base/id.h"

struct arena;
struct config;
struct request;

/* What was reserved for one reply. */
struct budget {
	int64_t cap;           /* most tokens of the reply; 0: no limit */
	bool is_in_money;      /* a limit in money holds */
	bool is_bounded;       /* that, or one in tokens */
	int64_t history_bytes; /* of facts, passages and the messages before it
				* that may be sent */
	int64_t room;      /* of the window, in bytes, for all that is sent */
	uint32_t standins; /* those that it can pay for, a bit each, in the
			    * order of model/fallback.h */
	char store_id[ID_TEXT]; /* "": none */
	char counted_on[16];    /* the day, as Postgres writes it */
};

/* The settings' limits as TURN_BEGIN takes them; NULL without memory. */
const char *budget_limits(struct arena *a, const struct config *config);

/*
 * Reads TURN_BEGIN's rows (one at least) and tells req->limits what is left.
 * ERR_QUOTA_EXCEEDED: no tokens or no money; ERR_RATE_LIMITED: too many replies
 * at once, or in a day; ERR_INVALID_FIELD: a model without a price where a
 * limit in money holds. Nothing was stored or reserved then.
 */
enum err budget_read(
    struct request *req, const PGresult *begun, struct budget *out) MUST_CHECK;

#endif
