/*
 * Rewrites the key ring's file. Owns nothing between calls; every buffer that
 * a key passed through is wiped. Knows nothing of tokens, nor of natterd.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/keyring_file.h"
#include "base/keyring_inside.h"

#define TEMP_NAME 4096
#define TIME_FORM "%Y-%m-%dT%H:%M:%SZ"
#define SINCE     " since "

/* A key's line and what a comment says of it. */
struct entry {
	struct keyring_entry told;
	char key[KEYRING_KEY_TEXT];
};

/* The file, taken apart. */
struct ring_file {
	const char *path;
	int fd; /* locked */
	struct stat st;
	size_t n;
	struct entry entries[KEYRING_MAX];
	char comments[KEYRING_FILE]; /* all but ours, each with its newline */
	size_t n_comments;           /* bytes */
	char text[KEYRING_FILE];
};

/* Opens and locks; ERR_BUSY when somebody else changes it. */
static enum err
open_locked(struct ring_file *f, char *why)
{
	struct stat now;
	enum err e = keyring_open(f->path, &f->fd, why);
	if (e)
		return e;
	if (flock(f->fd, LOCK_EX | LOCK_NB) == 0 && fstat(f->fd, &f->st) == 0 &&
	    stat(f->path, &now) == 0 && now.st_ino == f->st.st_ino &&
	    now.st_dev == f->st.st_dev)
		return OK;
	(void)keyring_refuse(why, "%s: somebody else is changing it", f->path);
	return ERR_BUSY;
}

static struct entry *
find(struct ring_file *f, const char *kid)
{
	for (size_t i = 0; i < f->n; i++) {
		if (strcmp(f->entries[i].told.kid, kid) == 0)
			return &f->entries[i];
	}
	return NULL;
}

static struct entry *
find_state(struct ring_file *f, enum key_state state)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->entries[i].told.state == state)
			return &f->entries[i];
	}
	return NULL;
}

/* Reads "# <kid> since <time>"; false when it is another comment. */
static bool
read_since(const char *line, char kid[static KEYRING_KID], int64_t *out_s)
{
	struct tm tm = {0};
	const char *since = strstr(line, SINCE);
	if (strncmp(line, "# ", 2) != 0 || !since)
		return false;
	size_t n = (size_t)(since - line) - 2;
	if (n == 0 || n >= KEYRING_KID)
		return false;
	memcpy(kid, line + 2, n);
	kid[n] = '\0';
	const char *end = strptime(since + strlen(SINCE), TIME_FORM, &tm);
	if (!end || *end || !keyring_is_kid(kid))
		return false;
	*out_s = (int64_t)timegm(&tm);
	return true;
}

/* All of them together are no longer than the file. */
static void
keep_comment(struct ring_file *f, const char *line)
{
	size_t n = strlen(line);
	if (n >= sizeof(f->comments) - f->n_comments)
		return;
	memcpy(f->comments + f->n_comments, line, n);
	f->comments[f->n_comments + n] = '\n';
	f->n_comments += n + 1;
}

/* Reads one line: the loader has said before that it is a right one. */
static void
read_line(struct ring_file *f, char *line, struct keyring_entry *sinces,
    size_t *n_sinces)
{
	static const char blank[] = " \t\r";
	line += strspn(line, blank);
	if (*line == '#') {
		struct keyring_entry *s = &sinces[*n_sinces];
		if (*n_sinces < KEYRING_MAX &&
		    read_since(line, s->kid, &s->since_s))
			++*n_sinces;
		else
			keep_comment(f, line);
		return;
	}
	char *rest = NULL;
	const char *kid = strtok_r(line, blank, &rest);
	const char *state = kid ? strtok_r(NULL, blank, &rest) : NULL;
	const char *key = state ? strtok_r(NULL, blank, &rest) : NULL;
	if (!key || f->n == KEYRING_MAX)
		return;
	struct entry *e = &f->entries[f->n++];
	(void)snprintf(e->told.kid, sizeof(e->told.kid), "%s", kid);
	(void)snprintf(e->key, sizeof(e->key), "%s", key);
	e->told.state = (enum key_state)keyring_state_named(state);
}

