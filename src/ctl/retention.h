/*
 * One run of natterctl retention: what its kinds share.
 *
 * Thread: there is one.
 */
#ifndef CTL_RETENTION_H
#define CTL_RETENTION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl.h"

struct config;
struct retention_kind;

struct retention {
	PGconn *conn; /* as natter_jobs, with the lock */
	const struct config *config;
	int dir;         /* the archives'; -1 in a dry run */
	char now[40];    /* the database's time at the beginning */
	bool is_dry;     /* only count */
	bool is_amiss;   /* something was left that somebody should look at */
	char schema[16]; /* newest migration, for manifests */
};

/* What becomes of a table's old months. */
enum months_fate { MONTHS_ARCHIVE, MONTHS_DROP, MONTHS_SUM };

/* A row of retention.def. */
struct retention_kind {
	const char *name;
	size_t field; /* of struct config: days */
	const char *what;
	const char *count; /* SQL; of rows only */
	const char *batch;
	enum months_fate fate;
	enum ctl_exit (*run)(
	    struct retention *r, const struct retention_kind *k, long days);
};

/* Says how many rows. `note` follows in parentheses unless NULL. */
void retention_say(const struct retention_kind *k, int64_t n, const char *note);

/* Months whose rows are all older than `days`. */
enum ctl_exit retention_months(
    struct retention *r, const struct retention_kind *k, long days) MUST_CHECK;

/* Makes the months to come and moves strays into months of their own. */
enum ctl_exit retention_months_ahead(struct retention *r) MUST_CHECK;

/* Sums up the events of whole days that are not closed yet. */
enum ctl_exit retention_roll_up(struct retention *r) MUST_CHECK;

/* Makes message_count and leaf_id true for conversations with rows in a
 * retired month of messages, batch by batch. */
enum ctl_exit
retention_recount(struct retention *r, const char *part) MUST_CHECK;

/* The same for arrays of users' and conversations' ids, as Postgres writes
 * them. */
enum ctl_exit
retention_count(PGconn *conn, const char *users, const char *ids) MUST_CHECK;

/* Conversations whose last message is older than `days`. */
enum ctl_exit retention_talks(
    struct retention *r, const struct retention_kind *k, long days) MUST_CHECK;

struct archive_writer;
struct archive;

/* Ends an archive of the database's rows and publishes it. */
enum ctl_exit retention_publish(struct retention *r, struct archive_writer *w,
    struct archive *out) MUST_CHECK;

/* The line of an archive that holds a row: `table` and `alias` are literals. */
#define ARCHIVE_LINE(table, alias)                                  \
	"'{\"table\":\"" table "\",\"row\":' || row_to_json(" alias \
	")::text || '}'"

#endif
