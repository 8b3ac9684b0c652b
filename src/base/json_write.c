/*
 * JSON as text, without objects in between. Keys are ours and need no escape.
 */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/json_write.h"

/* The letter of a short escape; 0 where there is none. */
static char
short_escape(char c)
{
	switch (c) {
	case '"':
	case '\\':
		return c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return 0;
	}
}

static void
put_escape(struct buf *b, char c)
{
	char letter = short_escape(c);
	if (letter) {
		buf_putc(b, '\\');
		buf_putc(b, letter);
	} else {
		buf_printf(b, "\\u%04x", (unsigned)c);
	}
}

/* What needs no escape is copied in runs. */
static void
put_string(struct buf *b, const char *s, size_t n)
{
	const char *run = s, *end = s + n;
	buf_putc(b, '"');
	for (; s < end; s++) {
		if ((unsigned char)*s >= 0x20 && *s != '"' && *s != '\\')
			continue;
		buf_add(b, run, (size_t)(s - run));
		put_escape(b, *s);
		run = s + 1;
	}
	buf_add(b, run, (size_t)(s - run));
	buf_putc(b, '"');
}

/* Separates what comes from what stands there, and names it. */
static void
begin(struct buf *b, const char *key)
{
	char last = '{';
	if (b->n)
		last = b->p[b->n - 1];
	if (last != '{' && last != '[' && last != ':')
		buf_putc(b, ',');
	if (!key)
		return;
	buf_putc(b, '"');
	buf_puts(b, key);
	buf_puts(b, "\":");
}

void
json_write_open(struct buf *b, const char *key, char bracket)
{
	begin(b, key);
	buf_putc(b, bracket);
}

void
json_write_close(struct buf *b, char bracket)
{
	buf_putc(b, bracket);
}

void
json_write_text(struct buf *b, const char *key, const char *text)
{
	begin(b, key);
	if (text)
		put_string(b, text, strlen(text));
	else
		buf_puts(b, "null");
}

void
json_write_bytes(struct buf *b, const char *key, const char *p, size_t n)
{
	begin(b, key);
	put_string(b, p, n);
}

void
json_write_number(struct buf *b, const char *key, int64_t number)
{
	begin(b, key);
	buf_printf(b, "%" PRId64, number);
}

void
json_write_flag(struct buf *b, const char *key, bool flag)
{
	begin(b, key);
	buf_puts(b, flag ? "true" : "false");
}

/* Does it look like the pattern: '0' a digit, anything else itself? */
static bool
looks_like(const char *s, const char *pattern)
{
	for (; *pattern; s++, pattern++) {
		bool is_digit = *s >= '0' && *s <= '9';
		if (*pattern == '0' ? !is_digit : *s != *pattern)
			return false;
	}
	return true;
}

void
json_write_time(struct buf *b, const char *key, const char *time)
{
	static const char seconds[] = "0000-00-00 00:00:00";
	static const char zone[] = "+00";
	const size_t whole = sizeof(seconds) - 1;
	char digits[] = "000000";
	if (!time || !looks_like(time, seconds)) {
		json_write_text(b, key, time);
		return;
	}
	const char *rest = time + whole;
	if (*rest == '.') {
		size_t n = strspn(++rest, "0123456789");
		memcpy(digits, rest, n < 6 ? n : 6);
		rest += n;
	}
	if (strcmp(rest, zone) != 0) {
		json_write_text(b, key, time);
		return;
	}
	begin(b, key);
	buf_putc(b, '"');
	buf_add(b, time, 10);
	buf_putc(b, 'T');
	buf_add(b, time + 11, 8);
	buf_putc(b, '.');
	buf_puts(b, digits);
	buf_puts(b, "Z\"");
}

void
json_write_raw(struct buf *b, const char *key, const char *json)
{
	begin(b, key);
	buf_puts(b, json ? json : "null");
}
