/*
 * The folder of archives and their manifests. Knows nothing of what is in the
 * files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "ctl/archive.h"

#define MANIFEST_MAX ((off_t)1 << 30)

void
archive_clear(struct archive *a)
{
	free(a->columns);
	free(a->users);
	*a = (struct archive){0};
}

enum ctl_exit
archive_folder(const char *path, int *out_dir)
{
	struct stat st;
	int dir;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return ctl_refuse(CTL_CONFIG,
		    "cannot make the folder %s (CHAT_ARCHIVE_DIR): %s", path,
		    strerror(errno));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return ctl_refuse(CTL_CONFIG,
		    "cannot open the folder %s (CHAT_ARCHIVE_DIR): %s", path,
		    strerror(errno));
	if (fstat(dir, &st) != 0 || (st.st_mode & 077) != 0) {
		close(dir);
		return ctl_refuse(CTL_CONFIG,
		    "others may look into %s (CHAT_ARCHIVE_DIR), which holds "
		    "what users said: chmod 0700 it",
		    path);
	}
	*out_dir = dir;
	return CTL_OK;
}

/* Copies a text that must fit and not be empty. */
static bool
take(char *out, size_t size, const char *s)
{
	size_t n = s != NULL ? strlen(s) : 0;

	if (n == 0 || n >= size)
		return false;
	memcpy(out, s, n + 1);
	return true;
}

static bool
read_tables(struct json_object *o, struct archive *out)
{
	struct json_object *tables = NULL;

	if (!json_object_object_get_ex(o, "tables", &tables) ||
	    !json_object_is_type(tables, json_type_object))
		return false;
	json_object_object_foreach(tables, name, rows)
	{
		struct archive_table *t = &out->tables[out->n_tables];

		if (out->n_tables == ARCHIVE_TABLES ||
		    !take(t->name, sizeof(t->name), name))
			return false;
		t->rows = json_object_get_int64(rows);
		out->n_tables++;
	}
	return true;
}

static bool
read_users(struct json_object *o, struct archive *out)
{
	struct json_object *users = NULL;
	size_t n;

	if (!json_object_object_get_ex(o, "users", &users) ||
	    !json_object_is_type(users, json_type_array))
		return false;
	n = json_object_array_length(users);
	out->users = calloc(n + 1, sizeof(*out->users));
	for (size_t i = 0; out->users != NULL && i < n; i++) {
		const char *id =
		    json_object_get_string(json_object_array_get_idx(users, i));

		if (id == NULL || !id_is_uuid(id))
			return false;
		memcpy(out->users[i], id, ID_TEXT);
	}
	out->n_users = n;
	return out->users != NULL;
}

/* A manifest must not lead out of its folder. */
static bool
is_file_name(const char *s)
{
	return s[0] != '.' && strchr(s, '/') == NULL;
}

static bool
read_manifest(struct json_object *o, struct archive *out)
{
	struct json_object *columns = NULL;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, "columns", &columns))
		return false;
	out->columns = strdup(json_object_to_json_string(columns));
	out->schema_version = json_member_number(o, "schema_version");
	out->rows = json_member_number(o, "rows");
	out->file_bytes = json_member_number(o, "file_bytes");
	out->content_bytes = json_member_number(o, "content_bytes");
	return out->columns != NULL && out->rows >= 0 &&
	       take(
		   out->file, sizeof(out->file), json_member_text(o, "file")) &&
	       is_file_name(out->file) &&
	       take(
		   out->kind, sizeof(out->kind), json_member_text(o, "kind")) &&
	       take(out->created, sizeof(out->created),
		   json_member_text(o, "created")) &&
	       take(out->file_sha256, sizeof(out->file_sha256),
		   json_member_text(o, "file_sha256")) &&
	       take(out->content_sha256, sizeof(out->content_sha256),
		   json_member_text(o, "content_sha256")) &&
	       read_tables(o, out) && read_users(o, out);
}

/* The text of a file, to be freed; NULL with errno set. Whatever lies there
 * under such a name, a pipe say, is not waited for. */
static char *
read_text(int dir, const char *file)
{
	int fd =
	    openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	size_t n = 0;
	ssize_t got = 1;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		errno = EINVAL;
		if (S_ISREG(st.st_mode) && st.st_size < MANIFEST_MAX)
			text = malloc((size_t)st.st_size + 1);
	}
	while (text != NULL && n < (size_t)st.st_size && got > 0) {
		got = read(fd, text + n, (size_t)st.st_size - n);
		n += got > 0 ? (size_t)got : 0;
	}
	if (fd >= 0)
		close(fd);
	if (text != NULL)
		text[n] = '\0';
	return text;
}

