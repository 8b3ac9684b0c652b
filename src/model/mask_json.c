/*
 * Masks a JSON document string by string: an escape hides where a word begins
 * ("\n030 1234567"), so that what has any is decoded first. Strings without a
 * value are copied as they are written, and so are pictures and sounds.
 *
 * A string may be a document itself, as what tools are told and answer is. In
 * those a number may be a card's, which becomes a string: a placeholder is no
 * number. Outside of them numbers are parameters.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "model/json_scan.h"
#include "model/mask.h"

/* Base64 of so many bytes is no text. */
#define BLOB_MIN 1024

/* Room for the media type of a data URL. */
#define MEDIA_MAX 128

/* Fewer digits are no card's. */
#define DIGITS_MIN 12

enum place { OUTSIDE, IN_STRING };

static bool add_document(
    struct mask *m, const char *p, size_t n, enum place place, struct buf *out);

/* JSON may write a slash with a backslash. Other escapes are a text's: numbers
 * with line feeds between them are no base64. */
static bool
is_base64(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && (isalnum((unsigned char)p[i]) || p[i] == '+' ||
			    p[i] == '/' || p[i] == '=' ||
			    (p[i] == '\\' && i + 1 < n && p[i + 1] == '/')))
		i++;
	return i == n;
}

/* A picture's or a sound's bytes are nobody's number. */
static bool
is_blob(struct json_span s)
{
	static const char mark[] = ";base64,";
	size_t most = s.n < MEDIA_MAX ? s.n : MEDIA_MAX;
	const char *at;

	if (s.n < 5 || memcmp(s.p, "data:", 5) != 0)
		return s.n >= BLOB_MIN && is_base64(s.p, s.n);
	at = memmem(s.p, most, mark, strlen(mark));
	if (at == NULL)
		return false;
	at += strlen(mark);
	return is_base64(at, s.n - (size_t)(at - s.p));
}

static bool
is_same(const struct buf *b, const char *p, size_t n)
{
	return b->n == n && (n == 0 || memcmp(b->p, p, n) == 0);
}

/* A string that has escapes, or is a document; its quotation marks included. */
static void
add_decoded(struct mask *m, struct json_span inside, struct buf *out)
{
	size_t room = inside.n + JSON_UNESCAPE_MAX, n;
	struct buf masked = {0}, again = {0};
	char *text = malloc(room);

	if (text == NULL) {
		out->failed = true;
		return;
	}
	n = json_span_decode(inside, text, room);
	/* Each one inside of another has twice its escapes: few fit. */
	if (n == 0 || (*text != '{' && *text != '[') ||
	    !add_document(m, text, n, IN_STRING, &masked))
		mask_add(m, text, n, &masked);
	out->failed |= masked.failed;
	if (is_same(&masked, text, n)) {
		buf_add(out, inside.p - 1, inside.n + 2);
	} else {
		json_write_bytes(&again, NULL, masked.p, masked.n);
		out->failed |= again.failed;
		buf_add(out, again.p, again.n);
	}
	buf_free(&masked);
	buf_free(&again);
	free(text);
}

static void
add_string(struct mask *m, struct json_span inside, struct buf *out)
{
	bool is_plain =
	    inside.n == 0 || (memchr(inside.p, '\\', inside.n) == NULL &&
				 *inside.p != '{' && *inside.p != '[');

	if (is_blob(inside)) {
		buf_add(out, inside.p - 1, inside.n + 2);
	} else if (is_plain) {
		buf_putc(out, '"');
		mask_add(m, inside.p, inside.n, out);
		buf_putc(out, '"');
	} else {
		add_decoded(m, inside, out);
	}
}

static void
add_number(struct mask *m, const char *p, size_t n, struct buf *out)
{
	struct buf masked = {0};

	if (n >= DIGITS_MIN)
		mask_add(m, p, n, &masked);
	out->failed |= masked.failed;
	if (n < DIGITS_MIN || is_same(&masked, p, n)) {
		buf_add(out, p, n);
	} else {
		buf_putc(out, '"');
		buf_add(out, masked.p, masked.n);
		buf_putc(out, '"');
	}
	buf_free(&masked);
}

static size_t
number_length(const char *p, const char *end)
{
	const char *at = p;

	while (at < end && (isalnum((unsigned char)*at) || *at == '.' ||
			       *at == '+' || *at == '-'))
		at++;
	return (size_t)(at - p);
}

/* What stands between two strings: numbers, words and brackets. */
static void
add_between(struct mask *m, const char *p, const char *end, enum place place,
    struct buf *out)
{
	while (place == IN_STRING && p < end) {
		size_t n = number_length(p, end);

		if (n > 0)
			add_number(m, p, n, out);
		else
			buf_putc(out, *p);
		p += n > 0 ? n : 1;
	}
	buf_add(out, p, (size_t)(end - p));
}

/* False: it is none, and nothing was added. */
static bool
add_document(
    struct mask *m, const char *p, size_t n, enum place place, struct buf *out)
{
	struct json_strings s = {.p = p, .end = p + n};

	if (!json_scan_is_whole(p, n))
		return false;
	while (json_strings_next(&s)) {
		add_between(m, p, s.inside.p - 1, place, out);
		if (s.is_name)
			buf_add(out, s.inside.p - 1, s.inside.n + 2);
		else
			add_string(m, s.inside, out);
		p = s.inside.p + s.inside.n + 1;
	}
	add_between(m, p, s.end, place, out);
	return true;
}

void
mask_add_json(struct mask *m, const char *p, size_t n, struct buf *out)
{
	if (!add_document(m, p, n, OUTSIDE, out))
		mask_add(m, p, n, out);
}

/* What stands in the brackets of a container. */
static void
add_inside(struct mask *m, const char brackets[2], struct json_span inside,
    struct buf *out)
{
	struct buf whole = {0}, masked = {0};

	buf_putc(&whole, brackets[0]);
	buf_add(&whole, inside.p, inside.n);
	buf_putc(&whole, brackets[1]);
	mask_add_json(m, whole.p, whole.n, &masked);
	out->failed |= whole.failed || masked.failed;
	if (!out->failed)
		buf_add(out, masked.p + 1, masked.n - 2);
	buf_free(&masked);
	buf_free(&whole);
}

void
mask_add_members(struct mask *m, const char *p, size_t n, struct buf *out)
{
	add_inside(m, "{}", (struct json_span){p, n}, out);
}

void
mask_whole_json(struct mask *m, struct buf *list)
{
	struct buf out = {0};

	add_inside(m, "[]", (struct json_span){list->p, list->n}, &out);
	buf_free(list);
	*list = out;
}
