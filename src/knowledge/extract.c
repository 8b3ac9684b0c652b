/*
 * Which reader reads what. Must not know how any of them does it.
 */
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "knowledge/extract.h"

struct format {
	const char *mime_type;
	const char *endings; /* a space before and after each */
	enum extract_end (*read)(const char *, size_t, struct extracted *);
	bool is_marked;
};

static enum extract_end
take_as_is(const char *p, size_t n, struct extracted *out)
{
	buf_add(&out->text, p, n);
	return EXTRACT_OK;
}

static const struct format formats[] = {
    {"text/plain", " txt text log ", take_as_is, false},
    {"text/markdown", " md markdown mdown ", take_as_is, true},
    {"text/html", " html htm xhtml ", html_extract, true},
    {"text/csv", " csv tsv ", csv_extract, true},
    {"application/json", " json ", json_extract, true},
    {"application/pdf", " pdf ", NULL, true},
};

static const char *const sentences[EXTRACT__MAX] = {
    [EXTRACT_OK] = "",
    [EXTRACT_EMPTY] = "There is no text in it.",
    [EXTRACT_TOO_LARGE] = "Its text is longer than CHAT_DOCUMENT_MAX_BYTES.",
    [EXTRACT_CHARSET] = "Its character set is not known here.",
    [EXTRACT_HTML_DEEP] = "Its elements are nested too deeply (512).",
    [EXTRACT_CSV_WIDE] = "It has a row of more than 1000 cells.",
    [EXTRACT_CSV_OPEN] = "A quoted cell does not end.",
    [EXTRACT_JSON_BROKEN] =
	"It is not JSON, or nested more than 32 levels deep.",
    [EXTRACT_PDF_OFF] = "This server reads no PDF.",
    [EXTRACT_PDF_ENCRYPTED] = "The PDF asks for a password.",
    [EXTRACT_PDF_BROKEN] = "It is not a PDF, or a broken one.",
    [EXTRACT_PDF_SCANNED] =
	"The PDF holds no text, only pictures of its pages (a scan).",
    [EXTRACT_PDF_SLOW] = "Reading the PDF takes too long.",
    [EXTRACT_PDF_HUGE] = "Reading the PDF takes too much memory.",
    [EXTRACT_NO_ROOM] = "The server has no room for it now.",
};

const char *
extract_why(enum extract_end end)
{
	return sentences[end];
}

static const struct format *
find(const char *mime_type)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (!strcmp(formats[i].mime_type, mime_type))
			return &formats[i];
	return NULL;
}

bool
extract_is_marked(const char *mime_type)
{
	const struct format *f = find(mime_type);
	return f && f->is_marked;
}

const char *
extract_type_of(const char *filename)
{
	const char *dot = filename ? strrchr(filename, '.') : NULL;
	size_t n = dot ? strlen(dot + 1) : 0;

	for (size_t i = 0; n > 0 && i < sizeof(formats) / sizeof(*formats);
	     i++) {
		const char *at = formats[i].endings;
		while (*++at) {
			size_t len = strcspn(at, " ");
			if (len == n && !strncasecmp(at, dot + 1, n))
				return formats[i].mime_type;
			at += len;
		}
	}
	return NULL;
}

static bool
is_blank(const struct buf *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!strchr(" \t\r\n\f\v", b->p[i]) || !b->p[i])
			return false;
	return true;
}

enum extract_end
extract(const struct extract_ask *ask, struct extracted *out)
{
	const struct format *f = find(ask->mime_type);
	struct buf clean = {0};
	enum extract_end end;

	*out = (struct extracted){
	    .text = {.cap = ask->max_bytes}, .title = {.cap = 4096}};
	if (!f || !f->read) {
		end = pdf_extract(ask, out);
	} else {
		end = charset_decode(ask, &clean);
		if (end == EXTRACT_OK && clean.n == 0)
			end = EXTRACT_EMPTY;
		if (end == EXTRACT_OK)
			end = f->read(clean.p, clean.n, out);
		buf_free(&clean);
	}
	if (end == EXTRACT_OK && out->text.failed)
		end = EXTRACT_TOO_LARGE;
	if (end == EXTRACT_OK && is_blank(&out->text))
		end = EXTRACT_EMPTY;
	return end;
}

void
extracted_free(struct extracted *e)
{
	buf_free(&e->text);
	buf_free(&e->title);
}
