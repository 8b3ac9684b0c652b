/*
 * The statements of the auth domain: one enum value per row of queries.def.
 *
 * Thread: any; constant.
 */
#ifndef AUTH_QUERIES_H
#define AUTH_QUERIES_H

#include "store/pg.h"

enum auth_query {
#define QUERY(name, types, sql) AUTH_##name,
#include "auth/queries.def"
#undef QUERY
	AUTH__MAX
};

extern const struct pg_query auth_queries[AUTH__MAX];
extern const struct pg_domain auth_domain;

#endif
