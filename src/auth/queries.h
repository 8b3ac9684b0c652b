/*
 * The statements of the auth domain: one enum value per row of queries.def.
 *
 * Thread: any; constant.
 */
#ifndef AUTH_QUERIES_H
#define AUTH_QUERIES_H

#include "store/pg.h"

struct arena;

enum auth_query {
#define QUERY(name, types, sql) AUTH_##name,
#include "auth/queries.def"
#undef QUERY
	AUTH__MAX
};

extern const struct pg_query auth_queries[AUTH__MAX];
extern const struct pg_domain auth_domain;

/* Bytes as Postgres reads a bytea; NULL beyond the arena's cap. */
const char *queries_bytea(struct arena *a, const unsigned char *p, size_t n);

#endif