/* Takes the text apart. */
static void
read_lines(struct ring_file *f)
{
	struct keyring_entry sinces[KEYRING_MAX];
	size_t n_sinces = 0;
	char *rest = f->text;
	for (char *line; (line = strsep(&rest, "\n"));)
		read_line(f, line, sinces, &n_sinces);
	for (size_t i = 0; i < n_sinces; i++) {
		struct entry *e = find(f, sinces[i].kid);
		if (e)
			e->told.since_s = sinces[i].since_s;
	}
}

static void
close_file(struct ring_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		(void)close(f->fd);
	sodium_memzero(f, sizeof(*f));
	free(f);
}

/* Opens, checks and reads the file. */
static enum err
open_file(const char *path, struct ring_file **out_file, char *why)
{
	struct keyring *ring = NULL;
	/* What is no ring is refused in the loader's words. */
	enum err e = keyring_load(path, &ring, why);
	keyring_free(ring);
	if (e)
		return e;
	struct ring_file *f = calloc(1, sizeof(*f));
	if (!f) {
		(void)keyring_refuse(why, "%s: out of memory", path);
		return ERR_INVALID_FIELD;
	}
	f->path = path;
	f->fd = -1;
	e = open_locked(f, why);
	if (!e)
		e = keyring_read(f->fd, path, f->text, why);
	if (e) {
		close_file(f);
		return e;
	}
	read_lines(f);
	*out_file = f;
	return OK;
}

/* The file's text; its buffer holds keys. */
static void
write_text(const struct ring_file *f, struct buf *out)
{
	buf_add(out, f->comments, f->n_comments);
	for (size_t i = 0; i < f->n; i++) {
		const struct keyring_entry *e = &f->entries[i].told;
		char since[32];
		struct tm tm;
		time_t at = (time_t)e->since_s;
		if (e->since_s > 0 && gmtime_r(&at, &tm) &&
		    strftime(since, sizeof(since), TIME_FORM, &tm) > 0)
			buf_printf(out, "# %s" SINCE "%s\n", e->kid, since);
		buf_printf(out, "%s %s %s\n", e->kid,
		    keyring_state_name(e->state), f->entries[i].key);
	}
}

/* Writes a file beside it with its owner and mode, and syncs it. */
static enum err
write_temp(const struct ring_file *f, const char *temp, const struct buf *text,
    char *why)
{
	int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (fd < 0)
		return keyring_refuse(why, "%s: %s", temp, strerror(errno));
	bool is_owners = f->st.st_uid == geteuid() && f->st.st_gid == getegid();
	bool is_written =
	    write(fd, text->p, text->n) == (ssize_t)text->n &&
	    (is_owners || fchown(fd, f->st.st_uid, f->st.st_gid) == 0) &&
	    fchmod(fd, f->st.st_mode & 07777) == 0 && fsync(fd) == 0;
	enum err e = OK;
	if (!is_written)
		e = keyring_refuse(why, "%s: %s", temp, strerror(errno));
	(void)close(fd);
	return e;
}

