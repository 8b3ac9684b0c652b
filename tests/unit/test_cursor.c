/*
 * Cursors: what was made is read back by the same user on the same list, and
 * nothing else is.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/keyring.h"
#include "base/text.h"
#include "http/cursor.h"
#include "http/request.h"

#define LETTERS \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define K1 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define K2 "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"

static struct arena *arena;
static struct services services;
static struct request req;

static struct keyring *
ring_of(const char *text)
{
	char path[64], why[KEYRING_WHY] = "";
	struct keyring *ring = NULL;
	(void)snprintf(path, sizeof(path), "/tmp/natter-cursor-XXXXXX");
	int fd = mkstemp(path); /* mode 0600 */
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
	cr_assert_eq(keyring_load(path, &ring, why), OK, "%s", why);
	(void)unlink(path);
	return ring;
}

static void
set_up(void)
{
	arena = arena_new(1 << 22);
	services.keys = ring_of("k1 current " K1 "\n");
	req = (struct request){.arena = arena,
	    .services = &services,
	    .query = "",
	    .who = {.user_id = "user-1"}};
}

static void
tear_down(void)
{
	keyring_free(services.keys);
	arena_free(arena);
}

TestSuite(cursor, .init = set_up, .fini = tear_down);

static enum err
read_text(const char *text, const char *list,
    const char *keys[static CURSOR_KEYS_MAX])
{
	req.query = arena_printf(arena, "limit=5&cursor=%s", text);
	return cursor_read(&req, list, keys);
}

static const char *
make(const char *list, const char *a, const char *b)
{
	const char *const keys[] = {a, b, NULL};
	const char *text = cursor_make(&req, list, keys);
	cr_assert_not_null(text);
	return text;
}

Test(cursor, reads_back_what_was_made)
{
	char longest[257];
	memset(longest, 'k', 256);
	longest[256] = '\0';
	const struct {
		const char *a, *b;
	} rows[] = {
	    {"2026-01-02 03:04:05.678901+00",
		"01a202d8-843d-7095-bc08-e1e0357ab74d"},
	    {"x", NULL},
	    {"", ""},
	    {"", NULL},
	    {NULL, NULL},
	    {"h\xc3\xa9&=%", "\xff"},
	    {longest, longest},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *keys[CURSOR_KEYS_MAX] = {"?", "?"};
		const char *text = make("list", rows[i].a, rows[i].b);
		cr_expect_eq(strspn(text, LETTERS), strlen(text));
		cr_assert_eq(read_text(text, "list", keys), OK, "row %zu", i);
		cr_expect_str_eq(
		    keys[0] ? keys[0] : "-", rows[i].a ? rows[i].a : "-");
		cr_expect_str_eq(
		    keys[1] ? keys[1] : "-", rows[i].b ? rows[i].b : "-");
	}
}

Test(cursor, without_one_there_are_no_keys)
{
	const char *keys[CURSOR_KEYS_MAX] = {"?", "?"};
	req.query = "limit=5";
	cr_expect_eq(cursor_read(&req, "list", keys), OK);
	cr_expect_null(keys[0]);
	cr_expect_null(keys[1]);
}

Test(cursor, belongs_to_its_user_and_list)
{
	const char *keys[CURSOR_KEYS_MAX] = {"?", "?"};
	const char *text = make("conversations?active", "a", "b");
	cr_expect_eq(read_text(text, "conversations", keys), ERR_BAD_CURSOR);
	cr_expect_eq(read_text(text, "", keys), ERR_BAD_CURSOR);
	req.who.user_id = "user-2";
	cr_expect_eq(
	    read_text(text, "conversations?active", keys), ERR_BAD_CURSOR);
	req.who.user_id = NULL;
	cr_expect_eq(
	    read_text(text, "conversations?active", keys), ERR_BAD_CURSOR);
	cr_expect_str_eq(keys[0], "?", "written only on success");
	req.who.user_id = "user-1";
	cr_expect_eq(read_text(text, "conversations?active", keys), OK);
	/* What is the user's and what the list's must not be interchangeable.
	 */
	req.who.user_id = "user-1c";
	cr_expect_eq(
	    read_text(text, "onversations?active", keys), ERR_BAD_CURSOR);
}

Test(cursor, no_character_can_be_changed_added_or_dropped)
{
	const char *keys[CURSOR_KEYS_MAX];
	const char *text = make("list", "2026-01-02", "abc");
	size_t n = strlen(text);
	char s[512];
	for (size_t i = 0; i < n; i++) {
		for (const char *c = LETTERS; *c; c++) {
			(void)snprintf(s, sizeof(s), "%s", text);
			if (s[i] == *c)
				continue;
			s[i] = *c;
			cr_assert_eq(read_text(s, "list", keys), ERR_BAD_CURSOR,
			    "%s", s);
		}
		(void)snprintf(s, sizeof(s), "%.*s", (int)i, text);
		cr_assert_eq(
		    read_text(s, "list", keys), ERR_BAD_CURSOR, "%s", s);
		(void)snprintf(
		    s, sizeof(s), "%.*s%s", (int)i, text, text + i + 1);
		cr_assert_eq(
		    read_text(s, "list", keys), ERR_BAD_CURSOR, "%s", s);
	}
	for (const char *c = LETTERS "=.%20"; *c; c++) {
		(void)snprintf(s, sizeof(s), "%s%c", text, *c);
		cr_assert_eq(read_text(s, "list", keys), ERR_BAD_CURSOR);
	}
}

Test(cursor, refuses_what_was_never_one)
{
	static const char *const rows[] = {"", "A", "AA", "AAAA", "!!!!", "%",
	    "%00", "%ff", "AQ&cursor=AQ", "null",
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	    "AQ_____________________________"};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *keys[CURSOR_KEYS_MAX] = {"?", "?"};
		cr_expect_eq(read_text(rows[i], "list", keys), ERR_BAD_CURSOR,
		    "%s", rows[i]);
		cr_expect_str_eq(keys[0], "?");
	}
	static char huge[100001];
	const char *keys[CURSOR_KEYS_MAX];
	for (size_t n = 1; n < sizeof(huge); n = n * 3 / 2 + 1) {
		memset(huge, 'A', n);
		huge[n] = '\0';
		cr_expect_eq(
		    read_text(huge, "list", keys), ERR_BAD_CURSOR, "%zu", n);
	}
}

Test(cursor, survives_a_rotation_and_dies_with_its_key)
{
	const char *keys[CURSOR_KEYS_MAX];
	const char *text = make("list", "a", "b");
	keyring_free(services.keys);
	services.keys = ring_of("k2 current " K2 "\nk1 previous " K1 "\n");
	cr_expect_eq(read_text(text, "list", keys), OK);
	cr_expect_str_eq(keys[0], "a");
	keyring_free(services.keys);
	services.keys = ring_of("k2 current " K2 "\n");
	cr_expect_eq(read_text(text, "list", keys), ERR_BAD_CURSOR);
	keyring_free(services.keys);
	services.keys = ring_of("k1 current " K2 "\n");
	cr_expect_eq(read_text(text, "list", keys), ERR_BAD_CURSOR,
	    "another key under the same name");
}

Test(cursor, is_not_made_of_keys_that_are_too_long_or_beyond_the_arena)
{
	char longer[258];
	memset(longer, 'k', 257);
	longer[257] = '\0';
	const char *const keys[] = {longer, NULL};
	const char *const small[] = {"a", NULL};
	cr_expect_null(cursor_make(&req, "list", keys));
	arena_reset(arena, 8);
	cr_expect_null(cursor_make(&req, "list", small));
}
