/*
 * Routing: which row a path and method find, and what a path may be.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "http/reply.h"
#include "http/route.h"

static struct arena *arena;

static void
make_arena(void)
{
	arena = arena_new(65536);
}

static void
free_arena(void)
{
	arena_free(arena);
}

TestSuite(route, .init = make_arena, .fini = free_arena);

static const struct route rows[] = {
    {.method = HTTP_GET, .pattern = "/"},
    {.method = HTTP_GET, .pattern = "/livez"},
    {.method = HTTP_GET, .pattern = "/things"},
    {.method = HTTP_POST, .pattern = "/things"},
    {.method = HTTP_GET, .pattern = "/things/search"},
    {.method = HTTP_DELETE, .pattern = "/things/{id}"},
    {.method = HTTP_GET, .pattern = "/things/{id}"},
    {.method = HTTP_PATCH, .pattern = "/things/{id}"},
    {.method = HTTP_PUT, .pattern = "/a/{x}/b/{y}/c/{z}"},
    {.method = HTTP_POST, .pattern = "/a/{x}/b"},
    {.method = HTTP_GET, .pattern = "/names/{+name}"},
};
static const struct route_table table = {rows, sizeof(rows) / sizeof(*rows)};

static enum err
find(const char *method, const char *path, struct request *req,
    const char **out_allow)
{
	*req = (struct request){
	    .arena = arena, .method = route_method(method), .path = path};
	return route_find(&table, req, out_allow);
}

Test(route, finds_the_row_of_a_path_and_method)
{
	static const struct {
		const char *method, *path;
		int row;
		const char *ids[3];
	} cases[] = {
	    {"GET", "/", 0, {NULL}},
	    {"GET", "/livez", 1, {NULL}},
	    {"HEAD", "/livez", 1, {NULL}},
	    {"GET", "/things", 2, {NULL}},
	    {"POST", "/things", 3, {NULL}},
	    {"GET", "/things/search", 4, {NULL}},
	    {"GET", "/things/searches", 6, {"searches"}},
	    {"GET", "/things/7", 6, {"7"}},
	    {"HEAD", "/things/7", 6, {"7"}},
	    {"PATCH", "/things/7", 7, {"7"}},
	    {"DELETE", "/things/h\xc3\xa9 %2F{}?", 5, {"h\xc3\xa9 %2F{}?"}},
	    {"PUT", "/a/1/b/22/c/333", 8, {"1", "22", "333"}},
	    {"PUT", "/a/b/b/b/c/c", 8, {"b", "b", "c"}},
	    {"POST", "/a/1/b", 9, {"1"}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct request req;
		const char *allow = NULL;
		cr_assert_eq(find(cases[i].method, cases[i].path, &req, &allow),
		    OK, "%s", cases[i].path);
		cr_expect_eq(
		    req.route, &rows[cases[i].row], "%s", cases[i].path);
		cr_expect_null(allow);
		for (int k = 0; k < 3; k++) {
			if (cases[i].ids[k])
				cr_expect_str_eq(req.ids[k], cases[i].ids[k]);
			else
				cr_expect_null(req.ids[k]);
		}
	}
}

Test(route, refuses_paths_that_no_pattern_fits)
{
	static const char *const paths[] = {"", "//", "/livez/", "/live",
	    "/livezz", "/LIVEZ", "/things/", "/things//", "/things/1/",
	    "/things/1/2", "//things", "/a//b", "/a/1/b/", "/a/1/b/2",
	    "/a/1/b/2/c", "/a/1/b/2/c/", "/a/1/b/2/c/3/", "/a/1/c/2/b/3",
	    "things", "/things{id}", "/{id}"};
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct request req;
		const char *allow = NULL;
		cr_expect_eq(find("GET", paths[i], &req, &allow), ERR_NO_ROUTE,
		    "%s", paths[i]);
		cr_expect_null(req.route);
		cr_expect_null(allow);
	}
}

Test(route, tells_the_methods_that_a_path_takes)
{
	static const struct {
		const char *method, *path, *allow;
	} cases[] = {
	    {"POST", "/livez", "GET"},
	    {"DELETE", "/things", "GET, POST"},
	    {"OPTIONS", "/things", "GET, POST"},
	    {"get", "/things", "GET, POST"},
	    {"PUT", "/things/1", "GET, PATCH, DELETE"},
	    /* A literal is a resource of its own, not an id. */
	    {"POST", "/things/search", "GET"},
	    {"DELETE", "/things/search", "GET"},
	    {"HEAD", "/a/1/b", "POST"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct request req;
		const char *allow = "";
		cr_expect_eq(find(cases[i].method, cases[i].path, &req, &allow),
		    ERR_METHOD_NOT_ALLOWED, "%s", cases[i].path);
		cr_expect_str_eq(allow, cases[i].allow);
		cr_expect_null(req.route);
	}
}

