/*
 * The key ring's file and memory. Owns the only copies of the keys: one
 * sodium_malloc'ed block (locked, not in core files, between guard pages) that
 * is read-only once loaded; every other buffer that a key passed through is
 * wiped. Knows nothing of tokens.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "base/keyring.h"
#include "base/keyring_file.h"
#include "base/keyring_inside.h"
#include "base/text.h"

#define TEMP_NAME 4096

struct key {
	char kid[KEYRING_KID];
	enum key_state state;
	unsigned char bytes[KEYRING_BYTES];
};

struct keyring {
	size_t n;
	size_t current;
	struct key keys[KEYRING_MAX];
};

static const char *const state_names[] = {"current", "next", "previous"};

enum err
keyring_refuse(char *why, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(why, KEYRING_WHY, fmt, ap);
	va_end(ap);
	return ERR_INVALID_FIELD;
}

enum err
keyring_open(const char *path, int *out_fd, char *why)
{
	struct stat st;
	/* O_NONBLOCK: a FIFO must be refused, not waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return keyring_refuse(why, "%s: %s", path, strerror(errno));
	enum err e = OK;
	if (fstat(fd, &st) < 0)
		e = keyring_refuse(why, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		e = keyring_refuse(why, "%s: not a regular file", path);
	else if (st.st_mode & (S_IRWXG | S_IRWXO))
		e = keyring_refuse(why,
		    "%s: others may use it (mode %04o): chmod 0400", path,
		    (unsigned)(st.st_mode & 07777));
	if (e) {
		(void)close(fd);
		return e;
	}
	*out_fd = fd;
	return OK;
}

enum err
keyring_read(
    int fd, const char *path, char text[static KEYRING_FILE], char *why)
{
	size_t n = 0;
	for (;;) {
		ssize_t got = read(fd, text + n, KEYRING_FILE - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return keyring_refuse(
			    why, "%s: %s", path, strerror(errno));
		if (got == 0)
			break;
		n += (size_t)got;
		if (n == KEYRING_FILE)
			return keyring_refuse(why, "%s: larger than %d bytes",
			    path, KEYRING_FILE - 1);
	}
	text[n] = '\0';
	if (strlen(text) != n)
		return keyring_refuse(why, "%s: holds a NUL byte", path);
	return OK;
}

bool
keyring_is_kid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return n > 0 && n < KEYRING_KID && s[n] == '\0';
}

int
keyring_state_named(const char *name)
{
	for (int i = 0; i < 3; i++) {
		if (strcmp(name, state_names[i]) == 0)
			return i;
	}
	return -1;
}

/* Adds the key of one line, which is taken apart in place. */
static enum err
add_key(struct keyring *ring, char *line, const char *at, char *why)
{
	static const char blank[] = " \t\r";
	char *rest = NULL;
	const char *kid = strtok_r(line, blank, &rest);
	const char *state = strtok_r(NULL, blank, &rest);
	const char *key = strtok_r(NULL, blank, &rest);
	if (!kid || *kid == '#')
		return OK;
	if (!state || !key || strtok_r(NULL, blank, &rest))
		return keyring_refuse(why, "%s: not <kid> <state> <key>", at);
	if (!keyring_is_kid(kid))
		return keyring_refuse(
		    why, "%s: a kid is 1-15 of [a-z0-9-]", at);
	if (keyring_find(ring, kid) >= 0)
		return keyring_refuse(
		    why, "%s: the kid %s is there twice", at, kid);
	if (keyring_state_named(state) < 0)
		return keyring_refuse(
		    why, "%s: a state is current, next or previous", at);
	if (ring->n == KEYRING_MAX)
		return keyring_refuse(
		    why, "%s: more than %d keys", at, KEYRING_MAX);
	struct key *k = &ring->keys[ring->n];
	if (!text_from_base64url(key, strlen(key), k->bytes, KEYRING_BYTES))
		return keyring_refuse(why,
		    "%s: a key is %d bytes in base64url without padding", at,
		    KEYRING_BYTES);
	(void)snprintf(k->kid, sizeof(k->kid), "%s", kid);
	k->state = (enum key_state)keyring_state_named(state);
	ring->n++;
	return OK;
}

static enum err
add_keys(struct keyring *ring, char *text, const char *path, char *why)
{
	char at[KEYRING_WHY / 2];
	int number = 1;
	for (char *line; (line = strsep(&text, "\n")); number++) {
		(void)snprintf(at, sizeof(at), "%s:%d", path, number);
		enum err e = add_key(ring, line, at, why);
		if (e)
			return e;
	}
	return OK;
}

static enum err
find_current(struct keyring *ring, const char *path, char *why)
{
	size_t n_current = 0;
	for (size_t i = 0; i < ring->n; i++) {
		if (ring->keys[i].state == KEY_CURRENT) {
			ring->current = i;
			n_current++;
		}
	}
	if (n_current != 1)
		return keyring_refuse(why,
		    "%s: %zu keys are current, one must be", path, n_current);
	return OK;
}

