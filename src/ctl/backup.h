/*
 * What backup and restore share: sums over the rows of every table, the
 * manifest beside a backup, and the checksum of its file.
 *
 * A backup is FILE and FILE.manifest. The manifest is written last: a backup
 * without one is not finished.
 *
 * Ownership: ..._clear releases what a struct holds. Refusals are printed.
 * Thread: there is one.
 */
#ifndef CTL_BACKUP_H
#define CTL_BACKUP_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl.h"
#include "ctl/migration_files.h"

/*
 * A table's rows: how many, and a sum of their hashes that does not depend on
 * their order.
 */
struct table_sum {
	char *name; /* chat.messages_2026_11 */
	char *rows;
	char *sum;
};
struct table_sums {
	struct table_sum *list; /* by name */
	size_t n;
};

/* Sums up all tables; the connection must see all rows. */
enum ctl_exit table_sums_read(PGconn *conn, struct table_sums *out) MUST_CHECK;
void table_sums_clear(struct table_sums *s);

/* Are they the same? Prints each difference. `skip` (or NULL) is left out. */
enum ctl_exit table_sums_compare(const struct table_sums *want,
    const struct table_sums *have, const char *skip) MUST_CHECK;

/* The table that --without-keys leaves out. */
#define BACKUP_KEYS "auth.user_keys"

enum backup_form { BACKUP_COMPRESSED, BACKUP_PLAIN };

struct manifest {
	enum backup_form form;
	bool has_keys;
	int schema_version; /* the newest migration */
	int server_version; /* as PQserverVersion says */
	int64_t bytes;
	char sha256[SHA256_TEXT];
	char *database;
	char *made_at; /* RFC 3339, by the database's clock */
	struct table_sums tables;
};

/* Writes the manifest of the backup `file`, atomically, mode 0600. */
enum ctl_exit
manifest_write(const struct manifest *m, const char *file) MUST_CHECK;
enum ctl_exit manifest_read(const char *file, struct manifest *out) MUST_CHECK;
void manifest_clear(struct manifest *m);

/* Reads the file through: its size and SHA-256. */
enum ctl_exit backup_checksum(
    int fd, int64_t *out_bytes, char out_sha256[static SHA256_TEXT]) MUST_CHECK;

/* Is the file what the manifest says? */
enum ctl_exit
backup_check(const struct manifest *m, const char *file, int fd) MUST_CHECK;

/* Has pg_restore (or, of a plain one, us) read the whole backup? */
enum ctl_exit
backup_read_through(PGconn *conn, enum backup_form form, int fd) MUST_CHECK;

/*
 * A file that appears under its name whole or not at all. `temporary` is its
 * name until then.
 */
struct new_file {
	char *path;
	char *temporary;
	int fd;
};
enum ctl_exit new_file_open(struct new_file *f, const char *path) MUST_CHECK;
/* Syncs it and gives it its name; refuses to replace a file. */
enum ctl_exit new_file_keep(struct new_file *f) MUST_CHECK;
/* Closes it; removes what was not kept. */
void new_file_close(struct new_file *f);

/*
 * Connects as somebody who sees all rows: by the first of `names` that is set,
 * else by libpq's own variables. NULL ends the names.
 */
enum ctl_exit backup_connect(const char *const *names, const char *database,
    PGconn **out_conn) MUST_CHECK;

#endif
