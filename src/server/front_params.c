/*
 * The table of FastCGI parameters that the API looks at. Everything else that
 * nginx sends is ignored. The client's address is REMOTE_ADDR as nginx knows
 * it (its realip module decides whom to trust); X-Forwarded-For is not read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/text.h"
#include "http/request.h"
#include "http/route.h"
#include "server/front_params.h"

enum when_long { CUT, REFUSE };

static const struct param {
	const char *name;
	size_t offset; /* of the field in struct request */
	size_t max;    /* bytes */
	enum when_long when_long;
} params[] = {
#define PARAM(name, field, max, when)                            \
	{                                                        \
		name, offsetof(struct request, field), max, when \
	}
    PARAM("REQUEST_METHOD", method_name, 16, REFUSE),
    PARAM("QUERY_STRING", query, 4096, REFUSE),
    PARAM("CONTENT_TYPE", content_type, 256, REFUSE),
    PARAM("REMOTE_ADDR", remote_addr, 64, CUT),
    PARAM("REQUEST_ID", request_id, 63, CUT),
    PARAM("HTTP_AUTHORIZATION", authorization, 4096, REFUSE),
    PARAM("HTTP_USER_AGENT", user_agent, 512, CUT),
    PARAM("HTTP_ACCEPT", accept, 512, CUT),
    PARAM("HTTP_COOKIE", cookie, 8192, REFUSE),
    PARAM("HTTP_ORIGIN", origin, 512, REFUSE),
    PARAM("HTTP_SEC_FETCH_SITE", sec_fetch_site, 64, CUT),
    PARAM("HTTP_ACCESS_CONTROL_REQUEST_METHOD", cors_method, 64, CUT),
    PARAM("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", cors_headers, 2048, CUT),
    PARAM("HTTP_X_NATTER_CLIENT", natter_client, 64, CUT),
    PARAM("HTTP_X_NATTER_DEVICE", device, 256, REFUSE),
    PARAM("HTTP_X_FORWARDED_FOR", forwarded_for, 64, CUT),
    PARAM("HTTP_FORWARDED", forwarded, 64, CUT),
    PARAM("HTTP_IDEMPOTENCY_KEY", idempotency_key, 512, REFUSE),
    PARAM("HTTP_LAST_EVENT_ID", last_event_id, 64, CUT),
#undef PARAM
};

#define N_PARAMS (sizeof(params) / sizeof(params[0]))

static const char **
field(struct request *req, const struct param *p)
{
	return (const char **)((char *)req + p->offset);
}

static const struct param *
find(const char *name, size_t n)
{
	for (size_t i = 0; i < N_PARAMS; i++)
		if (strncmp(params[i].name, name, n) == 0 &&
		    params[i].name[n] == '\0')
			return &params[i];
	return NULL;
}

/*
 * A header that comes twice is one, with a comma between (RFC 9110, 5.3), or
 * for cookies a semicolon: newer nginx joins them itself, older ones pass both.
 */
static const char *
joined(struct request *req, const struct param *p, const char *value)
{
	const char *before = *field(req, p);

	if (strncmp(p->name, "HTTP_", 5) != 0 || before[0] == '\0')
		return value;
	return arena_printf(req->arena, "%s%s%s", before,
	    strcmp(p->name, "HTTP_COOKIE") == 0 ? "; " : ", ", value);
}

static enum err
take(struct request *req, const struct param *p, const char *value)
{
	const char *copy;
	size_t n;

	value = joined(req, p, value);
	if (value == NULL)
		return ERR_HEADERS_TOO_LARGE;
	n = strlen(value);
	if (n > p->max && p->when_long == REFUSE)
		return ERR_HEADERS_TOO_LARGE;
	copy = arena_strndup(req->arena, value, n < p->max ? n : p->max);
	if (copy == NULL)
		return ERR_HEADERS_TOO_LARGE;
	*field(req, p) = copy;
	return OK;
}

/* A request id of the wrong form is replaced: it goes into headers and logs. */
static void
settle_request_id(struct request *req)
{
	size_t n = strspn(req->request_id,
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
	char *id;

	if (n >= 8 && req->request_id[n] == '\0')
		return;
	id = arena_alloc(req->arena, ID_TEXT);
	if (id != NULL)
		id_make_random(id);
	req->request_id = id != NULL ? id : "";
}

static enum err
read_length(const char *text, size_t *out)
{
	char *end;
	unsigned long long n;

	*out = 0;
	if (text == NULL || text[0] == '\0')
		return OK;
	if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 10)
		return ERR_BAD_REQUEST;
	n = strtoull(text, &end, 10);
	*out = (size_t)n;
	return OK;
}

static enum err
take_all(struct request *req, char **envp, const char **out_uri,
    const char **out_length)
{
	enum err first = OK;

	for (; *envp != NULL; envp++) {
		const char *eq = strchr(*envp, '=');
		const struct param *p;
		enum err e;
		size_t n;

		if (eq == NULL)
			continue;
		n = (size_t)(eq - *envp);
		p = find(*envp, n);
		if (p != NULL && (e = take(req, p, eq + 1)) != OK &&
		    first == OK)
			first = e;
		if (n == 11 && memcmp(*envp, "REQUEST_URI", n) == 0)
			*out_uri = eq + 1;
		if (n == 14 && memcmp(*envp, "CONTENT_LENGTH", n) == 0)
			*out_length = eq + 1;
	}
	return first;
}

enum err
front_params_read(struct request *req, char **envp, size_t *out_content_length)
{
	const char *uri = "", *length = NULL;
	enum err e, decoded;

	for (size_t i = 0; i < N_PARAMS; i++)
		*field(req, &params[i]) = "";
	req->body = "";
	req->path = "";
	e = take_all(req, envp, &uri, &length);
	settle_request_id(req);
	req->method = route_method(req->method_name);
	/* Also of what is refused: the path says how that is told. */
	decoded = route_decode_path(
	    req->arena, uri, &req->path, &req->has_encoded_slash);
	if (decoded != OK &&
	    (req->path = arena_strdup(req->arena, uri)) == NULL)
		req->path = "";
	if (e != OK)
		return e;
	e = read_length(length, out_content_length);
	if (e != OK)
		return request_fail(req, e, "Content-Length is not a number");
	return decoded;
}
