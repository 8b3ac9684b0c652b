/*
 * Cookies: ours found among a site's whatever those look like, and only when
 * nobody else can have put it there; ours written for this host alone.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/arena.h"
#include "http/cookie.h"

static struct arena *arena;

static void
set_up(void)
{
	arena = arena_new(65536);
}

static void
tear_down(void)
{
	arena_free(arena);
}

TestSuite(cookie, .init = set_up, .fini = tear_down);

Test(cookie, is_found_among_a_sites_own)
{
	static const struct {
		const char *header, *want;
	} rows[] = {
	    {"", NULL},
	    {"a=1", "1"},
	    {"a=1;", "1"},
	    {";a=1", "1"},
	    {"; ;;a=1; ;", "1"},
	    {"b=2; a=1", "1"},
	    {"b=2;a=1;c=3", "1"},
	    {"b=2; \ta=1 \t; c=3", "1"},
	    {"b; a=1", "1"},
	    {"=x; a=1", "1"},
	    {"b=\"q;a=9\"; c", NULL},              /* quotes do not quote */
	    {"b=\"q r\"; a=1; c={\"x\":[]}", "1"}, /* others' are theirs */
	    {"b=h\xc3\xa9 \xff; a=1", "1"},
	    {"a=aZ09-_.", "aZ09-_."},
	    {"A=1", NULL},
	    {"aa=1", NULL},
	    {"a", NULL},
	    {"a ", NULL},
	    {"a=", NULL},
	    {"a =1", NULL},
	    {"a= 1", NULL},
	    {"ab=a=1", NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *got = cookie_find(arena, rows[i].header, "a");
		cr_expect(
		    rows[i].want ? got && !strcmp(got, rows[i].want) : !got,
		    "%zu: %s", i, got ? got : "(none)");
	}
}

Test(cookie, sent_twice_is_nobodys)
{
	cr_expect_null(cookie_find(arena, "a=1; a=2", "a"));
	cr_expect_null(cookie_find(arena, "a=1; a=1", "a"));
	cr_expect_null(cookie_find(arena, "a=1; b=2; a=", "a"));
	cr_expect_null(cookie_find(arena, "a=; a=1", "a"));
}

Test(cookie, with_characters_of_no_cookie_of_ours_is_not_ours)
{
	static const char *const values[] = {"\"1\"", "a b", "a,b", "a=b",
	    "a%20", "a+b", "a/b", "a\\b", "a\xc3\xa9", "a\x01", "a\x7f"};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		cr_expect_null(cookie_find(arena,
				   arena_printf(arena, "a=%s", values[i]), "a"),
		    "%s", values[i]);
}

Test(cookie, beyond_the_arenas_cap_is_not_found)
{
	struct arena *small = arena_new(8);
	cr_expect_null(cookie_find(small, "a=0123456789abcdef", "a"));
	arena_free(small);
}

Test(cookie, is_written_for_this_host_alone)
{
	static const struct {
		struct cookie cookie;
		const char *want;
	} rows[] = {
	    {{"__Host-x", "v", 60, true},
		"__Host-x=v; Path=/; Max-Age=60; Secure; HttpOnly; "
		"SameSite=Strict"},
	    {{"__Host-x", "v", 0, false},
		"__Host-x=v; Path=/; Secure; HttpOnly; SameSite=Lax"},
	    {{"__Host-x", "", 60, true},
		"__Host-x=; Path=/; Max-Age=0; Secure; HttpOnly; "
		"SameSite=Strict"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_str_eq(
		    cookie_write(arena, &rows[i].cookie), rows[i].want);
}
