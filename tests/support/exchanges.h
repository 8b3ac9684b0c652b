/*
 * What the suite asked and was answered, kept for tests/contract, which holds
 * it against docs/openapi.yaml: one line of JSON an exchange, appended to the
 * file that NATTER_EXCHANGES names. The lines have tokens in them, so the file
 * is its owner's alone; whoever names it removes it.
 *
 * Thread: any.
 */
#ifndef TESTS_EXCHANGES_H
#define TESTS_EXCHANGES_H

#include "http_client.h"

/* Keeps one exchange; does nothing where no file is named. */
void exchange_keep(const struct ask *ask, const struct answer *a);

#endif
