/*
 * Matching paths and methods against the table of routes. Goes through the
 * table from the top: the last of sixty rows was found in 1.5 us, where the
 * first round trip to a store takes fifty, so there is no index.
 */
#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "http/percent.h"
#include "http/route.h"

/* In the order of the enum; HEAD, which no route names, comes last. */
static const struct {
	const char *name;
	enum http_method method;
} methods[] = {
    {"GET", HTTP_GET},
    {"POST", HTTP_POST},
    {"PATCH", HTTP_PATCH},
    {"PUT", HTTP_PUT},
    {"DELETE", HTTP_DELETE},
    {"HEAD", HTTP_GET},
};
#define N_METHODS (sizeof(methods) / sizeof(*methods))

/* Where the segments stand that a pattern's `{name}`s took. */
struct taken {
	const char *p[REQUEST_IDS_MAX];
	size_t len[REQUEST_IDS_MAX];
	size_t n;
};

/* Does `path` fit `pattern`? `taken` is meaningful when it does. */
static bool
fits(const char *pattern, const char *path, struct taken *taken)
{
	taken->n = 0;
	for (;;) {
		const char *brace = strchrnul(pattern, '{');
		size_t literal = (size_t)(brace - pattern);
		if (strncmp(pattern, path, literal) != 0)
			return false;
		path += literal;
		if (!*brace)
			return *path == '\0';
		size_t len =
		    brace[1] == '+' ? strlen(path) : strcspn(path, "/");
		if (len == 0)
			return false;
		assert(taken->n < REQUEST_IDS_MAX);
		taken->p[taken->n] = path;
		taken->len[taken->n++] = len;
		path += len;
		pattern = strchr(brace, '}');
		assert(pattern);
		pattern++;
	}
}

static enum err
copy_ids(struct request *req, const struct taken *taken)
{
	for (size_t i = 0; i < taken->n; i++) {
		req->ids[i] =
		    arena_strndup(req->arena, taken->p[i], taken->len[i]);
		if (!req->ids[i])
			return ERR_TOO_LARGE;
	}
	return OK;
}

/* The names of the methods whose bits are set, as Allow wants them. */
static const char *
method_list(struct arena *a, unsigned set)
{
	const char *list = NULL;
	for (size_t i = 0; i < HTTP_METHOD__MAX; i++) {
		if (!(set & 1u << methods[i].method))
			continue;
		list = list ? arena_printf(a, "%s, %s", list, methods[i].name)
			    : methods[i].name;
		if (!list)
			return NULL;
	}
	return list;
}

enum err
route_find(const struct route_table *table, struct request *req,
    const char **out_allow)
{
	unsigned allowed = 0;
	const char *pattern = NULL; /* the first that fits is the resource */
	for (size_t i = 0; i < table->n; i++) {
		const struct route *r = &table->routes[i];
		struct taken taken;
		if (pattern ? strcmp(r->pattern, pattern) != 0
			    : !fits(r->pattern, req->path, &taken))
			continue;
		if (pattern)
			(void)fits(pattern, req->path, &taken);
		pattern = r->pattern;
		if (req->has_encoded_slash && !strstr(pattern, "{+"))
			return ERR_BAD_REQUEST;
		allowed |= 1u << r->method;
		if (r->method == req->method) {
			req->route = r;
			return copy_ids(req, &taken);
		}
	}
	if (!allowed)
		return req->has_encoded_slash ? ERR_BAD_REQUEST : ERR_NO_ROUTE;
	const char *allow = method_list(req->arena, allowed);
	if (!allow)
		return ERR_TOO_LARGE;
	*out_allow = allow;
	return ERR_METHOD_NOT_ALLOWED;
}

enum http_method
route_method(const char *name)
{
	for (size_t i = 0; i < N_METHODS; i++) {
		if (strcmp(name, methods[i].name) == 0)
			return methods[i].method;
	}
	return HTTP_METHOD__MAX;
}

enum err
route_decode_path(struct arena *a, const char *uri, const char **out_path,
    bool *out_has_encoded_slash)
{
	bool has_encoded_slash = false;
	const char *end = uri + strcspn(uri, "?");
	if (*uri != '/')
		return ERR_BAD_REQUEST;
	char *path = arena_strndup(a, uri, (size_t)(end - uri));
	if (!path)
		return ERR_TOO_LARGE;
	size_t n = 0;
	for (const char *p = uri; p < end; n++) {
		bool is_encoded = *p == '%';
		int c = percent_next(&p, end);
		if (c < 0)
			return ERR_BAD_REQUEST;
		has_encoded_slash |= is_encoded && c == '/';
		path[n] = (char)c;
	}
	path[n] = '\0';
	if (!text_is_clean(path, n))
		return ERR_BAD_REQUEST;
	*out_path = path;
	*out_has_encoded_slash = has_encoded_slash;
	return OK;
}
