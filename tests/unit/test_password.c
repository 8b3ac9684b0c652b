/*
 * Password hashes and the slots that bound them on a host.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/password.h"
#include "auth/password_import.h"
#include "base/clock.h"
#include "base/config.h"

static char dir[] = "/tmp/natter-slots-XXXXXX";
static struct config config = {
    .hash_memory_kib = 64, .hash_slots = 2, .run_dir = dir};

static void
slot_path(char out[static 64], int i)
{
	snprintf(out, 64, "%s/hash-%d.lock", dir, i);
}

static void
setup(void)
{
	cr_assert_geq(sodium_init(), 0);
	cr_assert_not_null(mkdtemp(dir));
}

static void
teardown(void)
{
	for (int i = 0; i < 2; i++) {
		char path[64];
		slot_path(path, i);
		(void)unlink(path);
	}
	(void)rmdir(dir);
}

TestSuite(password, .init = setup, .fini = teardown);

static int
hold_slot(int i)
{
	char path[64];
	slot_path(path, i);
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	return fd;
}

Test(password, verifies_what_it_hashed_and_nothing_else)
{
	char hash[PASSWORD_HASH_TEXT];
	bool stale = true;
	cr_assert_eq(password_hash(&config, "correct horse", hash), OK);
	cr_expect_eq(strncmp(hash, "$argon2id$v=19$m=64,t=2,p=1$", 28), 0);
	cr_expect_eq(
	    password_verify(&config, "correct horse", hash, &stale), OK);
	cr_expect_not(stale);
	cr_expect_eq(password_verify(&config, "correct hors", hash, &stale),
	    ERR_INVALID_CREDENTIALS);
	cr_expect_eq(password_verify(&config, "", hash, &stale),
	    ERR_INVALID_CREDENTIALS);
}

Test(password, an_unknown_user_and_a_strange_hash_prove_nothing)
{
	static const char *const hashes[] = {NULL, "", "x", "$argon2id$",
	    "$argon2id$v=19$m=64,t=2,p=1$AAAA$AAAA",
	    "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ$"
	    "iWh06vD8Fy27wf9npn6FXWiCX4K6",
	    "pbkdf2_sha256$100000$salt$hash"};
	for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
		bool stale = false;
		cr_expect_eq(password_verify(&config, "", hashes[i], &stale),
		    ERR_INVALID_CREDENTIALS, "%zu", i);
	}
}

Test(password, asks_for_a_new_hash_when_the_memory_was_raised)
{
	char hash[PASSWORD_HASH_TEXT];
	bool stale = false;
	cr_assert_eq(password_hash(&config, "correct horse", hash), OK);
	config.hash_memory_kib = 128;
	cr_expect_eq(
	    password_verify(&config, "correct horse", hash, &stale), OK);
	cr_expect(stale);
}

Test(password, takes_256_bytes_and_not_one_more)
{
	char hash[PASSWORD_HASH_TEXT], password[258];
	bool stale = false;
	memset(password, 'p', sizeof password);
	password[256] = '\0';
	cr_assert_eq(password_hash(&config, password, hash), OK);
	cr_expect_eq(password_verify(&config, password, hash, &stale), OK);
	password[255] = 'q';
	cr_expect_eq(password_verify(&config, password, hash, &stale),
	    ERR_INVALID_CREDENTIALS, "the last byte counts");
	password[255] = password[256] = 'p';
	password[257] = '\0';
	cr_expect_eq(password_hash(&config, password, hash), ERR_INVALID_FIELD);
}

Test(password, waits_2_s_for_a_slot_and_is_busy_then)
{
	char hash[PASSWORD_HASH_TEXT];
	int a = hold_slot(0), b = hold_slot(1);
	uint64_t before = clock_mono_ms();
	cr_expect_eq(password_hash(&config, "correct horse", hash), ERR_BUSY);
	uint64_t took = clock_mono_ms() - before;
	cr_expect(
	    took >= 1900 && took < 4000, "%llu ms", (unsigned long long)took);
	(void)close(b);
	cr_expect_eq(password_hash(&config, "correct horse", hash), OK);
	(void)close(a);
}

Test(password, a_holder_that_was_killed_holds_nothing)
{
	char hash[PASSWORD_HASH_TEXT];
	config.hash_slots = 1;
	int ready[2];
	cr_assert_eq(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)hold_slot(0);
		(void)!write(ready[1], "x", 1);
		pause();
		_exit(0);
	}
	char c;
	cr_assert_eq(read(ready[0], &c, 1), 1);
	kill(pid, SIGKILL);
	cr_expect_eq(password_hash(&config, "correct horse", hash), OK);
}

/* natterctl runs as root, natterd does not; root's umask may be 077. */
Test(password, slots_can_be_used_by_every_user_whatever_the_umask)
{
	char hash[PASSWORD_HASH_TEXT], path[64];
	struct stat st;
	mode_t before = umask(077);
	cr_expect_eq(password_hash(&config, "correct horse", hash), OK);
	(void)umask(before);
	slot_path(path, 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0644);
}

Test(password, a_folder_that_is_not_there_is_a_fault_of_the_server)
{
	char hash[PASSWORD_HASH_TEXT], missing[] = "/nonexistent/natter";
	config.run_dir = missing;
	cr_expect_eq(
	    password_hash(&config, "correct horse", hash), ERR_INTERNAL);
}

/* What libsodium was asked to verify last: it stands before libsodium's own. */
static char asked[PASSWORD_HASH_TEXT];