/* A name may have slashes where its pattern says so, and nowhere else. */
Test(route, an_encoded_slash_is_for_the_rest_of_a_path_alone)
{
	static const struct {
		const char *path;
		bool is_encoded;
		enum err want;
		const char *id;
	} cases[] = {
	    {"/names/a", false, OK, "a"},
	    {"/names/a/b", false, OK, "a/b"},
	    {"/names/a/b", true, OK, "a/b"},
	    {"/names/a//b/", true, OK, "a//b/"},
	    {"/names/", true, ERR_BAD_REQUEST, NULL},
	    {"/names/", false, ERR_NO_ROUTE, NULL},
	    {"/things/1", true, ERR_BAD_REQUEST, NULL},
	    {"/things/1/2", true, ERR_BAD_REQUEST, NULL},
	    {"/livez", true, ERR_BAD_REQUEST, NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *allow = NULL;
		struct request req = {.arena = arena,
		    .method = HTTP_GET,
		    .path = cases[i].path,
		    .has_encoded_slash = cases[i].is_encoded};
		cr_expect_eq(
		    route_find(&table, &req, &allow), cases[i].want, "%zu", i);
		if (cases[i].id)
			cr_expect_str_eq(req.ids[0], cases[i].id);
	}
	struct request other = {.arena = arena,
	    .method = HTTP_PUT,
	    .path = "/names/a/b",
	    .has_encoded_slash = true};
	const char *allow = NULL;
	cr_expect_eq(
	    route_find(&table, &other, &allow), ERR_METHOD_NOT_ALLOWED);
	cr_expect_str_eq(allow, "GET");
}

Test(route, ids_beyond_the_arena_are_too_large)
{
	struct request req;
	const char *allow = NULL;
	arena_reset(arena, 3);
	cr_expect_eq(find("GET", "/things/123", &req, &allow), ERR_TOO_LARGE);
}

Test(route, knows_the_methods)
{
	static const struct {
		const char *name;
		enum http_method want;
	} cases[] = {{"GET", HTTP_GET}, {"HEAD", HTTP_GET}, {"POST", HTTP_POST},
	    {"PATCH", HTTP_PATCH}, {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE},
	    {"OPTIONS", HTTP_METHOD__MAX}, {"", HTTP_METHOD__MAX},
	    {"get", HTTP_METHOD__MAX}, {"GETS", HTTP_METHOD__MAX},
	    {"GE", HTTP_METHOD__MAX}, {"TRACE", HTTP_METHOD__MAX}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_expect_eq(route_method(cases[i].name), cases[i].want, "%s",
		    cases[i].name);
}

Test(route, decodes_paths)
{
	static const struct {
		const char *uri, *want; /* NULL: ERR_BAD_REQUEST */
	} cases[] = {
	    {"/", "/"},
	    {"/?", "/"},
	    {"/a/b", "/a/b"},
	    {"/a?b=/c%zz", "/a"},
	    {"/a%20b", "/a b"},
	    {"/a+b", "/a+b"},
	    {"/%41%5a%5A", "/AZZ"},
	    {"/%25", "/%"},
	    {"/%252F", "/%2F"}, /* decoded once, not twice */
	    {"/%3f", "/?"},
	    {"/h%C3%A9", "/h\xc3\xa9"},
	    {"/h\xc3\xa9", "/h\xc3\xa9"},
	    {"/%e2%82%ac", "/\xe2\x82\xac"},
	    {"", NULL},
	    {"?", NULL},
	    {"a", NULL},
	    {"%2Fa", NULL},
	    {"/a%2Fb", "/a/b"}, /* whether it may be, its route says */
	    {"/a%2fb", "/a/b"},
	    {"http://x/a", NULL},
	    {"*", NULL},
	    {"/%00", NULL},
	    {"/a%00b", NULL},
	    {"/%", NULL},
	    {"/%4", NULL},
	    {"/%?41", NULL},
	    {"/%4?1", NULL},
	    {"/%4g", NULL},
	    {"/%g4", NULL},
	    {"/% 4", NULL},
	    {"/%-1", NULL},
	    {"/%0x41", NULL},
	    {"/%ff", NULL},
	    {"/%c0%af", NULL}, /* an overlong slash */
	    {"/%ed%a0%80", NULL},
	    {"/%e2%82", NULL},
	    {"/\xff", NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *path = NULL;
		bool is_encoded = false;
		enum err e =
		    route_decode_path(arena, cases[i].uri, &path, &is_encoded);
		cr_expect_eq(e, cases[i].want ? OK : ERR_BAD_REQUEST, "%s",
		    cases[i].uri);
		cr_expect_eq(is_encoded,
		    e == OK && strcasestr(cases[i].uri, "%2f") != NULL, "%s",
		    cases[i].uri);
		if (cases[i].want)
			cr_expect_str_eq(path, cases[i].want);
		else
			cr_expect_null(path);
	}
}

Test(route, every_byte_decodes_to_itself)
{
	for (int c = 1; c < 128; c++) {
		char upper[8], lower[8];
		const char *path = NULL;
		(void)snprintf(upper, sizeof(upper), "/%%%02X", (unsigned)c);
		(void)snprintf(lower, sizeof(lower), "/%%%02x", (unsigned)c);
		bool slash = false;
		cr_assert_eq(
		    route_decode_path(arena, upper, &path, &slash), OK);
		cr_assert_eq((unsigned char)path[1], c);
		cr_assert_eq(slash, c == '/');
		cr_assert_eq(
		    route_decode_path(arena, lower, &path, &slash), OK);
		cr_assert_eq((unsigned char)path[1], c);
		cr_assert_eq(slash, c == '/');
	}
}

Test(route, a_path_beyond_the_arena_is_too_large)
{
	const char *path = NULL;
	bool slash = false;
	arena_reset(arena, 4);
	cr_expect_eq(
	    route_decode_path(arena, "/abc", &path, &slash), ERR_TOO_LARGE);
	cr_expect_eq(
	    route_decode_path(arena, "/ab?xxxxxxxx", &path, &slash), OK);
	cr_expect_str_eq(path, "/ab");
}
