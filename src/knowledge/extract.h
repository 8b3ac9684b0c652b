/*
 * Documents of other formats as text that can be cut and cited: HTML, CSV,
 * JSON, PDF, and text in whatever encoding it came. What comes out is clean
 * UTF-8 without a NUL; its headings are marked as Markdown marks them, but for
 * plain text, which stays as it is.
 *
 * Every byte is from outside: no reader recurses on it, takes more than its
 * share of time per byte, or gives more text than `max_bytes`.
 *
 * Thread: any that may wait; only PDF waits (child.h).
 */
#ifndef KNOWLEDGE_EXTRACT_H
#define KNOWLEDGE_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* The media types that are read, with a space between. */
#define EXTRACT_TYPES                                                  \
	"text/plain text/markdown text/html text/csv application/json" \
	" application/pdf"

/* How deep HTML and JSON may be nested. */
#define EXTRACT_HTML_DEPTH 512
#define EXTRACT_JSON_DEPTH 32

struct extract_ask {
	const char *p;
	size_t n;
	const char *mime_type; /* one of EXTRACT_TYPES */
	const char *charset;   /* as the upload named it; NULL: guessed */
	const char *pdftotext; /* its path; NULL or "": PDF is not read */
	long seconds;          /* for a PDF */
	size_t max_bytes;      /* of the text */
};

/* What came of it; each but the first is a sentence for the user. */
enum extract_end {
	EXTRACT_OK,
	EXTRACT_EMPTY,
	EXTRACT_TOO_LARGE,
	EXTRACT_CHARSET,
	EXTRACT_HTML_DEEP,
	EXTRACT_CSV_WIDE,
	EXTRACT_CSV_OPEN,
	EXTRACT_JSON_BROKEN,
	EXTRACT_PDF_OFF,
	EXTRACT_PDF_ENCRYPTED,
	EXTRACT_PDF_BROKEN,
	EXTRACT_PDF_SCANNED,
	EXTRACT_PDF_SLOW,
	EXTRACT_PDF_HUGE,
	EXTRACT_NO_ROOM, /* of the server's; not the file's fault */
	EXTRACT__MAX
};

struct extracted {
	struct buf text;
	struct buf title; /* the document's own; empty without one */
};

/* The caller frees the buffers in any case (extracted_free). */
enum extract_end extract(const struct extract_ask *ask, struct extracted *out);

void extracted_free(struct extracted *e);

/* What was wrong with the file, as a sentence. */
const char *extract_why(enum extract_end end);

/* The media type of a file's name, by its ending; NULL: none that is read. */
const char *extract_type_of(const char *filename);

/* Does a text of this media type have headings marked? */
bool extract_is_marked(const char *mime_type);

/* The readers; `p` is clean UTF-8, but for a PDF. */
enum extract_end html_extract(const char *p, size_t n, struct extracted *out);
enum extract_end csv_extract(const char *p, size_t n, struct extracted *out);
enum extract_end json_extract(const char *p, size_t n, struct extracted *out);
enum extract_end
pdf_extract(const struct extract_ask *ask, struct extracted *out);

/* pdf.c: the pages that pdftotext gave, a form feed after each. */
enum extract_end pdf_pages(const char *p, size_t n, struct extracted *out);

/* charset.c: the text as clean UTF-8 without a byte order mark. */
enum extract_end charset_decode(const struct extract_ask *ask, struct buf *out);

#endif
