/*
 * argon2id through libsodium, a few at a time on a host; imported hashes take
 * the same slots. Owns the lock files CHAT_RUN_DIR/hash-N.lock while a hash
 * runs. Must not know users or rows.
 *
 * The slots are whole files under flock(2), not a semaphore: the kernel drops
 * the lock of a process that is killed in mid-hash.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/password.h"
#include "auth/password_import.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"

#define PASSES        2
#define SLOT_WAIT_MS  2000
#define SLOT_RETRY_MS 10
#define LOCK_PATH     4096

/* Opens slot `i` and tries to lock it: an fd, -1 taken, -2 cannot be used. */
static int
try_slot(const char *dir, long i)
{
	char path[LOCK_PATH];
	int n = snprintf(path, sizeof path, "%s/hash-%ld.lock", dir, i);
	if (n < 0 || (size_t)n >= sizeof path)
		return -2;
	/* Read-only: natterctl's root and the daemon's user share the file. */
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -2;
	/* Whose umask made the file must not shut the other out. */
	(void)fchmod(fd, 0644);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	int why = errno;
	(void)close(fd);
	return why == EWOULDBLOCK || why == EINTR ? -1 : -2;
}

static enum err
wait_for_slot(const struct config *config, int *out_fd)
{
	uint64_t end_ms = clock_mono_ms() + SLOT_WAIT_MS;
	do {
		for (long i = 0; i < config->hash_slots; i++) {
			int fd = try_slot(config->run_dir, i);
			if (fd == -2)
				return ERR_INTERNAL;
			if (fd >= 0) {
				*out_fd = fd;
				return OK;
			}
		}
		clock_sleep_ms(SLOT_RETRY_MS);
	} while (clock_mono_ms() < end_ms);
	return ERR_BUSY;
}

/* Takes a slot; ERR_INTERNAL when CHAT_RUN_DIR cannot be used. */
static enum err
take_slot(const struct config *config, int *out_fd)
{
	metrics_move(GAUGE_HASHES_WAITING, 1);
	enum err e = wait_for_slot(config, out_fd);
	metrics_move(GAUGE_HASHES_WAITING, -1);
	return e;
}

static size_t
memory(const struct config *config)
{
	return (size_t)config->hash_memory_kib * 1024;
}

/* What a failure of libsodium means: no memory is not a wrong password. */
static enum err
failure(enum err otherwise)
{
	return errno == ENOMEM ? ERR_BUSY : otherwise;
}

enum err
password_hash(const struct config *config, const char *password,
    char out_hash[static PASSWORD_HASH_TEXT])
{
	_Static_assert(PASSWORD_HASH_TEXT == crypto_pwhash_STRBYTES,
	    "the header says how long a hash is");
	size_t n = strlen(password);
	if (n > PASSWORD_MAX)
		return ERR_INVALID_FIELD;
	int slot = -1;
	enum err e = take_slot(config, &slot);
	if (e)
		return e;
	char hash[PASSWORD_HASH_TEXT];
	errno = 0;
	if (crypto_pwhash_str_alg(hash, password, n, PASSES, memory(config),
		crypto_pwhash_ALG_ARGON2ID13) != 0)
		e = failure(ERR_INTERNAL);
	(void)close(slot);
	if (!e)
		memcpy(out_hash, hash, sizeof hash);
	return e;
}

static enum err
verify_hash(const char *hash, const char *password, size_t n)
{
	errno = 0;
	if (crypto_pwhash_str_verify(hash, password, n) != 0)
		return failure(ERR_INVALID_CREDENTIALS);
	return OK;
}

/* The work that a hash of today takes, for nobody: never OK. */
static enum err
verify_nobody(const struct config *config, const char *password, size_t n)
{
	char hash[PASSWORD_HASH_TEXT];
	(void)snprintf(hash, sizeof hash,
	    crypto_pwhash_STRPREFIX
	    "v=19$m=%ld,t=%d,p=1$"
	    "AAAAAAAAAAAAAAAAAAAAAA$"
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	    config->hash_memory_kib, PASSES);
	enum err e = verify_hash(hash, password, n);
	return e ? e : ERR_INVALID_CREDENTIALS;
}

static bool
is_argon2id(const char *hash)
{
	return hash &&
	       strncmp(hash, crypto_pwhash_STRPREFIX,
		   strlen(crypto_pwhash_STRPREFIX)) == 0 &&
	       strlen(hash) < PASSWORD_HASH_TEXT;
}

enum err
password_verify(const struct config *config, const char *password,
    const char *hash, bool *out_needs_rehash)
{
	size_t n = strlen(password);
	if (n > PASSWORD_MAX)
		return ERR_INVALID_CREDENTIALS;
	int slot = -1;
	enum err e = take_slot(config, &slot);
	if (e)
		return e;
	bool is_ours = hash && is_argon2id(hash);
	bool is_imported = hash && !is_ours && password_import_is_known(hash);
	e = is_ours       ? verify_hash(hash, password, n)
	    : is_imported ? password_import_verify(hash, password, n)
			  : verify_nobody(config, password, n);
	(void)close(slot);
	if (!e)
		*out_needs_rehash =
		    !is_ours || crypto_pwhash_str_needs_rehash(
				    hash, PASSES, memory(config)) != 0;
	return e;
}

bool
password_hash_is_known(const char *hash)
{
	/* libsodium reads the text before it compares. */
	return is_argon2id(hash) ? crypto_pwhash_str_needs_rehash(hash, PASSES,
				       crypto_pwhash_MEMLIMIT_MIN) >= 0
				 : password_import_is_known(hash);
}

const char *
password_trouble(enum err e)
{
	if (e == ERR_BUSY)
		return "no hash slot came free (CHAT_HASH_SLOTS), or there is "
		       "no memory for a hash";
	return "cannot hash: is CHAT_RUN_DIR a folder that can be written to?";
}
