/*
 * Collecting migrations from names and texts. Knows no database.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/migration_files.h"

#define FILE_MAX     ((size_t)16 * 1024 * 1024)
#define BARE_MARK    "-- natter: no-transaction\n"
#define SPLIT_MARK   "-- natter: split\n"
#define VERSION_SIZE 3

static enum err PRINTF_LIKE(2, 3) refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, MIGRATIONS_WHY, fmt, ap);
	va_end(ap);
	return ERR_INVALID_FIELD;
}

const struct embedded_file *
embedded_find(const char *name)
{
	for (size_t i = 0; i < embedded_count; i++)
		if (strcmp(embedded_files[i].name, name) == 0)
			return &embedded_files[i];
	return NULL;
}

/* A file's name taken apart. */
struct parts {
	int version;
	const char *name;
	size_t n;
	bool is_up;
};

static bool
ends_with(const char *s, size_t n, const char *suffix)
{
	size_t m = strlen(suffix);

	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

/* NNN_name.up.sql or NNN_name.down.sql, version 1 or more. */
static bool
parse_name(const char *file, struct parts *out)
{
	size_t n = strlen(file);

	for (size_t i = 0; i < VERSION_SIZE; i++)
		if (!isdigit((unsigned char)file[i]))
			return false;
	out->is_up = ends_with(file, n, ".up.sql");
	if (!out->is_up && !ends_with(file, n, ".down.sql"))
		return false;
	n -= out->is_up ? strlen(".up.sql") : strlen(".down.sql");
	if (n < VERSION_SIZE + 2 || file[VERSION_SIZE] != '_')
		return false;
	out->version = (int)strtol(file, NULL, 10);
	out->name = file + VERSION_SIZE + 1;
	out->n = n - VERSION_SIZE - 1;
	for (size_t i = 0; i < out->n; i++)
		if (!islower((unsigned char)out->name[i]) &&
		    !isdigit((unsigned char)out->name[i]) &&
		    out->name[i] != '_')
			return false;
	return out->version > 0;
}

static void
checksum(const char *text, size_t n, char out[static SHA256_TEXT])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, (const unsigned char *)text, n);
	sodium_bin2hex(out, SHA256_TEXT, hash, sizeof(hash));
}

/* The migration of that version, made when it is not there; NULL: no memory. */
static struct migration *
place(struct migrations *m, const struct parts *p)
{
	struct migration *list;

	for (size_t i = 0; i < m->n; i++)
		if (m->list[i].version == p->version)
			return &m->list[i];
	list = reallocarray(m->list, m->n + 1, sizeof(*list));
	if (list == NULL)
		return NULL;
	m->list = list;
	list[m->n] = (struct migration){
	    .version = p->version, .name = strndup(p->name, p->n)};
	return list[m->n].name != NULL ? &list[m->n++] : NULL;
}

/* Adds one file. */
static enum err
add(struct migrations *m, const char *file, const char *text, size_t n,
    char *why)
{
	struct parts p;
	struct migration *at;
	char **slot;

	if (!parse_name(file, &p))
		return refuse(why,
		    "%.200s is not named NNN_name.up.sql or NNN_name.down.sql "
		    "(three digits, then a-z, 0-9 and _)",
		    file);
	at = place(m, &p);
	if (at == NULL)
		return refuse(why, "out of memory");
	slot = p.is_up ? &at->up : &at->down;
	if (*slot != NULL || strlen(at->name) != p.n ||
	    memcmp(at->name, p.name, p.n) != 0)
		return refuse(why,
		    "%.200s has the number of another migration (%03d_%.100s): "
		    "give it one of its own",
		    file, at->version, at->name);
	*slot = strndup(text, n);
	if (*slot == NULL)
		return refuse(why, "out of memory");
	if (p.is_up)
		checksum(text, n, at->sha256);
	return OK;
}

static int
by_version(const void *a, const void *b)
{
	const struct migration *x = a, *y = b;

	return (x->version > y->version) - (x->version < y->version);
}

