/*
 * Reading the one row. Owns nothing.
 */
#include "chat/local_facts.h"
#include "model/model.h"
#include "store/pg.h"

/* The row's columns. */
enum { USERNAME, CONVERSATIONS, MESSAGES, FIRST_MS };

void
local_facts_read(const PGresult *r, struct local_facts *out)
{
	if (pg_rows(r) == 0)
		return;
	out->username = pg_text(r, 0, USERNAME);
	out->conversations = pg_number(r, 0, CONVERSATIONS);
	out->messages = pg_number(r, 0, MESSAGES);
	out->first_ms = pg_number(r, 0, FIRST_MS);
}
