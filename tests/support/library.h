/*
 * A stack whose passages get vectors, and one reader with documents: for tests
 * of embeddings. Failures fail the test.
 */
#ifndef TESTS_LIBRARY_H
#define TESTS_LIBRARY_H

#include <stdbool.h>

#include "stack.h"

#define LIBRARY_MODEL "embed-1"

struct library {
	struct stack stack;
	struct person reader;
};

/* With CHAT_EMBEDDING_MODEL and these settings, ended by NULL. */
void library_open(struct library *l, const char *const *settings);
void library_close(struct library *l);

/* Asks as `p`; fails unless the status is the wanted one. */
void library_ask(const struct library *l, const struct person *p,
    const struct ask *ask, long status, struct answer *a);

/* Brings a text of `p`; writes its id (NULL: who cares). */
void library_bring(const struct library *l, const struct person *p,
    const char *json, char out_id[40]);

/* Waits until all of p's documents have vectors of the model. */
void library_wait(const struct person *p, const char *model);

/* The only value of a query about `p` ($1). */
const char *library_value(const struct person *p, const char *sql);

/* Searches as `p`; the caller clears the answer. */
void library_search(const struct library *l, const struct person *p,
    const char *query, struct answer *a);

/* Does one of the stand-in's pages ("/_last", "/_bodies") hold the text? */
bool library_sent(const struct library *l, const char *page, const char *text);

#endif
