/*
 * The schema straight from the files of migrations/, in their order, so that
 * what is tested is what is shipped: for tests below natterctl. Environment:
 * srcdir. Call it in a ReportHook(PRE_ALL).
 */
#ifndef TESTS_SUPPORT_SCHEMA_FILES_H
#define TESTS_SUPPORT_SCHEMA_FILES_H

/*
 * Makes the database `name` with the schema: on TEST_DATABASE_URL when that is
 * set, else on a server of the program's own. Gives a superuser's URL, to be
 * freed; NULL when no server starts.
 */
char *schema_from_files(const char *name);

#endif
