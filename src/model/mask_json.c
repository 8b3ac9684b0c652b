/*
 * Masks a JSON document string by string: an escape hides where a word begins
 * ("\n030 1234567"), so that what has any is decoded first. Strings without a
 * value are copied as they are written.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "model/json_scan.h"
#include "model/mask.h"

/* The byte behind the string whose first quotation mark is at `at`. */
static const char *
string_end(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		at += *at == '\\' && at + 1 < end;
	return at < end ? at + 1 : end;
}

static bool
is_name(const char *at, const char *end)
{
	while (at < end && strchr(" \t\r\n", *at) != NULL && *at != '\0')
		at++;
	return at < end && *at == ':';
}

/* A string with escapes, its quotation marks included. */
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
	/* A document in a string, as tools' arguments and results are. Each
	 * one inside of another has twice its escapes: few fit. */
	if (n > 0 && (*text == '{' || *text == '['))
		mask_add_json(m, text, n, &masked);
	else
		mask_add(m, text, n, &masked);
	out->failed |= masked.failed;
	if (masked.n == n && (n == 0 || memcmp(masked.p, text, n) == 0)) {
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
	/* A picture's bytes are nobody's number. */
	if (inside.n >= 5 && memcmp(inside.p, "data:", 5) == 0) {
		buf_add(out, inside.p - 1, inside.n + 2);
	} else if (inside.n > 0 && memchr(inside.p, '\\', inside.n) != NULL) {
		add_decoded(m, inside, out);
	} else {
		buf_putc(out, '"');
		mask_add(m, inside.p, inside.n, out);
		buf_putc(out, '"');
	}
}

void
mask_whole_json(struct mask *m, struct buf *list)
{
	struct buf array = {0}, out = {0};

	buf_putc(&array, '[');
	buf_add(&array, list->p, list->n);
	buf_putc(&array, ']');
	mask_add_json(m, array.p, array.n, &out);
	out.failed |= array.failed;
	if (!out.failed) {
		buf_drop(&out, 1);
		out.n--;
	}
	buf_free(&array);
	buf_free(list);
	*list = out;
}

void
mask_add_json(struct mask *m, const char *p, size_t n, struct buf *out)
{
	const char *end = p + n, *at;
	struct json_span whole;
	struct json_scan scan;

	json_scan_init(&scan, p, n);
	if (!json_scan_value(&scan, &whole) || !json_scan_end(&scan)) {
		mask_add(m, p, n, out);
		return;
	}
	while (p < end && (at = memchr(p, '"', (size_t)(end - p))) != NULL) {
		const char *behind = string_end(at, end);

		buf_add(out, p, (size_t)(at - p));
		if (is_name(behind, end))
			buf_add(out, at, (size_t)(behind - at));
		else
			add_string(m,
			    (struct json_span){
				at + 1, (size_t)(behind - at) - 2},
			    out);
		p = behind;
	}
	buf_add(out, p, (size_t)(end - p));
}