enum ctl_exit
archive_load(int dir, const char *name, struct archive *out)
{
	char file[ARCHIVE_FILE];
	struct json_object *o;
	char *text;

	*out = (struct archive){0};
	if (!is_file_name(name) || !take(out->name, sizeof(out->name), name))
		return ctl_refuse(
		    CTL_USAGE, "\"%s\" is no archive's name", name);
	snprintf(file, sizeof(file), "%s.json", name);
	text = read_text(dir, file);
	if (text == NULL)
		return ctl_refuse(CTL_FAILED,
		    "%s in CHAT_ARCHIVE_DIR is unusable: %s (natterctl archive "
		    "list shows what is there)",
		    file, strerror(errno));
	o = json_tokener_parse(text);
	free(text);
	if (!read_manifest(o, out)) {
		json_object_put(o);
		archive_clear(out);
		return ctl_refuse(CTL_FAILED,
		    "%s in CHAT_ARCHIVE_DIR is unusable: it is no manifest of "
		    "an archive",
		    file);
	}
	json_object_put(o);
	return CTL_OK;
}

static void
put_text(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, json_object_new_string(s));
}

static void
put_number(struct json_object *o, const char *key, int64_t n)
{
	json_object_object_add(o, key, json_object_new_int64(n));
}

static struct json_object *
write_manifest(const struct archive *a)
{
	struct json_object *o = json_object_new_object();
	struct json_object *tables = json_object_new_object();
	struct json_object *users = json_object_new_array();

	put_text(o, "name", a->name);
	put_text(o, "kind", a->kind);
	put_text(o, "created", a->created);
	put_number(o, "schema_version", a->schema_version);
	put_text(o, "file", a->file);
	put_number(o, "rows", a->rows);
	for (size_t i = 0; i < a->n_tables; i++)
		put_number(tables, a->tables[i].name, a->tables[i].rows);
	json_object_object_add(o, "tables", tables);
	json_object_object_add(o, "columns",
	    json_tokener_parse(a->columns != NULL ? a->columns : "{}"));
	put_number(o, "file_bytes", a->file_bytes);
	put_text(o, "file_sha256", a->file_sha256);
	put_number(o, "content_bytes", a->content_bytes);
	put_text(o, "content_sha256", a->content_sha256);
	for (size_t i = 0; i < a->n_users; i++)
		json_object_array_add(
		    users, json_object_new_string(a->users[i]));
	json_object_object_add(o, "users", users);
	return o;
}

static bool
write_all(int fd, const char *s, size_t n)
{
	while (n > 0) {
		ssize_t did = write(fd, s, n);

		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return false;
		s += did;
		n -= (size_t)did;
	}
	return true;
}

enum ctl_exit
archive_publish(int dir, const struct archive *a)
{
	char file[ARCHIVE_FILE], part[ARCHIVE_FILE + 8];
	struct json_object *o = write_manifest(a);
	const char *text =
	    json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	bool is_written = false;
	int fd;

	snprintf(file, sizeof(file), "%s.json", a->name);
	snprintf(part, sizeof(part), ".%s.part", file);
	(void)unlinkat(dir, part, 0);
	fd = openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0) {
		is_written = write_all(fd, text, strlen(text)) &&
			     write_all(fd, "\n", 1) && fsync(fd) == 0;
		is_written = close(fd) == 0 && is_written;
	}
	json_object_put(o);
	if (is_written && renameat(dir, part, dir, file) == 0 &&
	    fsync(dir) == 0)
		return CTL_OK;
	ctl_note(
	    "cannot write %s in CHAT_ARCHIVE_DIR: %s", file, strerror(errno));
	(void)unlinkat(dir, part, 0);
	return CTL_FAILED;
}

static int
is_manifest(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && n < ARCHIVE_NAME &&
	       strcmp(d->d_name + n - 5, ".json") == 0;
}

enum ctl_exit
archive_names(int dir, char ***out_names, size_t *out_n)
{
	struct dirent **found = NULL;
	int n = scandirat(dir, ".", &found, is_manifest, alphasort);
	char **names = n >= 0 ? calloc((size_t)n + 1, sizeof(*names)) : NULL;

	if (names == NULL)
		return ctl_refuse(CTL_FAILED, "cannot list the archives: %s",
		    strerror(errno));
	for (int i = 0; i < n; i++) {
		names[i] =
		    strndup(found[i]->d_name, strlen(found[i]->d_name) - 5);
		free(found[i]);
	}
	free(found);
	*out_names = names;
	*out_n = (size_t)n;
	return CTL_OK;
}

void
archive_names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}