void
keyring_make_key(
    char kid[static KEYRING_KID], char key[static KEYRING_KEY_TEXT])
{
	char name[ID_SHORT_TEXT];
	unsigned char bytes[KEYRING_BYTES];
	id_make_short(name);
	(void)snprintf(kid, KEYRING_KID, "k-%s", name);
	randombytes_buf(bytes, sizeof(bytes));
	(void)sodium_bin2base64(key, KEYRING_KEY_TEXT, bytes, sizeof(bytes),
	    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(bytes, sizeof(bytes));
}

/* One line with a new current key. */
static void
make_line(char out[static KEYRING_LINE])
{
	char kid[KEYRING_KID], key[KEYRING_KEY_TEXT];
	keyring_make_key(kid, key);
	(void)snprintf(out, KEYRING_LINE, "%s current %s\n", kid, key);
	sodium_memzero(key, sizeof(key));
}

/* Writes, syncs and closes a new file of mode 0400. */
static enum err
write_new(const char *path, const char *text, char *why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (fd < 0)
		return keyring_refuse(why, "%s: %s", path, strerror(errno));
	size_t n = strlen(text);
	bool is_written = write(fd, text, n) == (ssize_t)n &&
			  fchmod(fd, 0400) == 0 && fsync(fd) == 0;
	enum err e = OK;
	if (!is_written)
		e = keyring_refuse(why, "%s: %s", path, strerror(errno));
	if (close(fd) < 0 && !e)
		e = keyring_refuse(why, "%s: %s", path, strerror(errno));
	if (e)
		(void)unlink(path);
	return e;
}

enum err
keyring_load(
    const char *path, struct keyring **out_ring, char why[static KEYRING_WHY])
{
	int fd = -1;
	char text[KEYRING_FILE];
	if (sodium_init() < 0)
		return keyring_refuse(why, "libsodium cannot start");
	enum err e = keyring_open(path, &fd, why);
	if (e)
		return e;
	struct keyring *ring = sodium_malloc(sizeof(*ring));
	if (!ring) {
		e = keyring_refuse(why, "%s: no memory for the keys", path);
		goto out;
	}
	memset(ring, 0, sizeof(*ring));
	if ((e = keyring_read(fd, path, text, why)) ||
	    (e = add_keys(ring, text, path, why)) ||
	    (e = find_current(ring, path, why)))
		goto out;
	(void)sodium_mprotect_readonly(ring);
	*out_ring = ring;
	ring = NULL;
out:
	sodium_memzero(text, sizeof(text));
	keyring_free(ring);
	(void)close(fd);
	return e;
}

void
keyring_free(struct keyring *ring)
{
	sodium_free(ring); /* wipes */
}

size_t
keyring_count(const struct keyring *ring)
{
	return ring->n;
}

const char *
keyring_kid(const struct keyring *ring, size_t i)
{
	assert(i < ring->n);
	return ring->keys[i].kid;
}

enum key_state
keyring_state(const struct keyring *ring, size_t i)
{
	assert(i < ring->n);
	return ring->keys[i].state;
}

size_t
keyring_current(const struct keyring *ring)
{
	return ring->current;
}

int
keyring_find(const struct keyring *ring, const char *kid)
{
	for (size_t i = 0; i < ring->n; i++) {
		if (strcmp(ring->keys[i].kid, kid) == 0)
			return (int)i;
	}
	return -1;
}

void
keyring_derive(const struct keyring *ring, size_t i, enum key_purpose purpose,
    unsigned char out[static KEYRING_BYTES])
{
	static const char context[crypto_kdf_CONTEXTBYTES] = "natterv1";
	_Static_assert(KEYRING_BYTES == crypto_kdf_KEYBYTES, "kdf key size");
	assert(i < ring->n);
	int rc = crypto_kdf_derive_from_key(out, KEYRING_BYTES,
	    (uint64_t)purpose, context, ring->keys[i].bytes);
	assert(rc == 0);
	(void)rc;
}

enum err
keyring_create(const char *path, char why[static KEYRING_WHY])
{
	char temp[TEMP_NAME], line[KEYRING_LINE], suffix[ID_SHORT_TEXT];
	if (sodium_init() < 0)
		return keyring_refuse(why, "libsodium cannot start");
	id_make_short(suffix);
	int n = snprintf(temp, sizeof(temp), "%s.%s", path, suffix);
	if (n < 0 || (size_t)n >= sizeof(temp))
		return keyring_refuse(why, "the path is too long");
	make_line(line);
	enum err e = write_new(temp, line, why);
	sodium_memzero(line, sizeof(line));
	if (e)
		return e;
	/* Unlike rename, link refuses to replace: nobody ever sees half a
	 * ring, and no ring is ever lost. */
	if (link(temp, path) < 0)
		e = keyring_refuse(why, "%s: %s", path, strerror(errno));
	(void)unlink(temp);
	return e;
}

const char *
keyring_state_name(enum key_state state)
{
	return state_names[state];
}
