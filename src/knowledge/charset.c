/*
 * Text of any encoding as UTF-8: what the upload names, else what its first
 * bytes say, else UTF-8 where it is that, else Windows-1252, which is what
 * unlabelled text of the west is (and which every byte is text in).
 */
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "knowledge/extract.h"

#define CHARSET_MAX 40

/* The charset that a page names within its first bytes. */
static bool
find_in_page(const char *p, size_t n, char out[static CHARSET_MAX])
{
	static const char word[] = "charset=";
	size_t most = n < 2048 ? n : 2048;

	for (size_t i = 0; i + sizeof(word) < most; i++) {
		if (strncasecmp(p + i, word, sizeof(word) - 1) != 0)
			continue;
		i += sizeof(word) - 1;
		i += p[i] == '"' || p[i] == '\'';
		size_t len = 0;
		while (i + len < most && len < CHARSET_MAX - 1 && p[i + len] &&
		       !strchr("\"'/> ;\t\r\n", p[i + len]))
			len++;
		memcpy(out, p + i, len);
		out[len] = '\0';
		return len > 0;
	}
	return false;
}

/* A byte order mark's encoding, and its length. */
static const char *
mark_of(const char *p, size_t n, size_t *out_len)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *charset;
	} marks[] = {
	    {"\xef\xbb\xbf", 3, "UTF-8"},
	    {"\xff\xfe", 2, "UTF-16LE"},
	    {"\xfe\xff", 2, "UTF-16BE"},
	};
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		if (n >= marks[i].n && !memcmp(p, marks[i].bytes, marks[i].n)) {
			*out_len = marks[i].n;
			return marks[i].charset;
		}
	}
	*out_len = 0;
	return NULL;
}

/* What iconv leaves out becomes U+FFFD. */
static enum extract_end
convert(const char *charset, const char *p, size_t n, struct buf *out)
{
	iconv_t cd = iconv_open("UTF-8", charset);
	char *in = (char *)(uintptr_t)p, piece[8192];
	size_t left = n;

	if (cd == (iconv_t)-1)
		return EXTRACT_CHARSET;
	while (left > 0 && !out->failed) {
		char *to = piece;
		size_t room = sizeof(piece), before = left;
		size_t rc = iconv(cd, &in, &left, &to, &room);
		text_append_clean(out, piece, sizeof(piece) - room);
		if (rc != (size_t)-1 || (errno == E2BIG && left < before))
			continue;
		buf_puts(out, "\xef\xbf\xbd");
		in++;
		left--;
	}
	iconv_close(cd);
	return EXTRACT_OK;
}

enum extract_end
charset_decode(const struct extract_ask *ask, struct buf *out)
{
	char found[CHARSET_MAX];
	size_t skip;
	const char *charset = mark_of(ask->p, ask->n, &skip);
	const char *p = ask->p + skip;
	size_t n = ask->n - skip;

	if (!charset)
		charset = ask->charset;
	if (!charset && !text_is_clean(p, n)) {
		bool is_page = !strcmp(ask->mime_type, "text/html");
		charset =
		    is_page && find_in_page(p, n, found) ? found : "CP1252";
	}
	if (!charset || !strcasecmp(charset, "utf-8") ||
	    !strcasecmp(charset, "utf8") || !strcasecmp(charset, "us-ascii")) {
		text_append_clean(out, p, n);
		return EXTRACT_OK;
	}
	return convert(charset, p, n, out);
}
