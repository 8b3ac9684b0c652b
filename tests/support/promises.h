/*
 * What every answer of the API promises, whatever it is about, looked at from
 * outside. Each function gives the first broken promise as a sentence, NULL
 * when all are kept; the sentence is valid until the thread's next call.
 */
#ifndef TESTS_PROMISES_H
#define TESTS_PROMISES_H

#include "http_client.h"

/* Of any answer in one piece: its length, its id, nothing kept or guessed. */
const char *reply_fault(const struct answer *a);

/*
 * Of a refusal: the status and the problem document with this code, and this
 * field where one is named (NULL: none may be), beside what reply_fault says.
 */
const char *refusal_fault(
    const struct answer *a, long status, const char *code, const char *field);

/* The first of the words (NULL-ended) that the answer holds, or NULL. */
const char *leak(const struct answer *a, const char *const *words);

#endif
