/*
 * A table of the stack's Postgres that nobody may write for a while: whoever is
 * to write it, waits. As superuser; failures fail the test.
 *
 * Ownership: table_let ends what table_hold began. Thread: the test's.
 */
#ifndef TESTS_TABLE_HOLD_H
#define TESTS_TABLE_HOLD_H

#include <stdbool.h>

#include <libpq-fe.h>

/* Nobody writes the table ("chat.tasks") until table_let. */
PGconn *table_hold(const char *table);
void table_let(PGconn *held);

/* Does natterd's ledger wait for it? (A condition for wait_until; its arg is
 * the table's name.) */
bool table_is_awaited(void *table);

#endif
