/*
 * What natter-local knows of the user who asks, as TURN_FACTS and
 * COMPLETION_FACTS give it. Thread: front; pure.
 */
#ifndef CHAT_LOCAL_FACTS_H
#define CHAT_LOCAL_FACTS_H

#include <libpq-fe.h>

struct local_facts;

/* Fills in what the row says; without one (or a result) nothing is known. The
 * strings are the result's. */
void local_facts_read(const PGresult *r, struct local_facts *out);

#endif
