/*
 * Archives: what retention takes out of the database, as files that people can
 * read (zcat messages-2025-01.jsonl.gz | jq .row). A folder of mode 0700 holds,
 * for each archive NAME, its manifest NAME.json and the file that this names:
 * gzip, one line a row, {"table":"messages","row":{every column}}.
 *
 * An archive is there once its manifest is: the file is written under another
 * name, synced, read again and compared with what was written, and renamed;
 * then the manifest likewise. A file without a manifest is left of a crash and
 * counts for nothing.
 *
 * Thread: there is one.
 */
#ifndef CTL_ARCHIVE_H
#define CTL_ARCHIVE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "ctl/ctl.h"

#define ARCHIVE_NAME   64
#define ARCHIVE_FILE   80
#define ARCHIVE_TABLES 4
#define ARCHIVE_HEX    65 /* SHA-256 in hex with its NUL */

/* The rows of one table. */
struct archive_table {
	char name[32]; /* without its schema, which is chat */
	int64_t rows;
};

/* What a manifest says. */
struct archive {
	char name[ARCHIVE_NAME]; /* "messages-2025-01" */
	char file[ARCHIVE_FILE];
	char kind[32];    /* "messages", "conversations" */
	char created[32]; /* RFC 3339 */
	int64_t schema_version;
	int64_t rows;
	int64_t file_bytes;
	int64_t content_bytes; /* before it was compressed */
	char file_sha256[ARCHIVE_HEX];
	char content_sha256[ARCHIVE_HEX];
	struct archive_table tables[ARCHIVE_TABLES];
	size_t n_tables;
	char *columns;          /* JSON object: table to array of its columns */
	char (*users)[ID_TEXT]; /* whose rows are in it, in order */
	size_t n_users;
};

/* Frees what it holds. */
void archive_clear(struct archive *a);

/* Opens the folder, making it where it is not; the descriptor is closed by
 * the caller. */
enum ctl_exit archive_folder(const char *path, int *out_dir) MUST_CHECK;

/* Reads the manifest of `name`. */
enum ctl_exit
archive_load(int dir, const char *name, struct archive *out) MUST_CHECK;

/* Writes a manifest; the archive is there from now on. */
enum ctl_exit archive_publish(int dir, const struct archive *a) MUST_CHECK;

/* Names of all manifests in order; the caller frees each and the array. */
enum ctl_exit
archive_names(int dir, char ***out_names, size_t *out_n) MUST_CHECK;
void archive_names_free(char **names, size_t n);

/* Removes files that a run left behind and no manifest names; under the lock
 * only. CTL_FAILED, nothing removed, where a manifest cannot be read. */
enum ctl_exit archive_sweep(int dir) MUST_CHECK;

/* One line of an archive, without its newline and NUL-terminated. */
typedef enum ctl_exit (*archive_line_fn)(void *arg, const char *line, size_t n);

/*
 * Reads an archive from end to end and compares it with its manifest; `fn`
 * (may be NULL) gets each line before that is known. CTL_FAILED, with a
 * sentence, when they differ.
 */
enum ctl_exit archive_read(
    int dir, const struct archive *a, archive_line_fn fn, void *arg) MUST_CHECK;

/* The table that a line is about, or -1. */
int archive_table_of(const struct archive *a, const char *line, size_t n);

/* Writing. */
struct archive_writer;

/*
 * Begins an archive of this kind and name; dir -1 writes nothing and only
 * counts and hashes, to compare.
 */
enum ctl_exit archive_begin(int dir, const char *kind, const char *name,
    struct archive_writer **out_writer) MUST_CHECK;

/* The table of the lines that follow. */
void archive_add_table(struct archive_writer *w, const char *table);

/* A line and whose it is. */
enum ctl_exit archive_add(struct archive_writer *w, const char *user_id,
    const char *line, size_t n) MUST_CHECK;

/*
 * Adds what a query gives: each row is a user's id and a line. The rows come
 * one by one, however many there are.
 */
enum ctl_exit archive_add_query(struct archive_writer *w, PGconn *conn,
    const char *sql, int n, const char *const *values) MUST_CHECK;

/*
 * Ends the writing: syncs, reads all of it again, compares, and gives the file
 * its name `file` (NULL: NAME.jsonl.gz). What it is goes to *out, whose
 * manifest is not written yet.
 */
enum ctl_exit archive_end(
    struct archive_writer *w, const char *file, struct archive *out) MUST_CHECK;

/* Frees the writer; a file that was not ended is removed. NULL is fine. */
void archive_writer_free(struct archive_writer *w);

#endif
