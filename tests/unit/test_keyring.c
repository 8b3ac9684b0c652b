/*
 * The key ring's file: what is taken, and that every defect is refused with a
 * sentence that names the file and never a key.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/keyring.h"

#define K1 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define K2 "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"

static char dir[64], path[96];

static void
make_dir(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/natter-keyring-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/ring", dir);
}

static void
remove_dir(void)
{
	(void)unlink(path);
	cr_expect_eq(rmdir(dir), 0, "no other file is left behind");
}

TestSuite(keyring, .init = make_dir, .fini = remove_dir);

static void
write_ring(const void *text, size_t n, mode_t mode)
{
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, n), (ssize_t)n);
	cr_assert_eq(fchmod(fd, mode), 0);
	(void)close(fd);
}

static void
expect_refused(const char *about)
{
	struct keyring *ring = NULL;
	char why[KEYRING_WHY] = "";
	cr_expect_neq(keyring_load(path, &ring, why), OK, "%s", about);
	cr_expect_null(ring);
	cr_expect_not_null(strstr(why, about), "%s: %s", about, why);
	cr_expect_not_null(strstr(why, path), "%s", why);
	cr_expect_null(strstr(why, "AAECAwQF"), "a key was told: %s", why);
	cr_expect_null(strchr(why, '\n'), "one line");
}

Test(keyring, reads_keys_states_and_comments)
{
	const char text[] =
	    "# made by hand\n"
	    "\n"
	    "old previous " K1 "\n"
	    "  now-2 \t current   " K2 "  \r\n"
	    "#" K1 "\n"
	    "next1 next AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	struct keyring *ring = NULL;
	char why[KEYRING_WHY] = "";
	write_ring(text, sizeof(text) - 1, 0600);
	cr_assert_eq(keyring_load(path, &ring, why), OK, "%s", why);
	cr_expect_eq(keyring_count(ring), 3);
	cr_expect_eq(keyring_current(ring), 1);
	cr_expect_str_eq(keyring_kid(ring, 0), "old");
	cr_expect_str_eq(keyring_kid(ring, 1), "now-2");
	cr_expect_eq(keyring_state(ring, 0), KEY_PREVIOUS);
	cr_expect_eq(keyring_state(ring, 1), KEY_CURRENT);
	cr_expect_eq(keyring_state(ring, 2), KEY_NEXT);
	cr_expect_eq(keyring_find(ring, "next1"), 2);
	cr_expect_eq(keyring_find(ring, "next"), -1);
	cr_expect_eq(keyring_find(ring, ""), -1);
	keyring_free(ring);
}

Test(keyring, refuses_every_defect_by_name)
{
	static const struct {
		const char *text, *about;
	} rows[] = {
	    {"", "0 keys are current"},
	    {"# nothing\n", "0 keys are current"},
	    {"a next " K1 "\n", "0 keys are current"},
	    {"a current " K1 "\nb current " K2 "\n", "2 keys are current"},
	    {"a current " K1 "\na next " K2 "\n",
		":2: the kid a is there twice"},
	    {"a current\n", ":1: not <kid>"},
	    {"a\n", ":1: not <kid>"},
	    {"\na current " K1 " x\n", ":2: not <kid>"},
	    {"A current " K1 "\n", "a kid is"},
	    {"a_b current " K1 "\n", "a kid is"},
	    {"abcdefghijklmnop current " K1 "\n", "a kid is"},
	    {"a Current " K1 "\n", "a state is"},
	    {"a retired " K1 "\n", "a state is"},
	    {"a current " K1 "=\n", "32 bytes"},
	    {"a current " K1 "A\n", "32 bytes"},
	    {"a current AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh\n",
		"32 bytes"},
	    {"a current AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9\n",
		"32 bytes"}, /* spare bits */
	    {"a current AAEC+wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
		"32 bytes"},
	    {"a current " K1 "\nb next " K2 "\nc next " K2 "\nd next " K2
	     "\ne next " K2 "\nf next " K2 "\ng next " K2 "\nh next " K2
	     "\ni next " K2 "\n",
		":9: more than 8"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		write_ring(rows[i].text, strlen(rows[i].text), 0400);
		expect_refused(rows[i].about);
	}
	static const char nul[] = "a current " K1 "\n\0";
	write_ring(nul, sizeof(nul) - 1, 0400);
	expect_refused("NUL");
}

Test(keyring, takes_the_longest_kid_and_eight_keys)
{
	char text[2048];
	size_t n = (size_t)sprintf(text, "abcdefghijklm-5 current " K1 "\n");
	for (int i = 1; i < KEYRING_MAX; i++)
		n += (size_t)sprintf(text + n, "k%d previous " K2 "\n", i);
	struct keyring *ring = NULL;
	char why[KEYRING_WHY] = "";
	write_ring(text, n, 0400);
	cr_assert_eq(keyring_load(path, &ring, why), OK, "%s", why);
	cr_expect_eq(keyring_count(ring), KEYRING_MAX);
	keyring_free(ring);
}

