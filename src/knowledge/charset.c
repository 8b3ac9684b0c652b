/*
 * Text of any encoding as UTF-8: what its byte order mark says, else what the
 * upload names, else what it is guessed to be: UTF-8 where it is that but for a
 * broken byte here and there, UTF-16 where every other byte is zero, what a
 * page says of itself, and at last Windows-1252, which is what unlabelled text
 * of the west is (and which nearly every byte is text in).
 *
 * Names are those of the web's Encoding Standard, in no other way: the C
 * library's converters are many, some of them have crashed or hung, and a name
 * from outside must not choose among all of them.
 */
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "knowledge/extract.h"

#define LABEL_MAX 40

/* Where a page says what it is, in bytes from its beginning. */
#define LOOK_MAX 2048

static const char utf8[] = "UTF-8";
static const char western[] = "CP1252";

/* What of ASCII says so: it is guessed what else it may be. */
static const char any[] = "";

/* Labels with a space before and after each, in lower case. */
static const struct {
	const char *labels;
	const char *charset; /* iconv's name */
} encodings[] = {
    {" utf-8 utf8 unicode-1-1-utf-8 ", utf8},
    {" us-ascii ascii ansi_x3.4-1968 ", any},
    {" iso-8859-1 iso8859-1 iso_8859-1 latin1 latin-1 l1 windows-1252"
     " cp1252 x-cp1252 ",
	western},
    {" iso-8859-2 iso8859-2 iso_8859-2 latin2 l2 ", "ISO-8859-2"},
    {" iso-8859-3 iso8859-3 iso_8859-3 latin3 l3 ", "ISO-8859-3"},
    {" iso-8859-4 iso8859-4 iso_8859-4 latin4 l4 ", "ISO-8859-4"},
    {" iso-8859-5 iso8859-5 iso_8859-5 cyrillic ", "ISO-8859-5"},
    {" iso-8859-6 iso8859-6 iso_8859-6 arabic ", "ISO-8859-6"},
    {" iso-8859-7 iso8859-7 iso_8859-7 greek ", "ISO-8859-7"},
    {" iso-8859-8 iso8859-8 iso_8859-8 iso-8859-8-i hebrew ", "ISO-8859-8"},
    {" iso-8859-9 iso8859-9 iso_8859-9 latin5 l5 windows-1254 cp1254"
     " x-cp1254 ",
	"CP1254"},
    {" iso-8859-10 iso8859-10 latin6 l6 ", "ISO-8859-10"},
    {" iso-8859-11 iso8859-11 tis-620 windows-874 ", "CP874"},
    {" iso-8859-13 iso8859-13 ", "ISO-8859-13"},
    {" iso-8859-14 iso8859-14 ", "ISO-8859-14"},
    {" iso-8859-15 iso8859-15 iso_8859-15 latin9 latin-9 l9 ", "ISO-8859-15"},
    {" iso-8859-16 ", "ISO-8859-16"},
    {" windows-1250 cp1250 x-cp1250 ", "CP1250"},
    {" windows-1251 cp1251 x-cp1251 ", "CP1251"},
    {" windows-1253 cp1253 x-cp1253 ", "CP1253"},
    {" windows-1255 cp1255 x-cp1255 ", "CP1255"},
    {" windows-1256 cp1256 x-cp1256 ", "CP1256"},
    {" windows-1257 cp1257 x-cp1257 ", "CP1257"},
    {" windows-1258 cp1258 x-cp1258 ", "CP1258"},
    {" ibm866 cp866 866 ", "IBM866"},
    {" koi8-r koi8 koi ", "KOI8-R"},
    {" koi8-u koi8-ru ", "KOI8-U"},
    {" macintosh mac x-mac-roman ", "MACINTOSH"},
    {" gb18030 gbk gb2312 gb_2312-80 chinese x-gbk ", "GB18030"},
    {" big5 big5-hkscs x-x-big5 ", "BIG5-HKSCS"},
    {" euc-jp x-euc-jp ", "EUC-JP"},
    {" iso-2022-jp ", "ISO-2022-JP"},
    {" shift_jis shift-jis sjis ms_kanji windows-31j x-sjis ", "CP932"},
    {" euc-kr korean ks_c_5601-1987 windows-949 ", "UHC"},
    {" utf-16 utf-16le unicode ucs-2 ", "UTF-16LE"},
    {" utf-16be unicodefffe ", "UTF-16BE"},
};

/* iconv's name of what is called so; NULL: not known here. */
static const char *
find(const char *label)
{
	char word[LABEL_MAX + 3];
	size_t n = strlen(label);

	if (n == 0 || n >= LABEL_MAX || strchr(label, ' '))
		return NULL;
	(void)snprintf(word, sizeof(word), " %s ", label);
	for (size_t i = 0; i < sizeof(encodings) / sizeof(*encodings); i++)
		if (strcasestr(encodings[i].labels, word))
			return encodings[i].charset;
	return NULL;
}

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && *p && strchr(" \t\r\n\f", *p))
		p++;
	return p;
}

