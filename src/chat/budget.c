/*
 * The limits' rows of TURN_BEGIN, as lines of req->limits and as a refusal.
 * Knows the order of that statement's columns from `refused` on.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/metrics.h"
#include "base/text.h"
#include "chat/budget.h"
#include "http/request.h"
#include "limit/quotas.h"
#include "store/pg.h"

enum column {
	STORE = 2,
	REFUSED, /* the limit's number from 1; 0: a model without a price; -1:
		  * longer than the model's window */
	CAP,
	CONTEXT,
	DAY,
	DAY_ENDS, /* in so many seconds */
	MONTH_ENDS,
	QUOTA,
	LIMIT,
	REST,
	STANDINS,
	ROOM = STANDINS + 3,
};

#define DAY_S ((int64_t)24 * 60 * 60)

/* A reply that runs may end at any time: when to ask again, in s. */
#define STREAM_RETRY_S 2

enum period { AT_ONCE, OF_DAY, OF_MONTH };

static const struct {
	enum limit_unit unit;
	enum period period;
} kinds[QUOTA__MAX] = {
    [QUOTA_TURNS_PER_DAY] = {LIMIT_REQUESTS, OF_DAY},
    [QUOTA_STREAMS] = {LIMIT_STREAMS, AT_ONCE},
    [QUOTA_TOKENS_PER_DAY] = {LIMIT_TOKENS, OF_DAY},
    [QUOTA_TOKENS_PER_MONTH] = {LIMIT_TOKENS, OF_MONTH},
    [QUOTA_COST_PER_DAY] = {LIMIT_MONEY, OF_DAY},
    [QUOTA_COST_PER_MONTH] = {LIMIT_MONEY, OF_MONTH},
};

const char *
budget_limits(struct arena *a, const struct config *config)
{
	struct quotas quotas;
	struct buf out = {0};
	const char *text;

	quotas_default(config, &quotas);
	for (int i = 0; i < QUOTA__MAX; i++)
		buf_printf(
		    &out, "%c%" PRId64, i == 0 ? '{' : ',', quotas.own[i]);
	buf_putc(&out, '}');
	text = out.failed ? NULL : arena_strndup(a, out.p, out.n);
	buf_free(&out);
	return text;
}

/* Of a refused turn: is this why, or would it be next? */
static bool
is_violated(const PGresult *r, int row, int64_t q)
{
	if (!pg_text(r, row, REFUSED) || pg_number(r, row, REFUSED) == 0)
		return false;
	return pg_number(r, row, REFUSED) == q + 1 ||
	       pg_number(r, row, REST) <= 0;
}

static void
tell(struct request *req, const PGresult *r, int row)
{
	const int64_t windows[] = {
	    0, DAY_S, DAY_S * text_month_days(pg_text(r, row, DAY))};
	const int64_t resets[] = {
	    0, pg_number(r, row, DAY_ENDS), pg_number(r, row, MONTH_ENDS)};
	int64_t q = pg_number(r, row, QUOTA);
	struct limit_line *line =
	    limit_lines_find(&req->limits, quota_name((enum quota)q));

	/* What was charged before is told once. */
	if (line == NULL)
		line = limit_lines_add(&req->limits);
	if (line == NULL)
		return;
	*line = (struct limit_line){
	    .name = quota_name((enum quota)q),
	    .unit = kinds[q].unit,
	    .limit = pg_number(r, row, LIMIT),
	    .remaining = pg_number(r, row, REST),
	    .window_s = windows[kinds[q].period],
	    .reset_s = resets[kinds[q].period],
	    .is_violated = is_violated(r, row, q),
	};
	if (!line->is_violated) {
		if (q == QUOTA_STREAMS)
			metrics_count(METRIC_LIMIT_STREAMS_ALLOWED);
		return;
	}
	line->retry_s =
	    kinds[q].period == AT_ONCE ? STREAM_RETRY_S : line->reset_s;
	if (line->retry_s > req->retry_after_s)
		req->retry_after_s = (int)line->retry_s;
}

static enum err
refuse(struct request *req, int64_t number)
{
	static const enum metric refusals[QUOTA__MAX] = {
	    [QUOTA_TURNS_PER_DAY] = METRIC_LIMIT_TURNS_PER_DAY_REFUSED,
	    [QUOTA_STREAMS] = METRIC_LIMIT_STREAMS_REFUSED,
	    [QUOTA_TOKENS_PER_DAY] = METRIC_BUDGET_TOKENS_PER_DAY,
	    [QUOTA_TOKENS_PER_MONTH] = METRIC_BUDGET_TOKENS_PER_MONTH,
	    [QUOTA_COST_PER_DAY] = METRIC_BUDGET_COST_PER_DAY,
	    [QUOTA_COST_PER_MONTH] = METRIC_BUDGET_COST_PER_MONTH,
	};
	enum quota q = (enum quota)(number - 1);

	if (number < 0)
		return request_refuse(req, "content",
		    "With the system prompt it is longer than what the model's "
		    "window (CHAT_MODEL_WINDOW) leaves for it.");
	if (number == 0)
		return request_refuse(req, "model",
		    "No price is known for this model, and a limit in money "
		    "holds: natterctl prices sets one.");
	metrics_count(refusals[q]);
	req->detail = arena_printf(req->arena, "%s is used up.", quota_name(q));
	return q == QUOTA_STREAMS || q == QUOTA_TURNS_PER_DAY
		   ? ERR_RATE_LIMITED
		   : ERR_QUOTA_EXCEEDED;
}

/* Does a limit in this unit hold? */
static bool
has_limit(const PGresult *begun, enum limit_unit unit)
{
	for (int i = 0; i < pg_rows(begun); i++)
		if (pg_text(begun, i, QUOTA) != NULL &&
		    kinds[pg_number(begun, i, QUOTA)].unit == unit)
			return true;
	return false;
}

enum err
budget_read(struct request *req, const PGresult *begun, struct budget *out)
{
	const char *store = pg_text(begun, 0, STORE);

	for (int i = 0; i < pg_rows(begun); i++)
		if (pg_text(begun, i, QUOTA) != NULL)
			tell(req, begun, i);
	if (pg_text(begun, 0, REFUSED) != NULL)
		return refuse(req, pg_number(begun, 0, REFUSED));
	out->is_in_money = has_limit(begun, LIMIT_MONEY);
	out->is_bounded = out->is_in_money || has_limit(begun, LIMIT_TOKENS);
	out->cap = pg_number(begun, 0, CAP);
	out->history_bytes = pg_number(begun, 0, CONTEXT);
	out->standins = (uint32_t)pg_number(begun, 0, STANDINS);
	out->room = pg_number(begun, 0, ROOM);
	(void)snprintf(out->store_id, sizeof(out->store_id), "%s",
	    store != NULL ? store : "");
	(void)snprintf(out->counted_on, sizeof(out->counted_on), "%s",
	    pg_text(begun, 0, DAY));
	return OK;
}