Test(keyring, refuses_a_file_that_others_may_use)
{
	static const mode_t modes[] = {
	    0440, 0404, 0644, 0420, 0402, 0410, 0401, 0666, 0777};
	const char text[] = "a current " K1 "\n";
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		write_ring(text, sizeof(text) - 1, modes[i]);
		expect_refused("others may use it");
	}
}

Test(keyring, refuses_what_is_not_a_regular_file, .timeout = 10)
{
	expect_refused("No such file");
	cr_assert_eq(mkdir(path, 0700), 0);
	expect_refused("not a regular file");
	cr_assert_eq(rmdir(path), 0);
	cr_assert_eq(mkfifo(path, 0600), 0);
	expect_refused("not a regular file");
}

Test(keyring, refuses_a_file_that_is_too_large)
{
	char *text = malloc(100000);
	memset(text, '#', 100000);
	write_ring(text, 100000, 0400);
	expect_refused("larger than");
	write_ring(text, 8192, 0400);
	expect_refused("larger than");
	write_ring(text, 8191, 0400);
	expect_refused("0 keys are current");
	free(text);
}

Test(keyring, derived_keys_differ_by_key_and_purpose_and_stay_the_same)
{
	const char text[] = "a current " K1 "\nb previous " K2 "\n";
	unsigned char out[8][KEYRING_BYTES], again[KEYRING_BYTES];
	struct keyring *ring = NULL;
	char why[KEYRING_WHY] = "";
	write_ring(text, sizeof(text) - 1, 0400);
	cr_assert_eq(keyring_load(path, &ring, why), OK, "%s", why);
	for (size_t i = 0; i < 8; i++)
		keyring_derive(ring, i / 4,
		    (enum key_purpose)(i % 4 + KEY_FOR_ACCESS), out[i]);
	for (size_t i = 0; i < 8; i++) {
		for (size_t k = 0; k < i; k++)
			cr_expect_neq(memcmp(out[i], out[k], KEYRING_BYTES), 0);
	}
	keyring_free(ring);
	ring = NULL;
	cr_assert_eq(keyring_load(path, &ring, why), OK);
	keyring_derive(ring, 1, KEY_FOR_DEVICE, again);
	cr_expect_eq(memcmp(out[7], again, KEYRING_BYTES), 0);
	keyring_free(ring);

	/* Pinned: another context or function would end every session. */
	static const unsigned char want[4] = {0x25, 0x2c, 0x56, 0x49};
	cr_expect_eq(memcmp(out[0], want, 4), 0, "%02x%02x%02x%02x", out[0][0],
	    out[0][1], out[0][2], out[0][3]);
}

Test(keyring, a_new_ring_is_private_and_loads)
{
	struct stat st;
	struct keyring *ring = NULL;
	char why[KEYRING_WHY] = "";
	mode_t old = umask(0);
	cr_expect_eq(keyring_create(path, why), OK, "%s", why);
	(void)umask(old);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0400);
	cr_expect_eq(st.st_nlink, 1);
	cr_assert_eq(keyring_load(path, &ring, why), OK, "%s", why);
	cr_expect_eq(keyring_count(ring), 1);
	cr_expect_eq(keyring_state(ring, 0), KEY_CURRENT);
	keyring_free(ring);
}

Test(keyring, two_new_rings_differ)
{
	char first[128] = "", second[128] = "";
	char *texts[] = {first, second};
	for (int i = 0; i < 2; i++) {
		char why[KEYRING_WHY];
		cr_assert_eq(keyring_create(path, why), OK);
		FILE *f = fopen(path, "r");
		cr_assert_not_null(fgets(texts[i], 128, f));
		(void)fclose(f);
		(void)unlink(path);
	}
	cr_expect_str_neq(first, second);
	cr_expect_str_neq(strrchr(first, ' '), strrchr(second, ' '));
}

Test(keyring, creating_never_replaces)
{
	const char text[] = "a current " K1 "\n";
	char why[KEYRING_WHY] = "", got[128] = "";
	write_ring(text, sizeof(text) - 1, 0400);
	cr_expect_neq(keyring_create(path, why), OK);
	cr_expect_not_null(strstr(why, "File exists"), "%s", why);
	FILE *f = fopen(path, "r");
	cr_assert_not_null(fgets(got, sizeof(got), f));
	(void)fclose(f);
	cr_expect_str_eq(got, text);
}

Test(keyring, creating_in_no_folder_is_refused)
{
	char why[KEYRING_WHY] = "", nowhere[160];
	(void)snprintf(nowhere, sizeof(nowhere), "%s/none/ring", dir);
	cr_expect_neq(keyring_create(nowhere, why), OK);
	cr_expect_not_null(strstr(why, "No such file"), "%s", why);
}

Test(keyring, freeing_nothing_is_fine)
{
	keyring_free(NULL);
}
