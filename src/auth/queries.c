/*
 * The table of queries.def. What the statements return is read next to where
 * they are run: user.c, proof.c, session.c and session_list.c.
 */
#include <sodium.h>

#include "auth/queries.h"
#include "base/arena.h"

const struct pg_query auth_queries[AUTH__MAX] = {
#define QUERY(name, types, sql) {"auth_" #name, types, sql},
#include "auth/queries.def"
#undef QUERY
};

const struct pg_domain auth_domain = {auth_queries, AUTH__MAX};

const char *
queries_bytea(struct arena *a, const unsigned char *p, size_t n)
{
	char *text = arena_alloc(a, 2 + 2 * n + 1);
	if (!text)
		return NULL;
	text[0] = '\\';
	text[1] = 'x';
	(void)sodium_bin2hex(text + 2, 2 * n + 1, p, n);
	return text;
}
