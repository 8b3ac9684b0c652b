/*
 * Walking over a JSON text without building it: for a model's chunks, of which
 * a worker reads thousands a second and wants three members each. Measured on
 * a chunk of OpenAI's (326 bytes, tests/bench): json-c with one tokener takes
 * 3.1 us, the whole way from socket bytes to text with this 0.6 us, and it
 * needs no memory per stream.
 *
 * It is lenient where text would be lost for nothing: any bytes may stand in a
 * string (control characters, invalid UTF-8), a number is any run of number
 * characters, and member names are compared as written, escapes and all. The
 * structure must be right: whoever reads to the end and gets true from
 * json_scan_end has read one whole value.
 *
 * A caller enters containers that it knows; json_scan_value steps over those
 * that it does not, at most JSON_SCAN_DEPTH deep, without recursion. After
 * the first fault everything refuses.
 *
 * Ownership: spans point into the text. Thread: any; pure. Fuzzed.
 */
#ifndef MODEL_JSON_SCAN_H
#define MODEL_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_SCAN_DEPTH 60

/* A part of the text. */
struct json_span {
	const char *p; /* NULL: no such thing there */
	size_t n;
};

struct json_scan {
	const char *p;    /* the next byte */
	const char *end;  /* after the last */
	bool is_at_first; /* just inside a container: no comma is due */
	bool has_failed;  /* the text is not JSON */
};

void json_scan_init(struct json_scan *s, const char *p, size_t n);

/* The first byte of the value that comes; '\0' at the end of the text. */
char json_scan_peek(struct json_scan *s);

/* Steps into an object ('{') or array ('['); false when none comes. */
bool json_scan_enter(struct json_scan *s, char opening);

/* Steps to the next member's value; false once the object is behind. */
bool json_scan_member(struct json_scan *s, struct json_span *out_name);

/* Steps to the next element; false once the array is behind. */
bool json_scan_element(struct json_scan *s);

/* Steps over any value; the span is the value as written. */
bool json_scan_value(struct json_scan *s, struct json_span *out_value);

/* Steps over any value; a string's inside, still escaped, or a NULL span. */
struct json_span json_scan_string(struct json_scan *s);

/* Steps over any value; a whole number within [0, max], or -1. */
int64_t json_scan_count(struct json_scan *s, int64_t max);

/* Is the text at its end, without a fault? */
bool json_scan_end(struct json_scan *s);

/* Is the text one value and nothing else? */
bool json_scan_is_whole(const char *p, size_t n);

/*
 * All strings of a value that was scanned, members' names among them, in their
 * order. Zero but for `p` and `end` is one that begins.
 */
struct json_strings {
	const char *p, *end;     /* what has not been looked at */
	struct json_span inside; /* the string, as it is written */
	struct json_span name;   /* of the member whose value it is; NULL: it is
				  * an element, or a name itself */
	bool is_name;
};

/* Steps to the next one; false: there is none. */
bool json_strings_next(struct json_strings *s);

/* Is the span this text? Inline: most calls end at the length. */
static inline bool
json_span_is(struct json_span span, const char *text)
{
	return span.n == strlen(text) && span.p != NULL &&
	       memcmp(span.p, text, span.n) == 0;
}

/* Most bytes that one call of json_unescape writes. */
#define JSON_UNESCAPE_MAX 8

/*
 * Decodes the escape that *p points at (a backslash, of a string that was
 * scanned) into at most JSON_UNESCAPE_MAX bytes at `out`, moves *p behind it,
 * returns the number of bytes. The first half of a surrogate pair waits in
 * *high (0 = none) for the second; a half that stays alone becomes U+FFFD:
 * json_unescape_flush writes it before raw bytes and at the end.
 */
size_t json_unescape(const char **p, uint16_t *high, char *out);
size_t json_unescape_flush(uint16_t *high, char *out);

/*
 * Decodes the inside of a string into `out`, at most `room` bytes; returns how
 * many. NUL and invalid UTF-8 stay: text_append_clean removes them.
 */
size_t json_span_decode(struct json_span span, char *out, size_t room);

#endif
