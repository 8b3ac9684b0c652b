/*
 * The bill at Postgres: while Redis is away, and what Redis is told when it
 * does not know a user's numbers. Owns no state. Must not know policies or
 * sessions.
 */
#include <inttypes.h>
#include <string.h>

#include "auth/queries.h"
#include "base/arena.h"
#include "http/request.h"
#include "limit/limit.h"
#include "limit/limit_inside.h"

/* What RATE_NUMBERS gives. */
enum { NUMBERS, TODAY };

/* What RATE_CHARGE gives. */
enum { N, KEY, IS_CHARGED, AMOUNT, REMAINING, RESET, RETRY };

void
limit_pg_ask(const struct limit_bill *bill, struct pg_call *out_call)
{
	*out_call = (struct pg_call){
	    .query = &auth_queries[AUTH_RATE_NUMBERS],
	    .params = {bill->user_id, bill->conversation},
	};
}

enum err
limit_pg_told(
    struct request *req, const struct pg_result *r, struct limit_told *out)
{
	if (pg_rows(r) != 1)
		return request_fail(req, ERR_INTERNAL, "no numbers of limits");
	const char *today = pg_text(r, 0, TODAY);
	out->numbers = arena_strdup(req->arena, pg_text(r, 0, NUMBERS));
	out->today = arena_strdup(req->arena, today ? today : "");
	return out->numbers && out->today ? OK : ERR_TOO_LARGE;
}

/* Appends to an array's text; NULL stays NULL. */
static const char *
append_text(struct arena *a, const char *array, const char *text)
{
	return array ? arena_printf(
			   a, "%s%s\"%s\"", array, array[1] ? "," : "", text)
		     : NULL;
}

static const char *
append_number(struct arena *a, const char *array, int64_t n)
{
	return array ? arena_printf(
			   a, "%s%s%" PRId64, array, array[1] ? "," : "", n)
		     : NULL;
}

static const char *
close_array(struct arena *a, const char *array)
{
	return array ? arena_printf(a, "%s}", array) : NULL;
}

enum err
limit_pg_call(struct request *req, const struct limit_bill *bill,
    const struct limit_door *door, struct pg_call *out_call)
{
	struct arena *a = req->arena;
	const char *keys = "{";
	const char *arrays[] = {"{", "{", "{", "{"};
	for (size_t i = 0; i < bill->n; i++) {
		const struct limit_item *item = &bill->items[i];
		const struct policy_row *p = &policy_rows[item->policy];
		const int64_t numbers[] = {
		    p->quota, item->limit, p->window_us, p->burst};
		keys = append_text(a, keys, item->key);
		for (size_t k = 0; k < 4; k++)
			arrays[k] = append_number(a, arrays[k], numbers[k]);
	}
	*out_call = (struct pg_call){
	    .query = door ? door->charge : &auth_queries[AUTH_RATE_CHARGE],
	    .params = {bill->user_id, bill->conversation, close_array(a, keys),
		close_array(a, arrays[0]), close_array(a, arrays[1]),
		close_array(a, arrays[2]), close_array(a, arrays[3]),
		door ? door->proof[0] : NULL, door ? door->proof[1] : NULL},
	};
	for (size_t i = 2; i < 7; i++) {
		if (!out_call->params[i])
			return ERR_TOO_LARGE;
	}
	return OK;
}

enum err
limit_pg_read(
    struct request *req, const struct pg_result *r, struct limit_bill *bill)
{
	if (pg_rows(r) == 0)
		return request_fail(
		    req, ERR_SESSION_REVOKED, "it ended while it was charged");
	for (int i = 0; i < pg_rows(r); i++) {
		size_t n = (size_t)pg_number(r, i, N) - 1;
		if (n >= bill->n)
			continue;
		struct limit_item *item = &bill->items[n];
		item->key = arena_strdup(req->arena, pg_text(r, i, KEY));
		if (!item->key)
			return ERR_TOO_LARGE;
		item->limit = pg_number(r, i, AMOUNT);
		item->remaining = pg_number(r, i, REMAINING);
		item->reset_us = pg_number(r, i, RESET);
		item->retry_us = pg_number(r, i, RETRY);
	}
	return OK;
}

void
limit_pg_give_back(struct request *req, const struct limit_charged *charged)
{
	struct arena *a = req->arena;
	const char *keys = "{", *steps = "{";
	for (size_t i = 0; i < charged->n; i++) {
		keys = append_text(a, keys, charged->items[i].key);
		steps = steps ? arena_printf(a, "%s%s%s", steps, i ? "," : "",
				    charged->items[i].step)
			      : NULL;
	}
	struct pg_call call = {
	    .query = &auth_queries[AUTH_RATE_GIVE_BACK],
	    .params = {close_array(a, keys), close_array(a, steps)},
	};
	if (call.params[0] && call.params[1] &&
	    pg_run(req->services->pg, NULL, &call, 1) == OK)
		pg_calls_clear(&call, 1); /* else it fills again by itself */
}
