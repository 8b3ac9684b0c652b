/*
 * Boundaries, then the few headers of a part that count.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/multipart.h"

/* Copies a value, quoted or not, without its quotes and backslashes; what has
 * no room is left out. Returns what is behind it. */
static const char *
take_value(const char *p, const char *end, char *out, size_t room)
{
	bool is_quoted = p < end && *p == '"';
	size_t used = 0;

	for (p += is_quoted; p < end; p++) {
		if (is_quoted ? *p == '"' : strchr("; \t\r", *p) != NULL)
			break;
		if (is_quoted && *p == '\\' && end - p > 1 &&
		    (p[1] == '"' || p[1] == '\\'))
			p++;
		if (used + 1 < room)
			out[used++] = *p;
	}
	out[used] = '\0';
	return p;
}

/*
 * The value of a parameter such as `; name="x"`; false: there is none. What
 * stands in another one's quotes is none.
 */
static bool
parameter(const char *line, size_t n, const char *name, char *out, size_t room)
{
	const char *p = line, *end = line + n;
	size_t len = strlen(name);

	while ((p = memchr(p, ';', (size_t)(end - p)))) {
		do
			p++;
		while (p < end && (*p == ' ' || *p == '\t'));
		const char *key = p;
		while (p < end && *p != '=' && *p != ';')
			p++;
		if (p == end || *p == ';')
			continue;
		bool is_it = (size_t)(p - key) == len &&
			     strncasecmp(key, name, len) == 0;
		char ignored[1];
		p = is_it ? take_value(p + 1, end, out, room)
			  : take_value(p + 1, end, ignored, sizeof(ignored));
		if (is_it)
			return true;
	}
	return false;
}

bool
multipart_init(
    struct multipart *m, const char *content_type, const char *p, size_t n)
{
	static const char type[] = "multipart/form-data";
	char boundary[MULTIPART_BOUNDARY_MAX + 2];

	*m = (struct multipart){.at = p, .end = p + n};
	if (strncasecmp(content_type, type, sizeof(type) - 1) != 0 ||
	    !parameter(content_type, strlen(content_type), "boundary", boundary,
		sizeof(boundary)) ||
	    !*boundary || strlen(boundary) > MULTIPART_BOUNDARY_MAX)
		return false;
	(void)snprintf(m->boundary, sizeof(m->boundary), "--%s", boundary);
	return true;
}

static bool
fail(struct multipart *m)
{
	m->has_failed = true;
	return false;
}

/* Steps behind a boundary's line; false: it was the last. */
static bool
enter_part(struct multipart *m)
{
	size_t n = strlen(m->boundary);
	size_t left = (size_t)(m->end - m->at);

	if (left < n + 2 || memcmp(m->at, m->boundary, n) != 0)
		return fail(m);
	m->at += n;
	if (memcmp(m->at, "--", 2) == 0)
		return false;
	if (memcmp(m->at, "\r\n", 2) != 0)
		return fail(m);
	m->at += 2;
	return true;
}

static bool
is_header(const char *line, size_t n, const char *name)
{
	size_t len = strlen(name);
	return n > len && strncasecmp(line, name, len) == 0 && line[len] == ':';
}

static void
take_type(const char *line, size_t n, struct multipart_part *part)
{
	const char *at = line + strlen("Content-Type:"), *end = line + n;
	while (at < end && *at == ' ')
		at++;
	(void)snprintf(
	    part->type, sizeof(part->type), "%.*s", (int)(end - at), at);
}

/* Reads the headers up to the empty line. */
static bool
read_headers(struct multipart *m, struct multipart_part *part)
{
	for (;;) {
		size_t left = (size_t)(m->end - m->at);
		const char *stop = memmem(m->at, left, "\r\n", 2);
		const char *line = m->at;
		if (!stop)
			return fail(m);
		size_t n = (size_t)(stop - line);
		m->at = stop + 2;
		if (n == 0)
			return true;
		if (is_header(line, n, "Content-Disposition")) {
			(void)parameter(
			    line, n, "name", part->name, sizeof(part->name));
			(void)parameter(line, n, "filename", part->filename,
			    sizeof(part->filename));
		} else if (is_header(line, n, "Content-Type")) {
			take_type(line, n, part);
		}
	}
}

bool
multipart_next(struct multipart *m, struct multipart_part *out_part)
{
	char edge[sizeof(m->boundary) + 2];
	const char *stop;

	memset(out_part, 0, sizeof(*out_part));
	if (m->has_failed || !enter_part(m) || !read_headers(m, out_part))
		return false;
	int n = snprintf(edge, sizeof(edge), "\r\n%s", m->boundary);
	stop = memmem(m->at, (size_t)(m->end - m->at), edge, (size_t)n);
	if (!stop)
		return fail(m);
	out_part->p = m->at;
	out_part->n = (size_t)(stop - m->at);
	m->at = stop + 2;
	return true;
}
