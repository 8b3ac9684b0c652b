/*
 * The request line: a path is decoded to clean text with the segments that it
 * came with, a route gives back exactly the path that it matched, and what a
 * query yields is clean and within its bounds. The first byte of an input is
 * the method.
 */
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "fuzz.h"
#include "http/request.h"
#include "http/route.h"

static const struct route routes[] = {
#define ROUTE(                                                            \
    method, pattern, handler, access, limit, thread, body_max, arena_max) \
	{pattern, NULL, method, access, limit, thread, body_max, arena_max},
#include "api/routes.def"
#undef ROUTE
};

static const struct route_table table = {
    .routes = routes, .n = sizeof(routes) / sizeof(routes[0])};

static size_t
count(const char *p, const char *end, char c)
{
	size_t n = 0;

	for (; p < end; p++)
		n += *p == c;
	return n;
}

static void
check_path(const char *uri, const struct request *req)
{
	const char *path = req->path;
	const char *end = uri + strcspn(uri, "?");
	size_t n = strlen(path);

	FUZZ_PROMISE(path[0] == '/');
	FUZZ_PROMISE(n <= (size_t)(end - uri));
	FUZZ_PROMISE(text_is_clean(path, n));
	FUZZ_PROMISE(req->has_encoded_slash
			 ? count(path, path + n, '/') > count(uri, end, '/')
			 : count(path, path + n, '/') == count(uri, end, '/'));
}

/* The pattern with the ids in it is the path. */
static void
check_match(const struct request *req)
{
	const char *pattern = req->route->pattern, *path = req->path;
	const char *const *id = req->ids;

	for (; *pattern != '\0'; pattern++) {
		if (*pattern != '{') {
			FUZZ_PROMISE(*path++ == *pattern);
			continue;
		}
		FUZZ_PROMISE(**id != '\0');
		FUZZ_PROMISE(pattern[1] == '+' || strchr(*id, '/') == NULL);
		FUZZ_PROMISE(strncmp(path, *id, strlen(*id)) == 0);
		path += strlen(*id++);
		pattern = strchr(pattern, '}');
	}
	FUZZ_PROMISE(*path == '\0');
}

static void
check_route(struct request *req)
{
	const char *allow = NULL;
	enum err e = route_find(&table, req, &allow);

	FUZZ_PROMISE(e == OK || e == ERR_NO_ROUTE ||
		     e == ERR_METHOD_NOT_ALLOWED ||
		     (e == ERR_BAD_REQUEST && req->has_encoded_slash));
	FUZZ_PROMISE((e == ERR_METHOD_NOT_ALLOWED) == (allow != NULL));
	FUZZ_PROMISE((e == OK) == (req->route != NULL));
	if (e == OK)
		check_match(req);
}

static void
check_query(struct request *req)
{
	static const char *const names[] = {"q", "limit", "cursor", ""};
	const char *value;
	long number;
	int flag;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		value = NULL;
		if (request_query(req, names[i], &value) == OK)
			FUZZ_PROMISE(value == NULL ||
				     text_is_clean(value, strlen(value)));
		if (request_query_number(req, names[i], 20, 1, 100, &number) ==
		    OK)
			FUZZ_PROMISE(number >= 1 && number <= 100);
		if (request_query_flag(req, names[i], &flag) == OK)
			FUZZ_PROMISE(flag >= -1 && flag <= 1);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 20);
	struct request req = {.arena = a};
	char *uri;

	if (a == NULL || size == 0) {
		arena_free(a);
		return 0;
	}
	uri = strndup((const char *)data + 1, size - 1);
	req.method = data[0] % (HTTP_METHOD__MAX + 1);
	if (uri != NULL && route_decode_path(a, uri, &req.path,
			       &req.has_encoded_slash) == OK) {
		check_path(uri, &req);
		check_route(&req);
		req.query = uri + strcspn(uri, "?");
		req.query += *req.query == '?';
		check_query(&req);
	}
	free(uri);
	arena_free(a);
	return 0;
}
