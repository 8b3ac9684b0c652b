/*
 * A database whose rows have the ages that a test wants, a folder for archives
 * and natterctl pointed at both: for tests of retention and archives. Times
 * are moved, nobody waits. In SQL, made by ages_begin:
 *
 *   t.at(time)                        a new UUIDv7 of that time
 *   t.person(name)                    makes a user, gives the id
 *   t.talk(user, last message)        makes a conversation, gives its id
 *   t.say(user, talk, time, role, text)  adds a message, gives its id
 *
 * The month that a message's time needs is made. Failures abort.
 */
#ifndef TESTS_SUPPORT_RETENTION_WORLD_H
#define TESTS_SUPPORT_RETENTION_WORLD_H

#include <libpq-fe.h>

#include "command.h"

/* Makes the database and the folder; sets JOBS_DATABASE_URL and the rest. */
void ages_begin(void);
void ages_end(void);

/* The folder of the archives. */
const char *ages_folder(void);

/* Runs SQL, put together as printf does. */
void ages_sql(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What a query gives; valid until the fourth call from here. */
const char *ages_value(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* SHA-256 over all rows of a table, in the order of their texts. */
const char *ages_hash(const char *table);

/* A connection as a superuser that holds a lock until it is finished:
 * "LOCK TABLE ... IN ... MODE". */
PGconn *ages_hold(const char *sql);

/* Waits until a natterctl waits for a lock in the database. */
void ages_wait_for_waiter(void);

/* Waits until the server has missed every natterctl that was killed. */
void ages_wait_until_alone(void);

#endif
