/*
 * Uploads. A form of any bytes is walked in order and within them, and each
 * part ends where a boundary stands; what a client writes as a form is read as
 * it was meant; and whatever is uploaded, what would be stored is clean and
 * within its bounds, or a field is named that is wrong. The first byte of an
 * input chooses, its first line is the Content-Type.
 */
#include <string.h>

#include "api/upload.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/text.h"
#include "chat/document.h"
#include "fuzz.h"
#include "http/multipart.h"
#include "http/request.h"

#define FORM     "multipart/form-data; boundary=\"----edge 7\""
#define EDGE     "------edge 7"
#define MEMBERS  3 /* of a part: name, filename, what is in it */
#define BODY_MAX 4096

struct piece {
	const char *p;
	size_t n;
};

static void
check_part(const struct multipart *m, const struct multipart_part *part,
    const struct piece *body, const char *before)
{
	char edge[sizeof(m->boundary) + 2];
	size_t n = (size_t)snprintf(edge, sizeof(edge), "\r\n%s", m->boundary);
	const char *end = part->p + part->n;

	FUZZ_PROMISE(part->p >= before && end + n <= body->p + body->n);
	FUZZ_PROMISE(memcmp(end, edge, n) == 0);
	FUZZ_PROMISE(memmem(part->p, part->n, edge, n) == NULL);
	FUZZ_PROMISE(strlen(part->name) < sizeof(part->name));
	FUZZ_PROMISE(strlen(part->filename) < sizeof(part->filename));
	FUZZ_PROMISE(strlen(part->type) < sizeof(part->type));
}

static void
check_walk(const char *type, const struct piece *body)
{
	static struct multipart_part part;
	const char *before = body->p;
	struct multipart m;

	if (!multipart_init(&m, type, body->p, body->n))
		return;
	FUZZ_PROMISE(strlen(m.boundary) > 2);
	while (multipart_next(&m, &part)) {
		FUZZ_PROMISE(!m.has_failed);
		check_part(&m, &part, body, before);
		before = part.p + part.n;
	}
	FUZZ_PROMISE(!m.has_failed || !multipart_next(&m, &part));
}

/* What may stand in a line, as clients write it. */
static void
write_quoted(struct buf *out, const struct piece *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->p[i] == '"' || s->p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, s->p[i]);
	}
}

static bool
is_line(const struct piece *s, size_t max)
{
	return s->n < max && memchr(s->p, '\r', s->n) == NULL &&
	       memchr(s->p, '\n', s->n) == NULL;
}

static void
write_part(struct buf *out, const struct piece p[static MEMBERS])
{
	buf_puts(out, EDGE "\r\ncontent-disposition: form-data; filename=\"");
	write_quoted(out, &p[1]);
	buf_puts(out, "\"; name=\"");
	write_quoted(out, &p[0]);
	buf_puts(out, "\"\r\nX-Other: name=\"no\"\r\n\r\n");
	buf_add(out, p[2].p, p[2].n);
	buf_puts(out, "\r\n");
}

static void
check_meant(const struct piece p[static MEMBERS])
{
	static struct multipart_part part;
	struct buf body = {0};
	struct multipart m;

	if (!is_line(&p[0], sizeof(part.name)) ||
	    !is_line(&p[1], sizeof(part.filename)) ||
	    memmem(p[2].p, p[2].n, EDGE, strlen(EDGE)) != NULL)
		return;
	write_part(&body, p);
	write_part(&body, p);
	buf_puts(&body, EDGE "--\r\n");
	FUZZ_PROMISE(multipart_init(&m, FORM, body.p, body.n));
	for (int i = 0; i < 2; i++) {
		FUZZ_PROMISE(multipart_next(&m, &part));
		FUZZ_PROMISE(strlen(part.name) == p[0].n);
		FUZZ_PROMISE(memcmp(part.name, p[0].p, p[0].n) == 0);
		FUZZ_PROMISE(strlen(part.filename) == p[1].n);
		FUZZ_PROMISE(memcmp(part.filename, p[1].p, p[1].n) == 0);
		FUZZ_PROMISE(part.n == p[2].n);
		FUZZ_PROMISE(memcmp(part.p, p[2].p, p[2].n) == 0);
	}
	FUZZ_PROMISE(!multipart_next(&m, &part) && !m.has_failed);
	buf_free(&body);
}

static void
check_clean(const char *text, size_t max)
{
	if (text == NULL)
		return;
	FUZZ_PROMISE(text_is_clean(text, strlen(text)));
	FUZZ_PROMISE(text_length(text, strlen(text)) <= max);
}

static void
check_upload(const char *type, const struct piece *body)
{
	static struct config config = {
	    .document_max_bytes = BODY_MAX, .pdftotext = ""};
	struct services services = {.config = &config};
	struct arena *a = arena_new(1 << 20);
	struct document_change c;

	FUZZ_PROMISE(a != NULL);
	struct request req = {.arena = a,
	    .services = &services,
	    .query = "filename=a.html",
	    .content_type = type,
	    .body = arena_strndup(a, body->p, body->n),
	    .body_len = body->n};
	enum err e = upload_read(&req, &c);
	FUZZ_PROMISE(e == OK || e == ERR_INVALID_FIELD || e == ERR_MEDIA_TYPE);
	FUZZ_PROMISE((e == ERR_INVALID_FIELD) == (req.bad_field != NULL));
	check_clean(req.bad_field, 64);
	if (e == OK) {
		FUZZ_PROMISE(c.content != NULL && c.mime_type != NULL);
		check_clean(c.content, BODY_MAX);
		check_clean(c.title, DOCUMENT_TITLE_MAX);
		check_clean(c.filename, DOCUMENT_FILENAME_MAX);
		check_clean(c.metadata, DOCUMENT_METADATA_MAX);
		check_clean(c.mime_type, 64);
	}
	arena_free(a);
}

/* The next bytes up to `mark`, which is stepped over. */
static struct piece
cut(struct piece *rest, char mark)
{
	const char *at = memchr(rest->p, mark, rest->n);
	struct piece s = {
	    rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n};

	rest->p += s.n + (at != NULL);
	rest->n -= s.n + (at != NULL);
	return s;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct piece rest, members[MEMBERS];
	char type[256];

	if (size == 0)
		return 0;
	rest = (struct piece){(const char *)data + 1, size - 1};
	if (data[0] % 2 == 0) {
		for (int i = 0; i < MEMBERS; i++)
			members[i] = cut(&rest, '\0');
		members[2].n += rest.n + (rest.n > 0);
		check_meant(members);
		return 0;
	}
	members[0] = cut(&rest, '\n');
	(void)snprintf(
	    type, sizeof(type), "%.*s", (int)members[0].n, members[0].p);
	check_walk(type, &rest);
	check_upload(type, &rest);
	return 0;
}
