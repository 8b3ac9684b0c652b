/*
 * The records of a file to import: a JSON object of tables, each an object of
 * records by key (as TinyDB writes them) or an array of records. The file is
 * mapped, one record at a time is parsed.
 *
 * Thread: there is one.
 */
#ifndef CTL_IMPORT_FILE_H
#define CTL_IMPORT_FILE_H

#include <stddef.h>

#include "base/json.h"
#include "ctl/ctl.h"

/* Where a record stands, and what it is. All of it is borrowed. */
struct import_item {
	const char *path;  /* the file */
	const char *table; /* "users", ... */
	const char *key;   /* its key in the table, or its number from 0 */
	long line;         /* the line at which it begins, from 1 */
	size_t offset;     /* bytes of the file that are behind */
	size_t size;       /* bytes of the file */
	struct json_object *record;
};

/* Takes one record; anything but CTL_OK ends the reading with it. */
typedef enum ctl_exit (*import_item_fn)(
    void *context, const struct import_item *item);

/*
 * Hands every record of the file to `fn`. What is no JSON is refused with its
 * line: nobody can tell where the next record would begin.
 */
enum ctl_exit
import_file_read(const char *path, import_item_fn fn, void *context) MUST_CHECK;

#endif
