/*
 * What the archive commands share.
 *
 * Thread: there is one.
 */
#ifndef CTL_ARCHIVE_COMMAND_H
#define CTL_ARCHIVE_COMMAND_H

#include "ctl/ctl.h"

struct archive;
struct retention;

typedef enum ctl_exit (*archive_each_fn)(
    int dir, const struct archive *a, void *arg);

/* Calls `fn` for all archives, or the one named; goes on after a failure. */
enum ctl_exit archive_each(
    int dir, const char *only, archive_each_fn fn, void *arg) MUST_CHECK;

/*
 * Rewrites the archives that hold rows of users who are gone, without those
 * rows; says which. `conn` is natter_jobs' with the lock.
 */
enum ctl_exit archive_erase_gone(int dir, PGconn *conn) MUST_CHECK;

/* A connection with the lock, the folder, the settings. */
struct archive_work {
	struct config *config;
	PGconn *conn;
	int dir;
};

/* Opens them; CTL_FAILED when somebody else has the lock. */
enum ctl_exit
archive_work_open(struct archive_work *w, const char *file) MUST_CHECK;
void archive_work_close(struct archive_work *w);

#endif