int
crypto_pwhash_str_verify(
    const char *hash, const char *password, unsigned long long n)
{
	int (*real)(const char *, const char *, unsigned long long);
	*(void **)&real = dlsym(RTLD_NEXT, "crypto_pwhash_str_verify");
	cr_assert_not_null(real);
	(void)snprintf(asked, sizeof asked, "%s", hash);
	return real(hash, password, n);
}

/* The algorithm, its version and its cost: what stands before the salt. */
static size_t
cost_length(const char *hash)
{
	const char *p = strstr(hash, ",p=");
	return p ? (size_t)(p - hash) + strcspn(p, "$") : 0;
}

/*
 * Unknown users must not answer faster. The work is compared, not the time: a
 * host that holds this process up in one of the two says nothing of either.
 */
Test(password, n29_works_as_long_for_nobody_as_for_somebody)
{
	char hash[PASSWORD_HASH_TEXT];
	bool stale = false;
	config.hash_memory_kib = 8192;
	cr_assert_eq(password_hash(&config, "correct horse", hash), OK);
	cr_expect_eq(password_verify(&config, "wrong", hash, &stale),
	    ERR_INVALID_CREDENTIALS);
	cr_expect_str_eq(asked, hash);
	*asked = '\0';
	cr_expect_eq(password_verify(&config, "wrong", NULL, &stale),
	    ERR_INVALID_CREDENTIALS);
	cr_expect_gt(cost_length(hash), 0);
	cr_expect_eq(cost_length(asked), cost_length(hash));
	cr_expect_eq(memcmp(asked, hash, cost_length(hash)), 0, "%s beside %s",
	    asked, hash);
	/* libsodium reads it: one that it cannot read takes no time at all. */
	cr_expect_eq(crypto_pwhash_str_needs_rehash(
			 asked, 2, (size_t)config.hash_memory_kib * 1024),
	    0);
}

/* ---- hashes of other systems ---- */

#define IMPORTED "correct horse battery"

/* Made by Python's hashlib and by PHP's password_hash. */
static const char *const imported[] = {
    "pbkdf2_sha256$100000$seasalt2$"
    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs=",
    "pbkdf2_sha256$600000$ZZ$tJZ2zrfTw7K+yViqR0qLZwhE13/T7zGx2AizjbYUNqA=",
    "$2y$10$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/Mn4cvGaTcuTstEHTfJsdx6xN2",
    "$2b$10$abcdefghijklmnopqrstuuCj7fyLDJytXL.TfOiOeiv0fQvSOK1/2",
    "$argon2id$v=19$m=256,t=3,p=1$S0poNGJvSjlrUVIybnZHSA$"
    "OepwYbsHQrbmOJ+5qMC/pZUCvVyaD/iSjsmbFwqxsys",
    "$argon2id$v=19$m=256,t=3,p=2$NnRUbW0xMUMyeUlEN2R2Tg$"
    "3/+1NuPa/Dnv10TkDrBN6DvhbjHznO5NvihJ9TCuy+w",
};

Test(password, proves_an_imported_hash_and_wants_one_of_ours)
{
	for (size_t i = 0; i < sizeof imported / sizeof *imported; i++) {
		bool stale = false;
		cr_expect_eq(
		    password_verify(&config, IMPORTED, imported[i], &stale), OK,
		    "%s", imported[i]);
		cr_expect(stale, "%s", imported[i]);
		cr_expect_eq(password_verify(&config, "Correct horse battery",
				 imported[i], &stale),
		    ERR_INVALID_CREDENTIALS, "%s", imported[i]);
	}
}

Test(password, an_imported_hash_that_is_weak_or_torn_proves_nothing)
{
	static const char *const hashes[] = {
	    /* right in all but their costs */
	    "pbkdf2_sha256$99999$seasalt2$"
	    "xcoce4G2FA/4w4Hv1ykiiiwdXEssqw22quWhwZmQHmg=",
	    "$2y$08$abcdefghijklmnopqrstuuwezlW09AGl.Qc8oiYvHEzrpumH/GaSu",
	    /* shapes */
	    "pbkdf2_sha256$",
	    "pbkdf2_sha256$100000",
	    "pbkdf2_sha256$100000$",
	    "pbkdf2_sha256$100000$seasalt2",
	    "pbkdf2_sha256$100000$seasalt2$",
	    "pbkdf2_sha256$100000$$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs=",
	    "pbkdf2_sha256$-100000$seasalt2$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs=",
	    "pbkdf2_sha256$99999999999999999999$seasalt2$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs=",
	    "pbkdf2_sha256$100000$seasalt2$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs",
	    "pbkdf2_sha256$100000$seasalt2$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwm",
	    "pbkdf2_sha1$100000$seasalt2$"
	    "Fq29tKELYfdP4TCzdhTtMsXvdHku7Y3PETL73mwmcPs=",
	    "$",
	    "$2",
	    "$2y$",
	    "$2y$10$",
	    "$2x$10$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/Mn4cvGaTcuTstEHTfJsdx6xN2",
	    "$2y$31$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/Mn4cvGaTcuTstEHTfJsdx6xN2",
	    "$2y$10$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/Mn4cvGaTcuTstEHTfJsdx6xN",
	    "$2y$10$9OpPyGvUV4UKUGFg6x8XBOQQ3dX/Mn4cvGaTcuTstEHTfJsdx6xN*",
	};
	for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
		bool stale = false;
		cr_expect_not(password_import_is_known(hashes[i]), "%zu", i);
		cr_expect_eq(
		    password_verify(&config, IMPORTED, hashes[i], &stale),
		    ERR_INVALID_CREDENTIALS, "%zu", i);
	}
}
