/*
 * The walk over a JSON text that json_scan.h describes. Owns nothing; knows
 * JSON's grammar and nothing of what models say in it.
 */
#include <stdlib.h>
#include <string.h>

#include "model/json_scan.h"

#define REPLACEMENT 0xfffd

static bool
fail(struct json_scan *s)
{
	s->has_failed = true;
	s->p = s->end;
	return false;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Steps over one character that must come. */
static bool
take(struct json_scan *s, char c)
{
	if (json_scan_peek(s) != c || s->p == s->end)
		return fail(s);
	s->p++;
	return true;
}

/* Steps to the next item of the container that `closing` ends. */
static bool
next_item(struct json_scan *s, char closing)
{
	bool is_first = s->is_at_first;

	s->is_at_first = false;
	if (json_scan_peek(s) == closing) {
		s->p++;
		return false;
	}
	if (is_first)
		return !s->has_failed;
	return take(s, ',');
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Length of the escape at `p`, the backslash included; 0 for a wrong one. */
static size_t
escape_length(const char *p, const char *end)
{
	if (end - p < 2)
		return 0;
	if (p[1] != 'u')
		return strchr("\"\\/bfnrt", p[1]) != NULL && p[1] ? 2 : 0;
	if (end - p < 6)
		return 0;
	for (int i = 2; i < 6; i++) {
		if (hex_digit(p[i]) < 0)
			return 0;
	}
	return 6;
}

/* Has any of the eight bytes the value `c`? (a zero byte after the xor) */
static uint64_t
has_byte(uint64_t eight, unsigned char c)
{
	const uint64_t ones = 0x0101010101010101u;

	eight ^= ones * c;
	return (eight - ones) & ~eight & (ones << 7);
}

/* The first quote or backslash from `p` on, or the end. */
static const char *
find_special(const char *p, const char *end)
{
	uint64_t eight;

	for (; end - p >= 8; p += 8) {
		memcpy(&eight, p, 8);
		if ((has_byte(eight, '"') | has_byte(eight, '\\')) != 0)
			break;
	}
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

static bool
take_string(struct json_scan *s, struct json_span *out_inside)
{
	const char *p, *begin;
	size_t n;

	if (!take(s, '"'))
		return false;
	begin = p = s->p;
	for (;;) {
		p = find_special(p, s->end);
		if (p == s->end)
			return fail(s);
		if (*p == '"')
			break;
		n = escape_length(p, s->end);
		if (n == 0)
			return fail(s);
		p += n;
	}
	out_inside->p = begin;
	out_inside->n = (size_t)(p - begin);
	s->p = p + 1;
	return true;
}

static bool
take_word(struct json_scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return fail(s);
	s->p += n;
	return true;
}

static bool
is_number_char(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' ||
	       c == 'e' || c == 'E';
}

/* Steps over a value that is no container. */
static bool
take_scalar(struct json_scan *s)
{
	struct json_span ignored;
	char c = json_scan_peek(s);

	switch (c) {
	case '"':
		return take_string(s, &ignored);
	case 't':
		return take_word(s, "true");
	case 'f':
		return take_word(s, "false");
	case 'n':
		return take_word(s, "null");
	default:
		if (c != '-' && (c < '0' || c > '9'))
			return fail(s);
		while (s->p < s->end && is_number_char(*s->p))
			s->p++;
		return true;
	}
}

void
json_scan_init(struct json_scan *s, const char *p, size_t n)
{
	*s = (struct json_scan){.p = p, .end = p + n};
}

char
json_scan_peek(struct json_scan *s)
{
	while (s->p < s->end && is_space(*s->p))
		s->p++;
	if (s->p == s->end)
		return '\0';
	return *s->p;
}

bool
json_scan_enter(struct json_scan *s, char opening)
{
	if (json_scan_peek(s) != opening)
		return false;
	s->p++;
	s->is_at_first = true;
	return true;
}

bool
json_scan_member(struct json_scan *s, struct json_span *out_name)
{
	return next_item(s, '}') && take_string(s, out_name) && take(s, ':');
}

bool
json_scan_element(struct json_scan *s)
{
	return next_item(s, ']');
}

/* The kinds of the open containers are the bits of `objects`, 1 = object. */
bool
json_scan_value(struct json_scan *s, struct json_span *out_value)
{
	struct json_span name;
	uint64_t objects = 0;
	int depth = 0;
	char c = json_scan_peek(s);
	const char *begin = s->p;

	do {
		if (c == '{' || c == '[') {
			if (++depth > JSON_SCAN_DEPTH)
				return fail(s);
			objects = objects << 1 | (c == '{');
			json_scan_enter(s, c);
		} else if (!take_scalar(s)) {
			return false;
		}
		while (depth > 0 &&
		       !((objects & 1) != 0 ? json_scan_member(s, &name)
					    : json_scan_element(s))) {
			if (s->has_failed)
				return false;
			objects >>= 1;
			depth--;
		}
		if (depth > 0)
			c = json_scan_peek(s);
	} while (depth > 0);
	out_value->p = begin;
	out_value->n = (size_t)(s->p - begin);
	return true;
}

struct json_span
json_scan_string(struct json_scan *s)
{
	struct json_span span = {NULL, 0}, ignored;

	if (json_scan_peek(s) != '"') {
		(void)json_scan_value(s, &ignored);
		return span;
	}
	(void)take_string(s, &span);
	return span;
}

int64_t
json_scan_count(struct json_scan *s, int64_t max)
{
	struct json_span span;
	char digits[32], *end;
	double number;

	if (!json_scan_value(s, &span) || span.n >= sizeof(digits))
		return -1;
	memcpy(digits, span.p, span.n);
	digits[span.n] = '\0';
	number = strtod(digits, &end);
	if (end == digits || *end != '\0' || !(number >= 0) ||
	    number > (double)max || number != (double)(int64_t)number)
		return -1;
	return (int64_t)number;
}

bool
json_scan_end(struct json_scan *s)
{
	return json_scan_peek(s) == '\0' && s->p == s->end && !s->has_failed;
}

bool
json_scan_is_whole(const char *p, size_t n)
{
	struct json_span value;
	struct json_scan s;

	json_scan_init(&s, p, n);
	return json_scan_value(&s, &value) && json_scan_end(&s);
}

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

bool
json_strings_next(struct json_strings *s)
{
	const struct json_span none = {NULL, 0};
	const struct json_span name = s->is_name ? s->inside : none;
	size_t left = (size_t)(s->end - s->p);
	const char *at = left > 0 ? memchr(s->p, '"', left) : NULL, *p;

	if (at == NULL)
		return false;
	s->name = skip_space(s->p, at) == at ? name : none;
	p = find_special(++at, s->end);
	while (s->end - p >= 2 && *p == '\\')
		p = find_special(p + 2, s->end);
	s->inside = (struct json_span){at, (size_t)(p - at)};
	s->p = p + (p < s->end);
	at = skip_space(s->p, s->end);
	s->is_name = at < s->end && *at == ':';
	if (s->is_name)
		s->p = at + 1;
	return true;
}

static size_t
put_utf8(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* The UTF-16 unit that the escape at *p stands for. */
static uint16_t
escaped_unit(const char **p)
{
	static const char letters[] = "bfnrt", units[] = "\b\f\n\r\t";
	const char *at;
	unsigned unit = 0;
	char c = (*p)[1];

	if (c == 'u') {
		for (int i = 2; i < 6; i++)
			unit = unit << 4 | ((unsigned)hex_digit((*p)[i]) & 0xf);
		*p += 6;
		return (uint16_t)unit;
	}
	*p += 2;
	at = strchr(letters, c);
	return (uint16_t)(at != NULL ? units[at - letters] : c);
}

size_t
json_unescape_flush(uint16_t *high, char *out)
{
	if (*high == 0)
		return 0;
	*high = 0;
	return put_utf8(REPLACEMENT, out);
}

size_t
json_unescape(const char **p, uint16_t *high, char *out)
{
	uint32_t c = escaped_unit(p);
	size_t n;

	if (*high != 0 && c >= 0xdc00 && c <= 0xdfff) {
		c = 0x10000 + ((uint32_t)(*high - 0xd800) << 10) + (c - 0xdc00);
		*high = 0;
		return put_utf8(c, out);
	}
	n = json_unescape_flush(high, out);
	if (c >= 0xd800 && c <= 0xdbff) {
		*high = (uint16_t)c;
		return n;
	}
	if (c >= 0xdc00 && c <= 0xdfff)
		c = REPLACEMENT;
	return n + put_utf8(c, out + n);
}

size_t
json_span_decode(struct json_span span, char *out, size_t room)
{
	const char *p = span.p, *end = span.p + span.n;
	uint16_t high = 0;
	size_t n = 0;

	while (p < end && n + JSON_UNESCAPE_MAX <= room) {
		if (*p == '\\') {
			n += json_unescape(&p, &high, out + n);
			continue;
		}
		n += json_unescape_flush(&high, out + n);
		out[n++] = *p++;
	}
	return n + (high != 0 ? json_unescape_flush(&high, out + n) : 0);
}
