/*
 * Escaping for JSON strings without building objects: the stand-in writes
 * thousands of chunks a second.
 */
#include "json_escape.h"

static void
escape_byte(struct buf *b, unsigned char byte)
{
	if (byte == '\n')
		buf_puts(b, "\\n");
	else if (byte == '"' || byte == '\\')
		buf_add(b, (char[]){'\\', (char)byte}, 2);
	else
		buf_printf(b, "\\u%04x", byte);
}

void
json_escape(struct buf *b, const char *bytes, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte >= 0x20 && byte != '"' && byte != '\\')
			continue;
		buf_add(b, bytes + from, i - from);
		escape_byte(b, byte);
		from = i + 1;
	}
	buf_add(b, bytes + from, n - from);
}
