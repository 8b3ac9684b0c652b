/*
 * Walks the two outer levels of a file's JSON itself and leaves each record to
 * json-c, so that memory is that of one record. Must not know what tables or
 * members mean.
 */
#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/import_file.h"

#define DEPTH_MAX  32
#define RECORD_MAX ((size_t)64 * 1024 * 1024)

struct reader {
	const char *path;
	const char *begin, *p, *end;
	const char *counted; /* up to where lines are counted */
	long line;
	bool is_described;
	char *table;
	char *key;
	struct json_tokener *tokener;
	import_item_fn fn;
	void *context;
};

/* The line of the place that was reached. */
static long
line_of(struct reader *r)
{
	for (; r->counted < r->p; r->counted++)
		r->line += *r->counted == '\n';
	return r->line;
}

static enum ctl_exit
refuse(struct reader *r, const char *why)
{
	return ctl_refuse(CTL_FAILED, "%s:%ld: %s", r->path, line_of(r), why);
}

static void
skip_blanks(struct reader *r)
{
	while (r->p < r->end && strchr(" \t\r\n", *r->p) != NULL && *r->p != 0)
		r->p++;
}

/* Is this character next? Then it is taken. */
static bool
take(struct reader *r, char c)
{
	skip_blanks(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

/* The next value, parsed; the caller releases it. */
static enum ctl_exit
take_value(struct reader *r, struct json_object **out_value)
{
	size_t left = (size_t)(r->end - r->p);
	int n = (int)(left < RECORD_MAX ? left : RECORD_MAX);

	json_tokener_reset(r->tokener);
	*out_value = json_tokener_parse_ex(r->tokener, r->p, n);
	switch (json_tokener_get_error(r->tokener)) {
	case json_tokener_success:
		r->p += json_tokener_get_parse_end(r->tokener);
		return CTL_OK;
	case json_tokener_continue:
		json_object_put(*out_value);
		return refuse(r, left > RECORD_MAX
				     ? "a record larger than 64 MiB"
				     : "the file ends within a record");
	default:
		json_object_put(*out_value);
		return refuse(r, json_tokener_error_desc(
				     json_tokener_get_error(r->tokener)));
	}
}

/* A member's name with its colon; the caller frees it. */
static enum ctl_exit
take_name(struct reader *r, char **out_name)
{
	AUTO_JSON struct json_object *name = NULL;
	const char *text;
	enum ctl_exit code;

	skip_blanks(r);
	if (r->p == r->end || *r->p != '"')
		return refuse(r, "a name in quotes was expected");
	code = take_value(r, &name);
	if (code != CTL_OK)
		return code;
	if (!take(r, ':'))
		return refuse(r, "a colon was expected");
	text = json_object_get_string(name);
	free(*out_name);
	*out_name = text != NULL ? strdup(text) : NULL;
	return *out_name != NULL ? CTL_OK
				 : ctl_refuse(CTL_FAILED, "out of memory");
}

static enum ctl_exit
read_record(struct reader *r)
{
	AUTO_JSON struct json_object *record = NULL;
	struct import_item item = {.path = r->path,
	    .table = r->table,
	    .key = r->key,
	    .size = (size_t)(r->end - r->begin)};
	enum ctl_exit code;

	skip_blanks(r);
	item.line = line_of(r);
	code = take_value(r, &record);
	if (code != CTL_OK)
		return code;
	item.offset = (size_t)(r->p - r->begin);
	item.record = record;
	return r->fn(r->context, &item);
}

/* The records between `open` and `close`. */
static enum ctl_exit
read_table(struct reader *r)
{
	bool is_array = take(r, '[');
	char close = is_array ? ']' : '}';
	enum ctl_exit code = CTL_OK;
	size_t n = 0;

	if (!is_array && !take(r, '{'))
		return refuse(r, "a table must be an object or an array");
	if (take(r, close))
		return CTL_OK;
	do {
		if (is_array) {
			free(r->key);
			r->key = NULL;
			if (asprintf(&r->key, "%zu", n++) < 0) {
				r->key = NULL;
				return ctl_refuse(CTL_FAILED, "out of memory");
			}
		} else {
			code = take_name(r, &r->key);
		}
		if (code == CTL_OK)
			code = read_record(r);
	} while (code == CTL_OK && take(r, ','));
	if (code == CTL_OK && !take(r, close))
		code = refuse(r, "a comma or the table's end was expected");
	return code;
}

/*
 * A file that says first what it is ("format") may have single values beside
 * its tables.
 */
static enum ctl_exit
read_member(struct reader *r)
{
	AUTO_JSON struct json_object *value = NULL;

	assert(r->table != NULL);
	skip_blanks(r);
	r->is_described = r->is_described || strcmp(r->table, "format") == 0;
	if (!r->is_described || r->p == r->end || *r->p == '[' || *r->p == '{')
		return read_table(r);
	return take_value(r, &value);
}

static enum ctl_exit
read_tables(struct reader *r)
{
	enum ctl_exit code = CTL_OK;

	if (!take(r, '{'))
		return refuse(r, "not a JSON object of tables");
	if (!take(r, '}')) {
		do {
			code = take_name(r, &r->table);
			if (code == CTL_OK)
				code = read_member(r);
		} while (code == CTL_OK && take(r, ','));
		if (code == CTL_OK && !take(r, '}'))
			code = refuse(r, "a comma or the end was expected");
	}
	skip_blanks(r);
	if (code == CTL_OK && r->p < r->end)
		code = refuse(r, "something follows the JSON object");
	return code;
}

static enum ctl_exit
map_file(const char *path, struct reader *r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p = MAP_FAILED;

	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			(void)close(fd);
		return ctl_refuse(CTL_FAILED, "cannot open %s: %m", path);
	}
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		p = mmap(
		    NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	(void)close(fd);
	if (p == MAP_FAILED)
		return ctl_refuse(
		    CTL_FAILED, "%s is not a file with something in it", path);
	r->begin = r->p = r->counted = p;
	r->end = r->begin + st.st_size;
	r->line = 1;
	return CTL_OK;
}

enum ctl_exit
import_file_read(const char *path, import_item_fn fn, void *context)
{
	struct reader r = {.path = path, .fn = fn, .context = context};
	enum ctl_exit code = map_file(path, &r);

	if (code != CTL_OK)
		return code;
	r.tokener = json_tokener_new_ex(DEPTH_MAX);
	if (r.tokener == NULL)
		code = ctl_refuse(CTL_FAILED, "out of memory");
	else
		json_tokener_set_flags(r.tokener, JSON_TOKENER_VALIDATE_UTF8);
	if (code == CTL_OK)
		code = read_tables(&r);
	if (r.tokener != NULL)
		json_tokener_free(r.tokener);
	free(r.table);
	free(r.key);
	(void)munmap((void *)(uintptr_t)r.begin, (size_t)(r.end - r.begin));
	return code;
}
