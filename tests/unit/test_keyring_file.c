/*
 * Changing the key ring's file: two steps in, fourteen days out, and never a
 * ring lost.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/keyring.h"
#include "base/keyring_file.h"

#define K1  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define K2  "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"
#define NOW 1767323045 /* 2026-01-02T03:04:05Z */

static char dir[64], path[96], why[KEYRING_WHY];
static struct keyring_rotation done;

static void
make_dir(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/natter-ring-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/ring", dir);
}

static void
remove_dir(void)
{
	(void)unlink(path);
	cr_expect_eq(rmdir(dir), 0, "no other file is left behind");
}

TestSuite(keyring_file, .init = make_dir, .fini = remove_dir);

static void
write_ring(const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	cr_assert_eq(fchmod(fd, 0400), 0);
	(void)close(fd);
}

static const char *
file_text(void)
{
	static char text[8192];
	FILE *f = fopen(path, "r");
	cr_assert_not_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	(void)fclose(f);
	return text;
}

static void
rotate(int64_t at)
{
	cr_assert_eq(keyring_rotate(path, at, &done, why), OK, "%s", why);
}

static void
derive(const char *kid, unsigned char out[static KEYRING_BYTES])
{
	struct keyring *ring = NULL;
	cr_assert_eq(keyring_load(path, &ring, why), OK, "%s", why);
	int i = keyring_find(ring, kid);
	cr_assert_geq(i, 0);
	keyring_derive(ring, (size_t)i, KEY_FOR_ACCESS, out);
	keyring_free(ring);
}

static enum key_state
state_of(const char *kid)
{
	struct keyring *ring = NULL;
	cr_assert_eq(keyring_load(path, &ring, why), OK, "%s", why);
	int i = keyring_find(ring, kid);
	cr_assert_geq(i, 0, "%s", kid);
	enum key_state state = keyring_state(ring, (size_t)i);
	keyring_free(ring);
	return state;
}

Test(keyring_file, a_new_key_is_added_first_and_signs_second)
{
	unsigned char before[KEYRING_BYTES], after[KEYRING_BYTES];
	char first[KEYRING_KID];
	write_ring("k1 current " K1 "\n");
	derive("k1", before);
	rotate(NOW);
	cr_expect_eq((int)done.step, KEYRING_ADDED);
	cr_expect_eq(state_of("k1"), KEY_CURRENT);
	cr_expect_eq(state_of(done.kid), KEY_NEXT);
	strcpy(first, done.kid);
	rotate(NOW + 60);
	cr_expect_eq((int)done.step, KEYRING_PROMOTED);
	cr_expect_str_eq(done.kid, first);
	cr_expect_str_eq(done.old, "k1");
	cr_expect_eq(state_of("k1"), KEY_PREVIOUS);
	cr_expect_eq(state_of(first), KEY_CURRENT);
	derive("k1", after);
	cr_expect_arr_eq(before, after, KEYRING_BYTES, "the same key still");
}

Test(keyring_file, keeps_mode_and_comments_and_notes_since_when)
{
	struct stat st;
	write_ring("# ours, since the move\n\nk1 current " K1 "\n# an end");
	rotate(NOW);
	rotate(NOW);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0400);
	cr_expect_not_null(strstr(file_text(), "# ours, since the move\n"));
	cr_expect_not_null(strstr(file_text(), "# an end\n"));
	cr_expect_not_null(
	    strstr(file_text(), "# k1 since 2026-01-02T03:04:05Z\n"));
	rotate(NOW + 1);
	char *second = strstr(strstr(file_text(), "# k1 since") + 1, "# k1");
	cr_expect_null(second, "noted once");
}

Test(keyring_file, a_previous_key_stays_for_14_days)
{
	write_ring("k1 current " K1 "\n");
	rotate(NOW);
	rotate(NOW);
	cr_expect_eq(keyring_retire(path, "k1", NOW - 1, why), ERR_CONFLICT);
	cr_expect_not_null(strstr(why, "14 days"), "%s", why);
	cr_expect_eq(state_of("k1"), KEY_PREVIOUS);
	cr_expect_eq(keyring_retire(path, "k1", NOW, why), OK, "%s", why);
	cr_expect_null(strstr(file_text(), "k1"));
}

Test(keyring_file, a_previous_key_goes_at_once_where_that_is_wanted)
{
	write_ring("k0 previous " K2 "\nk1 current " K1 "\n");
	cr_expect_eq(keyring_retire(path, "k0", NOW, why), ERR_CONFLICT,
	    "nobody noted since when");
	cr_expect_eq(keyring_retire(path, "k0", INT64_MAX, why), OK);
	cr_expect_eq(state_of("k1"), KEY_CURRENT);
}

Test(keyring_file, the_key_that_signs_never_goes)
{
	write_ring("k1 current " K1 "\n");
	cr_expect_eq(keyring_retire(path, "k1", INT64_MAX, why), ERR_CONFLICT);
	cr_expect_eq(keyring_retire(path, "k9", INT64_MAX, why), ERR_NOT_FOUND);
	rotate(NOW);
	cr_expect_eq(keyring_retire(path, done.kid, 0, why), OK, "a next one");
	cr_expect_eq(state_of("k1"), KEY_CURRENT);
}

Test(keyring_file, lists_without_keys)
{
	struct keyring_entry entries[KEYRING_MAX];
	size_t n = 0;
	write_ring("k0 previous " K2 "\nk1 current " K1 "\n");
	rotate(NOW);
	cr_assert_eq(keyring_list(path, entries, &n, why), OK);
	cr_assert_eq(n, 3);
	cr_expect_str_eq(entries[0].kid, "k0");
	cr_expect_eq(entries[0].since_s, 0);
	cr_expect_eq(entries[2].state, KEY_NEXT);
	cr_expect_eq(entries[2].since_s, NOW);
}

Test(keyring_file, a_full_ring_takes_no_ninth_key)
{
	char text[1024] = "k0 current " K1 "\n";
	for (int i = 1; i < 8; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
		    "k%d previous " K2 "\n", i);
	write_ring(text);
	cr_expect_eq(keyring_rotate(path, NOW, &done, why), ERR_CONFLICT);
	cr_expect_str_eq(file_text(), text);
}

Test(keyring_file, what_is_no_ring_is_left_as_it_is)
{
	static const char *const texts[] = {
	    "", "k1 current short\n", "k1 next " K1 "\n"};
	for (size_t i = 0; i < 3; i++) {
		write_ring(texts[i]);
		cr_expect_eq(keyring_rotate(path, NOW, &done, why),
		    ERR_INVALID_FIELD, "%zu", i);
		cr_expect_null(strstr(why, "AAEC"));
		cr_expect_str_eq(file_text(), texts[i]);
		(void)unlink(path);
	}
	cr_expect_eq(keyring_rotate(path, NOW, &done, why), ERR_INVALID_FIELD);
}

Test(keyring_file, two_changes_at_once_are_kept_apart)
{
	write_ring("k1 current " K1 "\n");
	int fd = open(path, O_RDONLY);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	cr_expect_eq(keyring_rotate(path, NOW, &done, why), ERR_BUSY);
	(void)close(fd);
	rotate(NOW);
}
