/*
 * The manifest: a small JSON file that says what a backup holds. Owns its
 * format; knows nothing of how a backup is made.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "ctl/backup.h"

#define FORMAT       1
#define MANIFEST_MAX ((size_t)16 * 1024 * 1024)

static char *
manifest_path(const char *file)
{
	char *path = NULL;

	return asprintf(&path, "%s.manifest", file) < 0 ? NULL : path;
}

static struct json_object *
as_json(const struct manifest *m)
{
	struct json_object *o = json_object_new_object();
	struct json_object *tables = json_object_new_object();

	json_put_number(o, "format", FORMAT);
	json_put_text(o, "natter", PACKAGE_VERSION);
	json_put_text(o, "made_at", m->made_at);
	json_put_text(o, "database", m->database);
	json_put_number(o, "server_version", m->server_version);
	json_put_number(o, "schema_version", m->schema_version);
	json_put_text(
	    o, "form", m->form == BACKUP_PLAIN ? "plain" : "compressed");
	json_put_flag(o, "has_keys", m->has_keys);
	json_put_number(o, "bytes", m->bytes);
	json_put_text(o, "sha256", m->sha256);
	for (size_t i = 0; i < m->tables.n; i++) {
		struct json_object *t = json_object_new_object();

		json_put_number(
		    t, "rows", strtoll(m->tables.list[i].rows, NULL, 10));
		json_put_text(t, "sum", m->tables.list[i].sum);
		json_object_object_add(tables, m->tables.list[i].name, t);
	}
	json_object_object_add(o, "tables", tables);
	return o;
}

enum ctl_exit
manifest_write(const struct manifest *m, const char *file)
{
	AUTO_JSON struct json_object *o = as_json(m);
	const char *text = json_object_to_json_string_ext(
	    o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	char *path = manifest_path(file);
	struct new_file f = {.fd = -1};
	enum ctl_exit code;

	if (text == NULL || path == NULL) {
		free(path);
		return ctl_refuse(CTL_FAILED, "out of memory");
	}
	code = new_file_open(&f, path);
	if (code == CTL_OK && dprintf(f.fd, "%s\n", text) < 0)
		code = ctl_refuse(CTL_FAILED, "%s: %m", path);
	if (code == CTL_OK)
		code = new_file_keep(&f);
	new_file_close(&f);
	free(path);
	return code;
}

static enum ctl_exit
read_whole(const char *path, struct buf *out)
{
	char part[65536];
	size_t n;
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return ctl_refuse(CTL_FAILED,
		    "%s: %m (a backup without its manifest was not finished, "
		    "or is not one of natterctl's)",
		    path);
	while (
	    (n = fread(part, 1, sizeof(part), f)) > 0 && out->n < MANIFEST_MAX)
		buf_add(out, part, n);
	fclose(f);
	return CTL_OK;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct table_sum *)a)->name,
	    ((const struct table_sum *)b)->name);
}

static bool
read_tables(struct json_object *o, struct table_sums *out)
{
	struct json_object *tables = NULL;

	if (!json_object_object_get_ex(o, "tables", &tables) ||
	    !json_object_is_type(tables, json_type_object))
		return false;
	out->list = calloc(
	    (size_t)json_object_object_length(tables) + 1, sizeof(*out->list));
	if (out->list == NULL)
		return false;
	json_object_object_foreach(tables, name, t)
	{
		struct table_sum *s = &out->list[out->n];
		const char *sum = json_member_text(t, "sum");
		int64_t rows = json_member_number(t, "rows");

		if (sum == NULL || rows < 0)
			return false;
		out->n++;
		s->name = strdup(name);
		s->sum = strdup(sum);
		if (asprintf(&s->rows, "%lld", (long long)rows) < 0)
			s->rows = NULL;
		if (s->name == NULL || s->sum == NULL || s->rows == NULL)
			return false;
	}
	qsort(out->list, out->n, sizeof(*out->list), by_name);
	return true;
}

static bool
from_json(struct json_object *o, struct manifest *m)
{
	const char *form = json_member_text(o, "form"),
		   *sha = json_member_text(o, "sha256");
	const char *database = json_member_text(o, "database");
	const char *made_at = json_member_text(o, "made_at");
	struct json_object *has_keys = NULL;

	if (json_member_number(o, "format") != FORMAT || form == NULL ||
	    sha == NULL || database == NULL || made_at == NULL ||
	    strlen(sha) != SHA256_TEXT - 1 ||
	    !json_object_object_get_ex(o, "has_keys", &has_keys) ||
	    !json_object_is_type(has_keys, json_type_boolean))
		return false;
	m->form = strcmp(form, "plain") == 0 ? BACKUP_PLAIN : BACKUP_COMPRESSED;
	m->has_keys = json_object_get_boolean(has_keys);
	m->schema_version = (int)json_member_number(o, "schema_version");
	m->server_version = (int)json_member_number(o, "server_version");
	m->bytes = json_member_number(o, "bytes");
	memcpy(m->sha256, sha, SHA256_TEXT);
	m->database = strdup(database);
	m->made_at = strdup(made_at);
	return m->database != NULL && m->made_at != NULL &&
	       m->schema_version >= 0 && m->server_version > 0 &&
	       read_tables(o, &m->tables);
}

enum ctl_exit
manifest_read(const char *file, struct manifest *out)
{
	char *path = manifest_path(file);
	struct buf text = {0};
	AUTO_JSON struct json_object *o = NULL;
	struct manifest m = {0};
	enum ctl_exit code = path != NULL
				 ? read_whole(path, &text)
				 : ctl_refuse(CTL_FAILED, "out of memory");

	if (code == CTL_OK && (json_parse_object(text.p, text.n, &o) != OK ||
				  !from_json(o, &m))) {
		manifest_clear(&m);
		code = ctl_refuse(CTL_FAILED,
		    "%s is not a manifest that this natterctl can read", path);
	}
	if (code == CTL_OK)
		*out = m;
	buf_free(&text);
	free(path);
	return code;
}

void
manifest_clear(struct manifest *m)
{
	free(m->database);
	free(m->made_at);
	table_sums_clear(&m->tables);
	*m = (struct manifest){0};
}
