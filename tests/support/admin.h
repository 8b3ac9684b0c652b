/*
 * What tests of natterctl stand on: a database of their own, made by natterctl
 * itself, folders of migrations to spoil, and questions to the catalogue.
 * Environment: NATTERCTL (default ./natterctl), srcdir, TEST_DATABASE_URL (a
 * superuser's; servers_provide_postgres sets it). Failures abort with a line.
 */
#ifndef TESTS_SUPPORT_ADMIN_H
#define TESTS_SUPPORT_ADMIN_H

#include <stdbool.h>

#include "command.h"

struct server;

/* natterctl, to begin the words of RUN with. */
const char *admin_natterctl(void);

/*
 * Makes the database `name` anew by `natterctl bootstrap` and points
 * OWNER_DATABASE_URL and SUPERUSER_DATABASE_URL at it.
 */
void admin_database(const char *name);

/*
 * In a ReportHook(PRE_ALL): a Postgres that knows the whole schema, so that
 * admin_schema has little to do. Keeps TEST_DATABASE_URL when it is set.
 */
void admin_provide_schema(void);

/* Starts a server with the database `name`, which has the schema, and uses it;
 * false when that fails. */
bool admin_start_schema(
    struct server *s, const char *const *options, const char *name);

/* The same as admin_database and `natterctl migrate up`, but quick where the
 * server knows the schema. */
void admin_schema(const char *name);

/* Makes `name` a copy of the database `from`, to which nobody is connected, and
 * uses it. */
void admin_clone(const char *from, const char *name);

/* Points OWNER_DATABASE_URL and SUPERUSER_DATABASE_URL at a database. */
void admin_use(const char *name);

/* Removes the database again. */
void admin_drop(const char *name);

/* That database's URL as `role`; valid until the next call. */
const char *admin_url(const char *role);

/* Runs SQL there as a superuser. */
void admin_sql(const char *sql);

/* The first value of a query, as a superuser; "" for none. To be freed. */
char *admin_value(const char *sql);

/* What `pg_dump -s` says, without what differs each time. To be freed. */
char *admin_dump(void);

/* The folder migrations/ of the source. */
const char *admin_migrations(void);

/* A copy of it in a folder of its own, for the test to spoil. */
const char *admin_copy(void);

/* Removes that copy. */
void admin_remove_copy(void);

/* Writes, or appends to, a file of the copy. */
void admin_write(const char *file, const char *text);
void admin_append(const char *file, const char *text);

/* Removes a file of the copy. */
void admin_remove(const char *file);

#endif
