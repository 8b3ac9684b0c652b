/*
 * The migrations' files: NNN_name.up.sql and NNN_name.down.sql, built into the
 * program or read from a folder. Each version has both. Names and checksums
 * are settled here; what is applied is migrate.c's matter.
 *
 * A file whose text begins with the line `-- natter: no-transaction` does not
 * run in a transaction (CREATE INDEX CONCURRENTLY): its statements are sent one
 * by one, separated by lines `-- natter: split`, and it must bear being run
 * again after it stopped half-way.
 *
 * Ownership: migrations_free frees everything. Thread: there is one.
 */
#ifndef CTL_MIGRATION_FILES_H
#define CTL_MIGRATION_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

#define MIGRATIONS_WHY 512
#define SHA256_TEXT    65

/* A file as embed.awk writes it. */
struct embedded_file {
	const char *name;
	const char *text; /* NUL-terminated */
	size_t n;
};
extern const struct embedded_file embedded_files[];
extern const size_t embedded_count;

/* The built-in file of that name, or NULL. */
const struct embedded_file *embedded_find(const char *name);

struct migration {
	int version;
	char *name; /* without number and suffix */
	char *up;   /* the SQL */
	char *down;
	char sha256[SHA256_TEXT]; /* of `up`, hex */
};

struct migrations {
	struct migration *list; /* by version, rising */
	size_t n;
};

/*
 * The built-in ones for a NULL `folder`. On refusal `why` names the file and
 * says what is wrong with it.
 */
enum err migrations_load(const char *folder, struct migrations **out,
    char why[static MIGRATIONS_WHY]) MUST_CHECK;
void migrations_free(struct migrations *m);

/* The migration with that version, or NULL. */
const struct migration *
migrations_find(const struct migrations *m, int version);

/* Does the SQL ask to run outside of a transaction? */
bool migration_is_bare(const char *sql);

/*
 * The next statement of such a file: *rest moves behind it, *out_n is its
 * length; NULL at the end.
 */
const char *migration_next(const char **rest, size_t *out_n);

#endif
