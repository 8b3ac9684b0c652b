/*
 * Records of other systems as lines of COPY into staging tables: which members
 * count, under which names, and what their values must be (import.def). Knows
 * no file and no connection.
 *
 * Thread: there is one.
 */
#ifndef CTL_IMPORT_RECORD_H
#define CTL_IMPORT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/import_file.h"

struct arena;
struct buf;

enum import_table {
#define TABLE(enumerator, ...) IMPORT_##enumerator,
#define MEMBER(table, column, kind, need, ...)
#include "ctl/import.def"
#undef TABLE
#undef MEMBER
	IMPORT__TABLES
};

/* The table's own name. */
const char *import_table_name(enum import_table t);

/* The table that another system calls so; IMPORT__TABLES: none. */
enum import_table import_table_find(const char *name);

/* Appends the statements that make the staging tables import_<table>. */
void import_staging_sql(struct buf *out);

/* Appends COPY import_<table> (...) FROM STDIN. */
void import_copy_sql(enum import_table t, struct buf *out);

/*
 * Appends one line for COPY. `number` counts the table's records; `inside`,
 * unless NULL, is the ref of the conversation that a message lies in, or of any
 * other record the name of the user whose it is unless it says so itself.
 * False, with *out_flaw set (borrowed from `arena`), when the record cannot be
 * used; nothing was appended then.
 */
bool import_record_write(enum import_table t, const struct import_item *item,
    int64_t number, const char *inside, struct arena *arena, struct buf *out,
    const char **out_flaw) MUST_CHECK;

/*
 * What other records call this one: its own id ("id", "_id", "uuid" or, in a
 * conversation, "conversation_id"), else its key in the table. Borrowed.
 */
const char *
import_record_ref(enum import_table t, const struct import_item *item);

/*
 * A time as other systems write it, in microseconds since 1970: ISO 8601 with
 * or without a zone (then UTC), or a number of seconds or milliseconds. False
 * when it is none, or not in the years 1970 to 2100.
 */
bool import_time(struct json_object *value, int64_t *out_us) MUST_CHECK;

/*
 * A password hash as Natter verifies it, from the forms that Python's and
 * PHP's libraries write (PBKDF2-HMAC-SHA256 of 100,000 iterations unless it
 * says otherwise, its salt beside it or in `salt`). NULL: not one of them.
 */
const char *import_hash(struct arena *arena, const char *hash, const char *salt,
    int64_t iterations);

#endif