/* A rename counts when its folder is on the disk. */
static void
sync_folder(const char *path)
{
	char copy[TEMP_NAME];
	(void)snprintf(copy, sizeof(copy), "%s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	(void)close(fd);
}

/* Puts the changed ring in the file's place. */
static enum err
replace(const struct ring_file *f, char *why)
{
	struct buf text = {.cap = KEYRING_FILE - 1};
	char temp[TEMP_NAME], suffix[ID_SHORT_TEXT];
	id_make_short(suffix);
	int n = snprintf(temp, sizeof(temp), "%s.%s", f->path, suffix);
	if (n < 0 || (size_t)n >= sizeof(temp))
		return keyring_refuse(why, "the path is too long");
	/* At once, so that no copy is left where the buffer grew from. */
	enum err e = OK;
	if (!buf_reserve(&text, KEYRING_FILE - 1))
		e = keyring_refuse(why, "%s: out of memory", f->path);
	if (!e)
		write_text(f, &text);
	if (!e && text.failed)
		e = keyring_refuse(why, "%s: would be too large", f->path);
	if (!e)
		e = write_temp(f, temp, &text, why);
	if (!e && rename(temp, f->path) < 0)
		e = keyring_refuse(why, "%s: %s", f->path, strerror(errno));
	if (e)
		(void)unlink(temp);
	else
		sync_folder(f->path);
	if (text.p)
		sodium_memzero(text.p, text.room);
	buf_free(&text);
	return e;
}

/* Adds a key that none signs with yet. */
static enum err
add_next(
    struct ring_file *f, int64_t now_s, struct keyring_rotation *out, char *why)
{
	if (f->n == KEYRING_MAX) {
		(void)keyring_refuse(why,
		    "%s: %d keys are there, and no more may be: retire one",
		    f->path, KEYRING_MAX);
		return ERR_CONFLICT;
	}
	struct entry *e = &f->entries[f->n++];
	keyring_make_key(e->told.kid, e->key);
	e->told.state = KEY_NEXT;
	e->told.since_s = now_s;
	out->step = KEYRING_ADDED;
	memcpy(out->kid, e->told.kid, KEYRING_KID);
	return OK;
}

/* Lets the next key sign from now on. */
static void
promote(struct ring_file *f, struct entry *next, int64_t now_s,
    struct keyring_rotation *out)
{
	struct entry *current = find_state(f, KEY_CURRENT);
	current->told.state = KEY_PREVIOUS;
	current->told.since_s = now_s;
	next->told.state = KEY_CURRENT;
	next->told.since_s = now_s;
	out->step = KEYRING_PROMOTED;
	memcpy(out->kid, next->told.kid, KEYRING_KID);
	memcpy(out->old, current->told.kid, KEYRING_KID);
}

enum err
keyring_rotate(const char *path, int64_t now_s,
    struct keyring_rotation *out_rotation, char why[static KEYRING_WHY])
{
	struct ring_file *f = NULL;
	struct keyring_rotation done = {0};
	enum err e = open_file(path, &f, why);
	if (e)
		return e;
	struct entry *next = find_state(f, KEY_NEXT);
	if (next)
		promote(f, next, now_s, &done);
	else
		e = add_next(f, now_s, &done, why);
	if (!e)
		e = replace(f, why);
	close_file(f);
	if (!e)
		*out_rotation = done;
	return e;
}

/* May the key go? */
static enum err
judge(const struct ring_file *f, const struct entry *entry, const char *kid,
    int64_t before_s, char *why)
{
	if (!entry) {
		(void)keyring_refuse(
		    why, "%s: there is no key %s", f->path, kid);
		return ERR_NOT_FOUND;
	}
	if (entry->told.state == KEY_CURRENT) {
		(void)keyring_refuse(why,
		    "%s: %s is the key that signs; rotate first", f->path, kid);
		return ERR_CONFLICT;
	}
	bool is_old =
	    entry->told.since_s > 0 && entry->told.since_s <= before_s;
	if (entry->told.state == KEY_PREVIOUS && !is_old &&
	    before_s != INT64_MAX) {
		(void)keyring_refuse(why,
		    "%s: sessions may still lean on %s, which is previous for "
		    "less than 14 days or nobody noted since when",
		    f->path, kid);
		return ERR_CONFLICT;
	}
	return OK;
}

enum err
keyring_retire(const char *path, const char *kid, int64_t before_s,
    char why[static KEYRING_WHY])
{
	struct ring_file *f = NULL;
	enum err e = open_file(path, &f, why);
	if (e)
		return e;
	struct entry *entry = find(f, kid);
	e = judge(f, entry, kid, before_s, why);
	if (!e) {
		size_t after = (size_t)(f->entries + f->n - entry) - 1;
		memmove(entry, entry + 1, after * sizeof(*entry));
		f->n--;
		e = replace(f, why);
	}
	close_file(f);
	return e;
}

enum err
keyring_list(const char *path,
    struct keyring_entry out_entries[static KEYRING_MAX], size_t *out_n,
    char why[static KEYRING_WHY])
{
	struct ring_file *f = NULL;
	enum err e = open_file(path, &f, why);
	if (e)
		return e;
	for (size_t i = 0; i < f->n; i++)
		out_entries[i] = f->entries[i].told;
	*out_n = f->n;
	close_file(f);
	return OK;
}
