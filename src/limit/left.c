/*
 * Lays the numbers that hold beside what is used of them. The only file that
 * knows the order of ME_LIMITS' columns.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/client.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/json_write.h"
#include "chat/queries.h"
#include "http/limit_headers.h"
#include "http/limits.h"
#include "http/request.h"
#include "limit/left.h"
#include "limit/peek.h"
#include "limit/quotas.h"

#define MINUTE_S 60
#define DAY_S    86400
#define MICRO    1000000
#define UNKNOWN  (-1)

enum {
	STORE_ID,
	SLUG,
	NUMBERS,
	USED, /* and reserved: tokens of day and month, money of both */
	TURNS = USED + 8,
	RUNNING,
	DAY,
	DAY_LEFT,
	MONTH_LEFT,
	MONTH,
};

/* A limit, what is used of it, and the bucket that knows. */
struct left {
	struct limit_line line;
	int64_t used, reserved; /* UNKNOWN: no budget */
	size_t bucket;          /* 1 + its index; 0: none */
};

/* The limits of the user, or of a store. */
struct place {
	const char *store_id; /* NULL: the user's own */
	const char *slug;
	struct left list[QUOTA__MAX];
	size_t n;
};

/* All that is looked up. */
struct looks {
	struct bucket buckets[PEEK_MAX];
	size_t n;
};

/* Notes the bucket that a limit of requests is counted in. */
static void
look_into(struct request *req, struct looks *looks, const struct place *place,
    struct left *l, const char *name)
{
	const char *key;
	if (!name || looks->n == PEEK_MAX)
		return;
	key = arena_printf(req->arena, "rate:{%s}:%s%s%s", req->who.user_id,
	    name, place->store_id ? ":" : "",
	    place->store_id ? place->store_id : "");
	if (!key)
		return;
	looks->buckets[looks->n++] = (struct bucket){
	    .key = key,
	    .limit = l->line.limit,
	    .window_us =
		l->line.window_s < DAY_S ? l->line.window_s * MICRO : 0,
	    .remaining = l->line.remaining,
	    .reset_us = l->line.reset_s * MICRO,
	};
	l->bucket = looks->n;
}

static int64_t
rest_of(int64_t limit, int64_t taken)
{
	return taken < limit ? limit - taken : 0;
}

/* A budget: its numbers stand in the row from `column` on. */
static void
fill_budget(struct left *l, const PGresult *r, int row, int column)
{
	bool is_month = column == USED + 2 || column == USED + 6;
	l->used = pg_number(r, row, column);
	l->reserved = pg_number(r, row, column + 1);
	l->line.remaining = rest_of(l->line.limit, l->used + l->reserved);
	l->line.window_s = is_month ? pg_number(r, row, MONTH) : DAY_S;
	l->line.reset_s = pg_number(r, row, is_month ? MONTH_LEFT : DAY_LEFT);
}

/* The day's turns: as Redis counts them, else as the budgets do. */
static void
fill_day(struct request *req, struct looks *looks, struct place *place,
    struct left *l, const PGresult *r, int row)
{
	l->line.window_s = DAY_S;
	l->line.reset_s = pg_number(r, row, DAY_LEFT);
	if (pg_text(r, row, TURNS))
		l->line.remaining =
		    rest_of(l->line.limit, pg_number(r, row, TURNS));
	look_into(req, looks, place, l,
	    arena_printf(req->arena, "day:%s", pg_text(r, row, DAY)));
}

static void
fill(struct request *req, struct looks *looks, struct place *place,
    enum quota q, struct left *l, const PGresult *r, int row)
{
	switch (q) {
	case QUOTA_TURNS_PER_DAY:
		fill_day(req, looks, place, l, r, row);
		return;
	case QUOTA_STREAMS:
		l->line.unit = LIMIT_STREAMS;
		l->line.window_s = 0;
		l->line.remaining =
		    rest_of(l->line.limit, pg_number(r, row, RUNNING));
		return;
	case QUOTA_TOKENS_PER_DAY:
	case QUOTA_TOKENS_PER_MONTH:
		l->line.unit = LIMIT_TOKENS;
		fill_budget(
		    l, r, row, USED + (q == QUOTA_TOKENS_PER_MONTH ? 2 : 0));
		return;
	case QUOTA_COST_PER_DAY:
	case QUOTA_COST_PER_MONTH:
		l->line.unit = LIMIT_MONEY;
		fill_budget(
		    l, r, row, USED + (q == QUOTA_COST_PER_MONTH ? 6 : 4));
		return;
	case QUOTA_TURNS_PER_MINUTE:
		look_into(req, looks, place, l, "turns");
		return;
	case QUOTA_API_PER_MINUTE:
		look_into(req, looks, place, l, "api");
		return;
	default:
		look_into(req, looks, place, l, client_network(req));
	}
}

