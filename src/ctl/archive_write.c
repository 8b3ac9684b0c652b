/*
 * Writing an archive's file: compressed, synced, read again, named.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "ctl/archive.h"

struct archive_writer {
	int dir; /* -1: only count and hash */
	int fd;
	gzFile gz;
	char part[ARCHIVE_FILE + 16]; /* the file's name until it is whole */
	struct archive a;
	size_t users_room;
	crypto_hash_sha256_state hash;
};

static enum ctl_exit
refuse(const struct archive_writer *w, const char *what)
{
	return ctl_refuse(CTL_FAILED,
	    "cannot %s archive %s in CHAT_ARCHIVE_DIR: %s", what, w->a.name,
	    strerror(errno));
}

static enum ctl_exit
open_part(struct archive_writer *w)
{
	int fd;

	snprintf(w->part, sizeof(w->part), ".%s.part", w->a.name);
	(void)unlinkat(w->dir, w->part, 0);
	w->fd = openat(
	    w->dir, w->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (w->fd < 0)
		return refuse(w, "begin");
	/* zlib closes what it is given; the other one is to sync. */
	fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
	w->gz = fd >= 0 ? gzdopen(fd, "wb6") : NULL;
	if (w->gz != NULL)
		return CTL_OK;
	if (fd >= 0)
		close(fd);
	return refuse(w, "begin");
}

enum ctl_exit
archive_begin(int dir, const char *kind, const char *name,
    struct archive_writer **out_writer)
{
	struct archive_writer *w = calloc(1, sizeof(*w));
	enum ctl_exit code = CTL_OK;

	if (w == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	w->dir = dir;
	w->fd = -1;
	snprintf(w->a.name, sizeof(w->a.name), "%s", name);
	snprintf(w->a.kind, sizeof(w->a.kind), "%s", kind);
	clock_format(clock_wall_ms(), w->a.created);
	crypto_hash_sha256_init(&w->hash);
	if (dir >= 0)
		code = open_part(w);
	if (code != CTL_OK) {
		archive_writer_free(w);
		return code;
	}
	*out_writer = w;
	return CTL_OK;
}

void
archive_add_table(struct archive_writer *w, const char *table)
{
	struct archive_table *t;

	for (size_t i = 0; i < w->a.n_tables; i++)
		if (strcmp(w->a.tables[i].name, table) == 0)
			return;
	if (w->a.n_tables == ARCHIVE_TABLES)
		abort();
	t = &w->a.tables[w->a.n_tables++];
	snprintf(t->name, sizeof(t->name), "%s", table);
}

/* Rows come user by user, so that most are the same as the last. */
static bool
note_user(struct archive_writer *w, const char *user_id)
{
	struct archive *a = &w->a;

	if (a->n_users > 0 && strcmp(a->users[a->n_users - 1], user_id) == 0)
		return true;
	if (!id_is_uuid(user_id))
		return false;
	if (a->n_users == w->users_room) {
		size_t room = w->users_room > 0 ? w->users_room * 2 : 64;
		void *p = reallocarray(a->users, room, sizeof(*a->users));

		if (p == NULL)
			return false;
		a->users = p;
		w->users_room = room;
	}
	memcpy(a->users[a->n_users++], user_id, ID_TEXT);
	return true;
}

enum ctl_exit
archive_add(
    struct archive_writer *w, const char *user_id, const char *line, size_t n)
{
	int table = archive_table_of(&w->a, line, n);

	if (table < 0 || !note_user(w, user_id))
		return ctl_refuse(
		    CTL_FAILED, "archive %s: a row is none", w->a.name);
	crypto_hash_sha256_update(&w->hash, (const unsigned char *)line, n);
	crypto_hash_sha256_update(&w->hash, (const unsigned char *)"\n", 1);
	w->a.tables[table].rows++;
	w->a.rows++;
	w->a.content_bytes += (int64_t)n + 1;
	if (w->dir < 0)
		return CTL_OK;
	if (gzwrite(w->gz, line, (unsigned)n) != (int)n ||
	    gzwrite(w->gz, "\n", 1) != 1)
		return refuse(w, "write");
	return CTL_OK;
}

enum ctl_exit
archive_add_query(struct archive_writer *w, PGconn *conn, const char *sql,
    int n, const char *const *values)
{
	enum ctl_exit code = CTL_OK;
	PGresult *r;

	if (PQsendQueryParams(conn, sql, n, NULL, values, NULL, NULL, 0) != 1 ||
	    PQsetSingleRowMode(conn) != 1)
		return ctl_refuse(CTL_FAILED, "%s", ctl_pg_message(conn, NULL));
	while ((r = PQgetResult(conn)) != NULL) {
		if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
			if (code == CTL_OK)
				code = archive_add(w, PQgetvalue(r, 0, 0),
				    PQgetvalue(r, 0, 1),
				    (size_t)PQgetlength(r, 0, 1));
		} else if (!ctl_is_ok(r) && code == CTL_OK)
			code = ctl_refuse(
			    CTL_FAILED, "%s", ctl_pg_message(conn, r));
		PQclear(r);
	}
	return code;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
sort_users(struct archive *a)
{
	size_t kept = 0;

	if (a->n_users == 0)
		return;
	qsort(a->users, a->n_users, sizeof(*a->users), by_text);
	for (size_t i = 1; i < a->n_users; i++)
		if (strcmp(a->users[kept], a->users[i]) != 0)
			memmove(a->users[++kept], a->users[i], ID_TEXT);
	a->n_users = kept + 1;
}

static void
final_hex(crypto_hash_sha256_state *state, char out[static ARCHIVE_HEX])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256_final(state, hash);
	(void)sodium_bin2hex(out, ARCHIVE_HEX, hash, sizeof(hash));
}

/* SHA-256 and size of what lies on the disk. */
static bool
hash_file(struct archive_writer *w)
{
	crypto_hash_sha256_state state;
	unsigned char in[16384];
	off_t at = 0;
	ssize_t n;

	crypto_hash_sha256_init(&state);
	while ((n = pread(w->fd, in, sizeof(in), at)) > 0) {
		crypto_hash_sha256_update(&state, in, (size_t)n);
		at += n;
	}
	final_hex(&state, w->a.file_sha256);
	w->a.file_bytes = at;
	return n == 0;
}

/* A name for the file that no archive has. */
static void
name_file(struct archive_writer *w, const char *file)
{
	snprintf(w->a.file, sizeof(w->a.file), "%s", file != NULL ? file : "");
	if (file == NULL)
		snprintf(w->a.file, sizeof(w->a.file), "%.*s.jsonl.gz",
		    ARCHIVE_NAME - 1, w->a.name);
}

enum ctl_exit
archive_end(struct archive_writer *w, const char *file, struct archive *out)
{
	char final[ARCHIVE_FILE];
	enum ctl_exit code;
	gzFile gz = w->gz;

	final_hex(&w->hash, w->a.content_sha256);
	sort_users(&w->a);
	if (w->dir >= 0) {
		w->gz = NULL;
		if (gzclose(gz) != Z_OK || fsync(w->fd) != 0)
			return refuse(w, "write");
		if (!hash_file(w))
			return refuse(w, "read");
		/* Compared under its old name: the new one is for what is
		 * good. */
		name_file(w, file);
		memcpy(final, w->a.file, sizeof(final));
		snprintf(w->a.file, sizeof(w->a.file), "%.*s", ARCHIVE_FILE - 1,
		    w->part);
		code = archive_read(w->dir, &w->a, NULL, NULL);
		memcpy(w->a.file, final, sizeof(final));
		if (code != CTL_OK)
			return code;
		if (renameat(w->dir, w->part, w->dir, final) != 0 ||
		    fsync(w->dir) != 0)
			return refuse(w, "rename");
		w->part[0] = '\0';
	}
	*out = w->a;
	w->a = (struct archive){0};
	return CTL_OK;
}

void
archive_writer_free(struct archive_writer *w)
{
	if (w == NULL)
		return;
	if (w->gz != NULL)
		(void)gzclose(w->gz);
	if (w->fd >= 0)
		close(w->fd);
	if (w->dir >= 0 && w->part[0] != '\0')
		(void)unlinkat(w->dir, w->part, 0);
	archive_clear(&w->a);
	free(w);
}
