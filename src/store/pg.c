/*
 * The Postgres connection as its users see it: opened when it is needed,
 * given calls, asked why. Owns the object and the decision when to connect;
 * the wire is pg_trip.c's, the session pg_connect.c's.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "store/pg_inside.h"
#include "store/wait.h"

/* The calls of one transaction and whose they are. */
struct batch {
	const char *user;         /* everybody's, when `users` is NULL */
	const char *const *users; /* each call's */
	struct pg_call *calls;
	size_t n;
};

struct pg *
pg_new(const struct pg_options *options)
{
	struct pg *pg = calloc(1, sizeof(*pg));

	if (pg != NULL)
		pg->options = *options;
	return pg;
}

void
pg_free(struct pg *pg)
{
	if (pg == NULL)
		return;
	pg_drop(pg);
	free(pg);
}

static uint64_t
deadline_of(const struct pg *pg)
{
	return clock_mono_ms() + (uint64_t)pg->options.timeout_ms;
}

/*
 * An idle connection has nothing to say, except that a setting changed or
 * that it is about to die; then the end of the stream follows.
 */
static bool
is_alive(PGconn *conn)
{
	while (wait_has_input(PQsocket(conn))) {
		PGnotify *notify;

		if (!PQconsumeInput(conn))
			return false;
		while ((notify = PQnotifies(conn)) != NULL)
			PQfreemem(notify);
	}
	return PQstatus(conn) == CONNECTION_OK;
}

static bool
is_usable(struct pg *pg)
{
	if (pg->conn != NULL && (pg->is_stale || !is_alive(pg->conn)))
		pg_drop(pg);
	return pg->conn != NULL;
}

enum err
pg_connect(struct pg *pg)
{
	return is_usable(pg) ? OK : pg_open(pg, deadline_of(pg));
}

/* The same, but failing fast between attempts while Postgres is away. */
static enum err
make_usable(struct pg *pg, uint64_t deadline_ms)
{
	enum err e;

	if (is_usable(pg))
		return OK;
	if (clock_mono_ms() < pg->retry_ms)
		return pg->away;
	e = pg_open(pg, deadline_ms);
	/* What is sent without time for an answer is in doubt for nothing. */
	if (e == OK && clock_mono_ms() >= deadline_ms)
		return pg_fail(pg, ERR_UNAVAILABLE, "connected too late");
	return e;
}

/* Whose call `i` is, as set_config takes it: '' is nobody. */
static const char *
user_of(const struct batch *b, size_t i)
{
	const char *user = b->users == NULL ? b->user : b->users[i];

	return user == NULL ? "" : user;
}

/* Does an identity statement stand before call `i`? */
static bool
has_new_user(const struct batch *b, size_t i)
{
	return i == 0 || strcmp(user_of(b, i), user_of(b, i - 1)) != 0;
}

static enum err
send_identity(struct pg_trip *t, const struct batch *b, size_t i)
{
	char timeout[PG_TIMEOUT_TEXT];
	const char *const params[] = {
	    timeout, user_of(b, i), t->pg->request_id, t->pg->ip};

	if (t->pg->options.prepare)
		return pg_trip_send_prepared(t, &pg_identity, &params[1]);
	if (i > 0)
		return pg_trip_send_text(t, &pg_identity, &params[1]);
	pg_statement_timeout(t->pg, timeout);
	return pg_trip_send_text(t, &pg_identity_and_settings, params);
}

static enum err
send_calls(struct pg_trip *t, const struct batch *b)
{
	enum err e = OK;

	for (size_t i = 0; e == OK && i < b->n; i++) {
		const struct pg_call *call = &b->calls[i];

		if (has_new_user(b, i))
			e = send_identity(t, b, i);
		if (e == OK && t->pg->options.prepare)
			e = pg_trip_send_prepared(t, call->query, call->params);
		else if (e == OK)
			e = pg_trip_send_text(t, call->query, call->params);
	}
	return e == OK ? pg_trip_sync(t) : e;
}

static enum err
take_answers(struct pg_trip *t, const struct batch *b)
{
	enum err e = OK;

	for (size_t i = 0; e == OK && i < b->n; i++) {
		PGresult *identity = NULL;

		if (has_new_user(b, i))
			e = pg_trip_take(t, pg_identity.name, &identity);
		PQclear(identity);
		if (e == OK)
			e = pg_trip_take(
			    t, b->calls[i].query->name, &b->calls[i].result);
	}
	return e == OK ? pg_trip_end(t) : e;
}

static enum err
run(struct pg *pg, const struct batch *b)
{
	struct pg_trip t = {.pg = pg, .deadline_ms = deadline_of(pg)};
	enum err e;

	assert(b->n <= PG_CALLS_MAX);
	pg->is_in_doubt = false;
	for (size_t i = 0; i < b->n; i++)
		b->calls[i].result = NULL;
	if (b->n == 0)
		return OK;
	e = make_usable(pg, t.deadline_ms);
	if (e == OK)
		e = send_calls(&t, b);
	if (e == OK)
		e = take_answers(&t, b);
	if (e != OK)
		pg_calls_clear(b->calls, b->n);
	pg->is_in_doubt = e == ERR_UNAVAILABLE && t.is_whole && t.refused == OK;
	if (e == ERR_UNAVAILABLE || e == ERR_INTERNAL)
		metrics_count(METRIC_POSTGRES_FAILURES);
	return e;
}

enum err
pg_run(struct pg *pg, const char *user_id, struct pg_call *calls, size_t n)
{
	return run(
	    pg, &(struct batch){.user = user_id, .calls = calls, .n = n});
}

enum err
pg_run_many(
    struct pg *pg, const char *const *users, struct pg_call *calls, size_t n)
{
	return run(pg, &(struct batch){.users = users, .calls = calls, .n = n});
}

void
pg_set_caller(struct pg *pg, const char *request_id, const char *ip)
{
	snprintf(pg->request_id, sizeof(pg->request_id), "%s",
	    request_id != NULL ? request_id : "");
	snprintf(pg->ip, sizeof(pg->ip), "%s", ip != NULL ? ip : "");
}

void
pg_calls_clear(struct pg_call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		PQclear(calls[i].result);
		calls[i].result = NULL;
	}
}

const char *
pg_why(const struct pg *pg)
{
	return pg->why;
}

const char *
pg_sqlstate(const struct pg *pg)
{
	return pg->sqlstate;
}

const char *
pg_constraint(const struct pg *pg)
{
	return pg->constraint;
}

bool
pg_is_in_doubt(const struct pg *pg)
{
	return pg->is_in_doubt;
}

bool
pg_role_is_refused(const struct pg *pg)
{
	return pg->is_role_refused;
}

uint64_t
pg_round_trips(const struct pg *pg)
{
	return pg->round_trips;
}
