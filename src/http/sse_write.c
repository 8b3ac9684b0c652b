/*
 * Server-sent events as bytes. A line break inside the data would end the
 * field, so each line gets a `data:` of its own, which clients join again.
 */
#include <string.h>

#include "base/buf.h"
#include "http/sse_write.h"

/* The first CR or LF of the `n` bytes at `p`, or their end. */
static const char *
line_end(const char *p, size_t n)
{
	const char *lf = memchr(p, '\n', n);
	if (lf)
		n = (size_t)(lf - p);
	const char *cr = memchr(p, '\r', n);
	return cr ? cr : p + n;
}

static void
write_data(struct buf *out, const char *data, size_t n)
{
	const char *end = data + n;
	for (;;) {
		const char *stop = line_end(data, (size_t)(end - data));
		buf_add(out, "data: ", 6);
		buf_add(out, data, (size_t)(stop - data));
		buf_putc(out, '\n');
		if (stop == end)
			return;
		data = stop + 1;
		if (*stop == '\r' && data < end && *data == '\n')
			data++;
	}
}

static void
write_head(struct buf *out, const char *id, const char *event)
{
	if (id) {
		buf_puts(out, "id: ");
		buf_puts(out, id);
		buf_putc(out, '\n');
	}
	buf_puts(out, "event: ");
	buf_puts(out, event);
	buf_putc(out, '\n');
}

void
sse_write_event(struct buf *out, const char *id, const char *event,
    const char *data, size_t n)
{
	write_head(out, id, event);
	write_data(out, n ? data : "", n);
	buf_putc(out, '\n');
}

void
sse_write_open(struct buf *out, const char *id, const char *event)
{
	write_head(out, id, event);
	buf_puts(out, "data: ");
}

void
sse_write_close(struct buf *out)
{
	buf_puts(out, "\n\n");
}

void
sse_write_data(struct buf *out, const char *data, size_t n)
{
	if (n == 0)
		return;
	write_data(out, data, n);
	buf_putc(out, '\n');
}

void
sse_write_comment(struct buf *out, const char *text)
{
	buf_add(out, ": ", 2);
	buf_add(out, text, strcspn(text, "\r\n"));
	buf_puts(out, "\n\n");
}
