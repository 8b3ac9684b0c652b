/*
 * The table of queries.def. What the statements return is read next to where
 * they are run: user.c and session.c.
 */
#include "auth/queries.h"

const struct pg_query auth_queries[AUTH__MAX] = {
#define QUERY(name, types, sql) {"auth_" #name, types, sql},
#include "auth/queries.def"
#undef QUERY
};

const struct pg_domain auth_domain = {auth_queries, AUTH__MAX};
