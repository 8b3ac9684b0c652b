/*
 * One pipeline on the wire, with a deadline. Owns the rule that libpq never
 * blocks here: the socket is non-blocking, every wait is a poll, and reading
 * goes on while sending, because a server whose answers nobody takes stops
 * reading questions. Knows nothing of identities or domains.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/metrics.h"
#include "store/pg_inside.h"
#include "store/wait.h"

/*
 * Above this many queued bytes the socket is drained before more is queued.
 * libpq sends at 64 KiB by itself, but when the socket is full it moves its
 * whole remaining buffer at every further statement, which is quadratic.
 */
#define QUEUED_MAX (60 * 1024)

/* The trip is over; an earlier refusal is the better explanation. */
static enum err
give_up(struct pg_trip *t, enum err e)
{
	pg_drop(t->pg);
	return t->refused == OK ? e : t->refused;
}

static enum err
fail_wire(struct pg_trip *t)
{
	enum err e = t->refused;

	if (e == OK)
		e = pg_fail_connection(t->pg);
	return give_up(t, e);
}

static enum err
wait_for(struct pg_trip *t, short events, short *out_ready)
{
	struct pg *pg = t->pg;
	int e =
	    wait_ready(PQsocket(pg->conn), events, t->deadline_ms, out_ready);

	if (e == 0)
		return OK;
	if (t->refused == OK && e == ETIMEDOUT)
		pg_fail(pg, ERR_UNAVAILABLE, "no answer within %ld ms",
		    pg->options.timeout_ms);
	else if (t->refused == OK)
		pg_fail(pg, ERR_UNAVAILABLE, "poll: %s", strerror(e));
	return give_up(t, ERR_UNAVAILABLE);
}

/* Sends all that is queued, reading meanwhile. */
static enum err
flush(struct pg_trip *t)
{
	int left;

	while ((left = PQflush(t->pg->conn)) > 0) {
		short ready = 0;
		enum err e = wait_for(t, POLLIN | POLLOUT, &ready);

		if (e != OK)
			return e;
		if ((ready & ~POLLOUT) != 0 && !PQconsumeInput(t->pg->conn))
			return fail_wire(t);
	}
	t->queued = 0;
	return left == 0 ? OK : fail_wire(t);
}

static enum err
queue(struct pg_trip *t, size_t n)
{
	t->queued += n;
	return t->queued > QUEUED_MAX ? flush(t) : OK;
}

static size_t
size_of_params(const char *const *params, int n)
{
	size_t size = 64; /* the messages around them, roughly */

	for (int i = 0; i < n; i++)
		if (params[i] != NULL)
			size += strlen(params[i]);
	return size;
}

static enum err
fail_types(struct pg_trip *t, const struct pg_query *query)
{
	return give_up(
	    t, pg_fail(t->pg, ERR_INTERNAL, "%s: unknown parameter types: %s",
		   query->name, query->types));
}

enum err
pg_trip_prepare(struct pg_trip *t, const struct pg_query *query)
{
	Oid oids[PG_PARAMS_MAX];
	int n = pg_types_parse(query->types, oids);

	if (n == PG_TYPES_NONE)
		return fail_types(t, query);
	/* The unnamed statement checks the text and leaves nothing behind. */
	if (!PQsendPrepare(t->pg->conn,
		t->pg->options.prepare ? query->name : "", query->sql, n, oids))
		return fail_wire(t);
	return queue(t, strlen(query->sql));
}

enum err
pg_trip_send_prepared(
    struct pg_trip *t, const struct pg_query *query, const char *const *params)
{
	Oid oids[PG_PARAMS_MAX];
	int n = pg_types_parse(query->types, oids);

	if (n == PG_TYPES_NONE)
		return fail_types(t, query);
	if (!PQsendQueryPrepared(
		t->pg->conn, query->name, n, params, NULL, NULL, 0))
		return fail_wire(t);
	return queue(t, size_of_params(params, n));
}

enum err
pg_trip_send_text(
    struct pg_trip *t, const struct pg_query *query, const char *const *params)
{
	Oid oids[PG_PARAMS_MAX];
	int n = pg_types_parse(query->types, oids);

	if (n == PG_TYPES_NONE)
		return fail_types(t, query);
	if (!PQsendQueryParams(
		t->pg->conn, query->sql, n, oids, params, NULL, NULL, 0))
		return fail_wire(t);
	return queue(t, strlen(query->sql) + size_of_params(params, n));
}

enum err
pg_trip_sync(struct pg_trip *t)
{
	if (!PQpipelineSync(t->pg->conn))
		return fail_wire(t);
	t->is_whole = true;
	t->pg->round_trips++;
	metrics_count(METRIC_POSTGRES_TRIPS);
	return flush(t);
}

/* What libpq has next: a result, or NULL at the end of a statement's. */
static enum err
next_result(struct pg_trip *t, PGresult **out_result)
{
	while (PQisBusy(t->pg->conn)) {
		short ready = 0;
		enum err e = wait_for(t, POLLIN, &ready);

		if (e != OK)
			return e;
		if (!PQconsumeInput(t->pg->conn))
			return fail_wire(t);
	}
	*out_result = PQgetResult(t->pg->conn);
	return OK;
}

/* Reads on to the NULL that ends a statement's results. */
static enum err
skip_to_end(struct pg_trip *t)
{
	PGresult *r = NULL;
	enum err e = next_result(t, &r);

	if (e != OK || r == NULL)
		return e;
	PQclear(r);
	return give_up(
	    t, pg_fail(t->pg, ERR_INTERNAL, "a statement gave two results"));
}

enum err
pg_trip_take(struct pg_trip *t, const char *name, PGresult **out_result)
{
	PGresult *r = NULL;
	enum err e = next_result(t, &r);

	if (e != OK)
		return e;
	switch (PQresultStatus(r)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
		break;
	case PGRES_PIPELINE_ABORTED:
		PQclear(r);
		r = NULL;
		break;
	default:
		if (t->refused == OK)
			t->refused = pg_fail_result(t->pg, name, r);
		PQclear(r);
		r = NULL;
	}
	e = skip_to_end(t);
	if (e != OK) {
		PQclear(r);
		return e;
	}
	*out_result = r;
	return OK;
}

enum err
pg_trip_end(struct pg_trip *t)
{
	PGresult *r = NULL;
	enum err e = next_result(t, &r);

	if (e != OK)
		return e;
	if (PQresultStatus(r) != PGRES_PIPELINE_SYNC) {
		/*
		 * The commit itself failed (a deferred constraint). libpq 15
		 * has lost count of the pipeline then: start afresh.
		 */
		if (t->refused == OK)
			t->refused = pg_fail_result(t->pg, "commit", r);
		PQclear(r);
		return give_up(t, ERR_UNAVAILABLE);
	}
	PQclear(r);
	return t->refused;
}