/* Reads `= "utf-8"`. */
static bool
read_label(const char *p, const char *end, char out[static LABEL_MAX])
{
	size_t n = 0;

	p = skip_space(p, end);
	if (p == end || *p != '=')
		return false;
	p = skip_space(p + 1, end);
	p += p < end && (*p == '"' || *p == '\'');
	while (p + n < end && n < LABEL_MAX - 1 && p[n] &&
	       !strchr("\"'/> ;?\t\r\n\f", p[n]))
		n++;
	memcpy(out, p, n);
	out[n] = '\0';
	return n > 0;
}

/* What a page says of itself; NULL: nothing that is known. It was read as if
 * it was ASCII, so that UTF-16 it cannot be. */
static const char *
find_in_page(const char *p, size_t n)
{
	const char *end = p + (n < LOOK_MAX ? n : LOOK_MAX), *charset = NULL;
	bool is_xml = n > 5 && !memcmp(p, "<?xml", 5);
	char label[LABEL_MAX];

	for (; end - p > 8 && !charset; p++) {
		size_t len = !strncasecmp(p, "charset", 7)              ? 7
			     : is_xml && !strncasecmp(p, "encoding", 8) ? 8
									: 0;
		if (len > 0 && read_label(p + len, end, label))
			charset = find(label);
	}
	return charset && !strncmp(charset, "UTF-16", 6) ? utf8 : charset;
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
	    {"\xef\xbb\xbf", 3, utf8},
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

/* UTF-16 without a mark: zeros in one half of its units, none in the other. */
static const char *
guess_wide(const char *p, size_t n)
{
	size_t zeros[2] = {0}, most = n < LOOK_MAX ? n : LOOK_MAX;

	for (size_t i = 0; i < most; i++)
		zeros[i % 2] += !p[i];
	if (zeros[0] == 0 && zeros[1] * 8 > most)
		return "UTF-16LE";
	return zeros[1] == 0 && zeros[0] * 8 > most ? "UTF-16BE" : NULL;
}

/* Is it UTF-8 in which something is broken? Other encodings hardly ever make
 * its sequences. */
static bool
is_nearly_utf8(const char *p, size_t n)
{
	struct buf clean = {0};
	size_t sequences = 0, replaced = 0;

	text_append_clean(&clean, p, n);
	for (size_t i = 0; i < clean.n; i++) {
		sequences += (unsigned char)clean.p[i] >= 0xc2;
		replaced +=
		    clean.n - i >= 3 && !memcmp(clean.p + i, "\xef\xbf\xbd", 3);
	}
	buf_free(&clean);
	return sequences - replaced > replaced * 4;
}

static const char *
guess(const struct extract_ask *ask, const char *p, size_t n)
{
	bool is_page = !strcmp(ask->mime_type, "text/html");
	const char *said = is_page ? find_in_page(p, n) : NULL;
	const char *wide = NULL;

	if (text_is_clean(p, n))
		/* The one that is all ASCII on the wire. */
		return said && !strcmp(said, "ISO-2022-JP") ? said : utf8;
	if ((wide = guess_wide(p, n)))
		return wide;
	if (is_nearly_utf8(p, n))
		return utf8;
	return said && said != any ? said : western;
}

/* What iconv leaves out becomes U+FFFD. */
static enum extract_end
convert(const char *charset, const char *p, size_t n, struct buf *out)
{
	size_t unit = !strncmp(charset, "UTF-16", 6) ? 2 : 1, left = n;
	iconv_t cd = iconv_open(utf8, charset);
	char *in = (char *)(uintptr_t)p, piece[8192], *to = piece;
	size_t room = sizeof(piece);

	if (cd == (iconv_t)-1)
		return EXTRACT_CHARSET;
	while (left > 0 && !out->failed) {
		size_t before = left;
		size_t rc = iconv(cd, &in, &left, &to, &room);
		text_append_clean(out, piece, sizeof(piece) - room);
		to = piece;
		room = sizeof(piece);
		if (rc != (size_t)-1 || (errno == E2BIG && left < before))
			continue;
		size_t bad = unit < left ? unit : left;
		buf_puts(out, "\xef\xbf\xbd");
		in += bad;
		left -= bad;
	}
	/* Some keep a letter back, for the accent that may follow. */
	(void)iconv(cd, NULL, NULL, &to, &room);
	text_append_clean(out, piece, sizeof(piece) - room);
	iconv_close(cd);
	return EXTRACT_OK;
}

enum extract_end
charset_decode(const struct extract_ask *ask, struct buf *out)
{
	size_t skip;
	const char *charset = mark_of(ask->p, ask->n, &skip);
	const char *p = ask->p + skip;
	size_t n = ask->n - skip;

	if (!charset) {
		bool is_named = ask->charset && *ask->charset;
		charset = is_named ? find(ask->charset) : any;
		if (!charset)
			return EXTRACT_CHARSET;
	}
	if (charset == any)
		charset = guess(ask, p, n);
	if (charset != utf8)
		return convert(charset, p, n, out);
	text_append_clean(out, p, n);
	return EXTRACT_OK;
}