/* Sorts, and refuses a migration that lacks one of its files. */
static enum err
settle(struct migrations *m, char *why)
{
	if (m->n > 0)
		qsort(m->list, m->n, sizeof(m->list[0]), by_version);
	for (size_t i = 0; i < m->n; i++) {
		const struct migration *at = &m->list[i];

		if (at->up == NULL || at->down == NULL)
			return refuse(why,
			    "%03d_%.100s.%s.sql is missing: every migration "
			    "has an up and a down file",
			    at->version, at->name,
			    at->up == NULL ? "up" : "down");
	}
	return OK;
}

static bool
is_migration(const char *file)
{
	return ends_with(file, strlen(file), ".sql") &&
	       strcmp(file, "bootstrap.sql") != 0;
}

static enum err
load_embedded(struct migrations *m, char *why)
{
	for (size_t i = 0; i < embedded_count; i++) {
		const struct embedded_file *f = &embedded_files[i];
		enum err e = OK;

		if (is_migration(f->name))
			e = add(m, f->name, f->text, f->n, why);
		if (e != OK)
			return e;
	}
	return OK;
}

static enum err
load_file(struct migrations *m, const char *folder, const char *file, char *why)
{
	char path[PATH_MAX];
	char *text = NULL;
	size_t n = 0;
	ssize_t got;
	enum err e;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", folder, file) >=
	    (int)sizeof(path))
		return refuse(why, "%.200s: the path is too long", file);
	f = fopen(path, "re");
	if (f == NULL)
		return refuse(
		    why, "%.300s cannot be opened: %s", path, strerror(errno));
	got = getdelim(&text, &n, '\0', f);
	if (ferror(f))
		e = refuse(
		    why, "%.300s cannot be read: %s", path, strerror(errno));
	else if (got > 0 && strlen(text) != (size_t)got)
		e = refuse(why, "%.300s holds a NUL byte", path);
	else if (got > (ssize_t)FILE_MAX)
		e = refuse(why, "%.300s is too large", path);
	else
		e = add(m, file, got > 0 ? text : "", got > 0 ? (size_t)got : 0,
		    why);
	free(text);
	fclose(f);
	return e;
}

static enum err
load_folder(struct migrations *m, const char *folder, char *why)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	enum err e = OK;

	if (dir == NULL)
		return refuse(why, "the folder %.300s cannot be opened: %s",
		    folder, strerror(errno));
	while (e == OK && (entry = readdir(dir)) != NULL)
		if (is_migration(entry->d_name) && entry->d_name[0] != '.')
			e = load_file(m, folder, entry->d_name, why);
	closedir(dir);
	if (e == OK && m->n == 0)
		e = refuse(why, "the folder %.300s holds no migration", folder);
	return e;
}

enum err
migrations_load(const char *folder, struct migrations **out,
    char why[static MIGRATIONS_WHY])
{
	struct migrations *m = calloc(1, sizeof(*m));
	enum err e;

	if (m == NULL)
		return refuse(why, "out of memory");
	e = folder != NULL ? load_folder(m, folder, why)
			   : load_embedded(m, why);
	if (e == OK)
		e = settle(m, why);
	if (e == OK)
		*out = m;
	else
		migrations_free(m);
	return e;
}

void
migrations_free(struct migrations *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n; i++) {
		free(m->list[i].name);
		free(m->list[i].up);
		free(m->list[i].down);
	}
	free(m->list);
	free(m);
}

const struct migration *
migrations_find(const struct migrations *m, int version)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->list[i].version == version)
			return &m->list[i];
	return NULL;
}

bool
migration_is_bare(const char *sql)
{
	return strncmp(sql, BARE_MARK, strlen(BARE_MARK)) == 0;
}

const char *
migration_next(const char **rest, size_t *out_n)
{
	const char *from = *rest, *mark;

	if (*from == '\0')
		return NULL;
	mark = strstr(from, "\n" SPLIT_MARK);
	if (mark == NULL) {
		*out_n = strlen(from);
		*rest = from + *out_n;
		return from;
	}
	*out_n = (size_t)(mark + 1 - from);
	*rest = mark + 1 + strlen(SPLIT_MARK);
	return from;
}
