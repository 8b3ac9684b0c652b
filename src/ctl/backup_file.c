/*
 * Files of backups: new ones that appear whole or not at all, and old ones
 * that are checked before they are used.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "ctl/backup.h"
#include "ctl/pg_program.h"

/* What ends a plain dump that was not cut off. */
static const char plain_end[] = "-- PostgreSQL database dump complete";

enum ctl_exit
new_file_open(struct new_file *f, const char *path)
{
	*f = (struct new_file){.fd = -1, .path = strdup(path)};
	if (f->path == NULL ||
	    asprintf(&f->temporary, "%s.partial-XXXXXX", path) < 0) {
		f->temporary = NULL;
		return ctl_refuse(CTL_FAILED, "out of memory");
	}
	if (access(path, F_OK) == 0) {
		free(f->temporary);
		f->temporary = NULL;
		return ctl_refuse(CTL_FAILED,
		    "%s is there already: a backup is never replaced", path);
	}
	f->fd = mkostemp(f->temporary, O_CLOEXEC); /* mode 0600 */
	if (f->fd < 0) {
		free(f->temporary);
		f->temporary = NULL;
		return ctl_refuse(CTL_FAILED, "%s cannot be written: %s", path,
		    strerror(errno));
	}
	return CTL_OK;
}

/* The name in the folder is on the disk too. */
static bool
sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy != NULL
		     ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
		     : -1;
	bool is_good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return is_good;
}

enum ctl_exit
new_file_keep(struct new_file *f)
{
	/* link, unlike rename, does not replace what came there meanwhile. */
	if (fsync(f->fd) != 0 || link(f->temporary, f->path) != 0 ||
	    unlink(f->temporary) != 0 || !sync_folder(f->path))
		return ctl_refuse(CTL_FAILED, "%s cannot be kept: %s", f->path,
		    strerror(errno));
	free(f->temporary);
	f->temporary = NULL;
	return CTL_OK;
}

void
new_file_close(struct new_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->temporary != NULL)
		(void)unlink(f->temporary);
	free(f->temporary);
	free(f->path);
	*f = (struct new_file){.fd = -1};
}

enum ctl_exit
backup_checksum(int fd, int64_t *out_bytes, char out_sha256[static SHA256_TEXT])
{
	static unsigned char part[262144];
	unsigned char sum[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	int64_t bytes = 0;
	ssize_t n;

	crypto_hash_sha256_init(&state);
	while ((n = pread(fd, part, sizeof(part), bytes)) > 0) {
		crypto_hash_sha256_update(&state, part, (unsigned long long)n);
		bytes += n;
	}
	if (n < 0)
		return ctl_refuse(
		    CTL_FAILED, "cannot read the backup: %s", strerror(errno));
	crypto_hash_sha256_final(&state, sum);
	sodium_bin2hex(out_sha256, SHA256_TEXT, sum, sizeof(sum));
	*out_bytes = bytes;
	return CTL_OK;
}

enum ctl_exit
backup_check(const struct manifest *m, const char *file, int fd)
{
	char sha256[SHA256_TEXT];
	int64_t bytes = 0;
	enum ctl_exit code = backup_checksum(fd, &bytes, sha256);

	if (code != CTL_OK)
		return code;
	if (bytes != m->bytes || strcmp(sha256, m->sha256) != 0)
		return ctl_refuse(CTL_FAILED,
		    "%s is not the file that its manifest speaks of: it has "
		    "%lld bytes with the SHA-256 %s, and should have %lld with "
		    "%s",
		    file, (long long)bytes, sha256, (long long)m->bytes,
		    m->sha256);
	return CTL_OK;
}

/* The last lines of a plain dump say that it is whole. */
static enum ctl_exit
read_plain(int fd)
{
	char tail[512] = "";
	struct stat st;
	off_t at;
	ssize_t n;

	if (fstat(fd, &st) != 0)
		return ctl_refuse(CTL_FAILED, "%s", strerror(errno));
	at = st.st_size > (off_t)sizeof(tail) - 1
		 ? st.st_size - (off_t)sizeof(tail) + 1
		 : 0;
	n = pread(fd, tail, sizeof(tail) - 1, at);
	if (n <= 0 ||
	    memmem(tail, (size_t)n, plain_end, sizeof(plain_end) - 1) == NULL)
		return ctl_refuse(CTL_FAILED, "the dump is cut off");
	return CTL_OK;
}

enum ctl_exit
backup_read_through(PGconn *conn, enum backup_form form, int fd)
{
	const char *const argv[] = {"pg_restore", "-f", "/dev/null", NULL};
	enum ctl_exit code;
	pid_t pid;

	if (form == BACKUP_PLAIN)
		return read_plain(fd);
	if (lseek(fd, 0, SEEK_SET) != 0)
		return ctl_refuse(CTL_FAILED, "%s", strerror(errno));
	code = pg_program_start(conn, argv, fd, -1, &pid);
	return code == CTL_OK ? pg_program_wait(pid, argv[0]) : code;
}
