/*
 * The table of queries.def as an array, and the running of its statements for
 * a request. Knows no statement by name.
 */
#include <assert.h>

#include "chat/queries.h"
#include "http/request.h"

static const struct pg_query table[CHAT__MAX] = {
#define QUERY(name, types, sql) [CHAT_##name] = {"chat_" #name, types, sql},
#include "chat/queries.def"
#include "chat/records.def"
#include "chat/limits.def"
#undef QUERY
};

const struct pg_domain chat_domain = {table, CHAT__MAX};

const struct pg_query *
chat_query(enum chat_query q)
{
	assert(q < CHAT__MAX);
	return &table[q];
}

int64_t
chat_life_ms(const PGresult *r, int column)
{
	if (!pg_text(r, 0, column))
		return -1;
	int64_t ms = pg_number(r, 0, column);
	return ms > 0 ? ms : 0;
}

enum err
chat_run(struct request *req, struct pg_call *calls, size_t n)
{
	struct pg *pg = req->services->pg;
	enum err e = pg_run(pg, req->who.user_id, calls, n);
	if (e != OK)
		return request_fail(req, e, pg_why(pg));
	return OK;
}
