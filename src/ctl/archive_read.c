/*
 * Reading an archive, all of it, and comparing it with its manifest: sizes,
 * SHA-256 of the file and of its content, rows of each table.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "ctl/archive.h"

#define CHUNK          65536
#define LINE_MAX_BYTES ((size_t)1 << 30)

struct reading {
	const struct archive *archive;
	archive_line_fn fn;
	void *arg;
	z_stream z;
	crypto_hash_sha256_state file_hash, content_hash;
	int64_t file_bytes, content_bytes;
	int64_t rows[ARCHIVE_TABLES];
	struct buf line; /* the beginning of a line that goes on */
	bool has_ended;  /* the last byte of the gzip stream was seen */
	const char *why; /* what is wrong with it */
};

int
archive_table_of(const struct archive *a, const char *line, size_t n)
{
	char begin[64];

	for (size_t i = 0; i < a->n_tables; i++) {
		int len = snprintf(begin, sizeof(begin),
		    "{\"table\":\"%s\",\"row\":{", a->tables[i].name);

		if (len > 0 && n > (size_t)len &&
		    memcmp(line, begin, (size_t)len) == 0)
			return (int)i;
	}
	return -1;
}

static enum ctl_exit
take_line(struct reading *r)
{
	const char *text = buf_text(&r->line);
	int table = archive_table_of(r->archive, text, r->line.n);
	enum ctl_exit code = CTL_OK;

	if (r->line.failed || table < 0) {
		r->why = "a line is none";
		return CTL_OK;
	}
	r->rows[table]++;
	if (r->fn != NULL)
		code = r->fn(r->arg, text, r->line.n);
	buf_clear(&r->line);
	return code;
}

/* Content as it comes out. */
static enum ctl_exit
take_content(struct reading *r, const char *p, size_t n)
{
	enum ctl_exit code = CTL_OK;

	crypto_hash_sha256_update(
	    &r->content_hash, (const unsigned char *)p, n);
	r->content_bytes += (int64_t)n;
	while (n > 0 && code == CTL_OK && r->why == NULL) {
		const char *end = memchr(p, '\n', n);
		size_t len = end != NULL ? (size_t)(end - p) : n;

		buf_add(&r->line, p, len);
		if (end == NULL)
			break;
		code = take_line(r);
		p += len + 1;
		n -= len + 1;
	}
	return code;
}

/* Bytes of the file. */
static enum ctl_exit
take_bytes(struct reading *r, unsigned char *p, size_t n)
{
	char out[CHUNK];
	enum ctl_exit code = CTL_OK;

	crypto_hash_sha256_update(&r->file_hash, p, n);
	r->file_bytes += (int64_t)n;
	r->z.next_in = p;
	r->z.avail_in = (uInt)n;
	do {
		int did;

		if (r->has_ended) {
			r->why = "something follows its end";
			break;
		}
		r->z.next_out = (unsigned char *)out;
		r->z.avail_out = sizeof(out);
		did = inflate(&r->z, Z_NO_FLUSH);
		if (did != Z_OK && did != Z_STREAM_END && did != Z_BUF_ERROR) {
			r->why = "it cannot be decompressed";
			break;
		}
		r->has_ended = did == Z_STREAM_END;
		code = take_content(r, out, sizeof(out) - r->z.avail_out);
	} while (code == CTL_OK && r->why == NULL &&
		 (r->z.avail_in > 0 || r->z.avail_out == 0) &&
		 !(r->has_ended && r->z.avail_in == 0));
	return code;
}

static enum ctl_exit
take_file(struct reading *r, int fd)
{
	unsigned char *in = malloc(CHUNK);
	enum ctl_exit code = CTL_OK;
	ssize_t n;

	if (in == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	do {
		n = read(fd, in, CHUNK);
		if (n < 0)
			r->why = strerror(errno);
		if (n > 0)
			code = take_bytes(r, in, (size_t)n);
	} while (n > 0 && code == CTL_OK && r->why == NULL);
	free(in);
	return code;
}

static bool
is_hash(crypto_hash_sha256_state *state, const char *want)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[ARCHIVE_HEX];

	crypto_hash_sha256_final(state, hash);
	(void)sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	return strcmp(hex, want) == 0;
}

/* What differs from the manifest, NULL for nothing. */
static const char *
compare(struct reading *r)
{
	const struct archive *a = r->archive;

	if (r->why != NULL)
		return r->why;
	if (r->file_bytes != a->file_bytes)
		return "its size is another than in the manifest";
	if (!r->has_ended || r->line.n > 0)
		return "its end is wanting";
	if (!is_hash(&r->file_hash, a->file_sha256))
		return "its SHA-256 is another than in the manifest";
	if (r->content_bytes != a->content_bytes ||
	    !is_hash(&r->content_hash, a->content_sha256))
		return "its content's SHA-256 is another than in the manifest";
	for (size_t i = 0; i < a->n_tables; i++)
		if (r->rows[i] != a->tables[i].rows)
			return "its rows are not as many as in the manifest";
	return NULL;
}

enum ctl_exit
archive_read(int dir, const struct archive *a, archive_line_fn fn, void *arg)
{
	struct reading r = {.archive = a, .fn = fn, .arg = arg};
	int fd = openat(
	    dir, a->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum ctl_exit code;

	if (fd < 0)
		return ctl_refuse(CTL_FAILED, "archive %s: cannot open %s: %s",
		    a->name, a->file, strerror(errno));
	if (inflateInit2(&r.z, 15 + 16) != Z_OK) {
		close(fd);
		return ctl_refuse(CTL_FAILED, "out of memory");
	}
	r.line.cap = LINE_MAX_BYTES;
	crypto_hash_sha256_init(&r.file_hash);
	crypto_hash_sha256_init(&r.content_hash);
	code = take_file(&r, fd);
	(void)inflateEnd(&r.z);
	close(fd);
	if (code == CTL_OK) {
		const char *why = compare(&r);

		if (why != NULL)
			code = ctl_refuse(CTL_FAILED,
			    "archive %s is damaged: %s", a->name, why);
	}
	buf_free(&r.line);
	return code;
}