/* Reads a row: what is set there, or else holds by the settings, limits. */
static void
read_place(struct request *req, struct looks *looks, struct place *place,
    const PGresult *r, int row)
{
	char *numbers = arena_strdup(req->arena, pg_text(r, row, NUMBERS));
	struct quotas quotas;
	quotas_default(req->services->config, &quotas);
	*place = (struct place){
	    .store_id = arena_strdup(req->arena, pg_text(r, row, STORE_ID)),
	    .slug = arena_strdup(req->arena, pg_text(r, row, SLUG)),
	};
	for (int q = 0; q < QUOTA__MAX && numbers; q++) {
		const char *word = strsep(&numbers, " ");
		int64_t limit = strtoll(word, NULL, 10);
		if (limit == QUOTA_UNSET && !place->store_id)
			limit = quotas.own[q];
		if (limit <= 0)
			continue;
		struct left *l = &place->list[place->n++];
		*l = (struct left){
		    .line =
			{
			    .name = quota_name((enum quota)q),
			    .limit = limit,
			    .remaining = UNKNOWN,
			    .window_s = MINUTE_S,
			    .reset_s = UNKNOWN,
			},
		    .used = UNKNOWN,
		};
		fill(req, looks, place, (enum quota)q, l, r, row);
	}
}

/* A number, or null for one that nobody knows. */
static void
write_number(struct buf *out, const char *key, int64_t n)
{
	if (n == UNKNOWN)
		json_write_raw(out, key, NULL);
	else
		json_write_number(out, key, n);
}

static void
write_limit(struct buf *out, const struct left *l)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "name", l->line.name);
	json_write_text(out, "unit", limit_unit_name(&l->line));
	json_write_number(out, "limit", l->line.limit);
	if (l->used != UNKNOWN) {
		json_write_number(out, "used", l->used);
		json_write_number(out, "reserved", l->reserved);
	}
	write_number(out, "remaining", l->line.remaining);
	if (l->line.window_s > 0) {
		json_write_number(out, "window", l->line.window_s);
		write_number(out, "reset", l->line.reset_s);
	}
	json_write_close(out, '}');
}

static void
write_place(struct buf *out, struct place *place, const struct looks *looks)
{
	json_write_open(out, "limits", '[');
	for (size_t i = 0; i < place->n; i++) {
		struct left *l = &place->list[i];
		if (l->bucket > 0) {
			const struct bucket *b = &looks->buckets[l->bucket - 1];
			l->line.remaining = b->remaining;
			if (b->window_us > 0)
				l->line.reset_s =
				    b->reset_us < 0
					? UNKNOWN
					: (b->reset_us + MICRO - 1) / MICRO;
		}
		write_limit(out, l);
	}
	json_write_close(out, ']');
}

static void
write_all(
    struct buf *out, struct place *places, size_t n, const struct looks *looks)
{
	json_write_open(out, NULL, '{');
	write_place(out, &places[0], looks);
	json_write_open(out, "stores", '[');
	for (size_t i = 1; i < n; i++) {
		json_write_open(out, NULL, '{');
		json_write_text(out, "store_id", places[i].store_id);
		json_write_text(out, "slug", places[i].slug);
		write_place(out, &places[i], looks);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
	json_write_close(out, '}');
}

enum err
left_read(struct request *req, struct buf *out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_ME_LIMITS),
	    .params = {req->who.user_id},
	};
	struct looks *looks = arena_alloc(req->arena, sizeof(*looks));
	enum err e = looks ? chat_run(req, &call, 1) : ERR_TOO_LARGE;
	if (e != OK)
		return e;
	size_t n = (size_t)pg_rows(call.result);
	struct place *places = arena_array(req->arena, n, sizeof(*places));
	if (places) {
		looks->n = 0;
		for (size_t i = 0; i < n; i++)
			read_place(req, looks, &places[i], call.result, (int)i);
		/* Without Redis nobody knows what is left of requests. */
		(void)!limit_peek(req, looks->buckets, looks->n);
		write_all(out, places, n, looks);
	}
	pg_calls_clear(&call, 1);
	return places ? OK : ERR_TOO_LARGE;
}
