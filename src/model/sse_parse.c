/*
 * Server-sent events, read as WHATWG HTML 9.2 says. Lines are taken straight
 * from the bytes fed wherever they lie there whole; only a line cut by the
 * end of a feed is copied. An event that holds a line or more data than the
 * limits allow is dropped whole, up to its blank line: half of a JSON document
 * is worth nothing. Knows nothing of JSON or of models.
 */
#include <string.h>

#include "model/sse_parse.h"

#define BOM "\xef\xbb\xbf"

/* Room that an event's buffers may keep until the next event, in bytes. */
#define KEEP_MAX 4096

static void
forget(struct buf *b)
{
	if (b->room > KEEP_MAX || b->failed)
		buf_free(b);
	else
		buf_clear(b);
}

static void
begin_event(struct sse_parser *p)
{
	forget(&p->data);
	p->event[0] = '\0';
	p->has_data = false;
	p->is_skipping = false;
}

static void
skip_event(struct sse_parser *p)
{
	begin_event(p);
	p->is_skipping = true;
	p->skipped++;
}

static void
dispatch(struct sse_parser *p)
{
	if (p->has_data)
		p->on_event(
		    p->arg, p->event, p->data.n ? p->data.p : "", p->data.n);
	begin_event(p);
}

static void
add_data(struct sse_parser *p, const char *value, size_t n)
{
	if (n + (p->has_data ? 1 : 0) > p->event_max - p->data.n) {
		skip_event(p);
		return;
	}
	if (p->has_data)
		buf_putc(&p->data, '\n');
	buf_add(&p->data, value, n);
	p->has_data = true;
	if (p->data.failed)
		skip_event(p);
}

static void
name_event(struct sse_parser *p, const char *value, size_t n)
{
	if (n >= sizeof(p->event))
		n = sizeof(p->event) - 1;
	memcpy(p->event, value, n);
	p->event[n] = '\0';
}

static bool
is_field(const char *name, const char *line, size_t n)
{
	return strlen(name) == n && memcmp(name, line, n) == 0;
}

/* Takes one line that is neither blank nor too long; comments have no name. */
static void
take_field(struct sse_parser *p, const char *line, size_t n)
{
	const char *colon = memchr(line, ':', n);
	size_t n_name = colon != NULL ? (size_t)(colon - line) : n;
	const char *value = line + n;

	if (colon != NULL) {
		value = colon + 1;
		if (value < line + n && *value == ' ')
			value++;
	}
	if (is_field("data", line, n_name))
		add_data(p, value, (size_t)(line + n - value));
	else if (is_field("event", line, n_name))
		name_event(p, value, (size_t)(line + n - value));
}

static void
take_line(struct sse_parser *p, const char *line, size_t n)
{
	if (!p->has_begun) {
		p->has_begun = true;
		if (n >= strlen(BOM) && memcmp(line, BOM, strlen(BOM)) == 0) {
			line += strlen(BOM);
			n -= strlen(BOM);
		}
	}
	if (n == 0)
		dispatch(p);
	else if (!p->is_skipping && n > p->line_max)
		skip_event(p);
	else if (!p->is_skipping)
		take_field(p, line, n);
}

/* Keeps the beginning of a line whose end has not come yet. */
static void
keep_partial(struct sse_parser *p, const char *bytes, size_t n)
{
	if (!p->is_skipping) {
		if (n <= p->line_max + strlen(BOM) - p->line.n) {
			buf_add(&p->line, bytes, n);
			if (!p->line.failed)
				return;
		}
		skip_event(p);
		p->has_begun = true;
	}
	/* Of a skipped line it only matters that it is not blank. */
	forget(&p->line);
	buf_putc(&p->line, '?');
}

/* Ends the line whose last `n` bytes are at `bytes`. */
static void
end_line(struct sse_parser *p, const char *bytes, size_t n)
{
	if (p->line.n == 0) {
		take_line(p, bytes, n);
		return;
	}
	if (n > 0)
		keep_partial(p, bytes, n);
	take_line(p, p->line.p, p->line.n);
	forget(&p->line);
}

void
sse_parser_init(struct sse_parser *p, sse_event_fn fn, void *arg,
    size_t line_max, size_t event_max)
{
	*p = (struct sse_parser){
	    .on_event = fn,
	    .arg = arg,
	    .line_max = line_max,
	    .event_max = event_max,
	};
}

/*
 * The next LF and the next CR are each looked for once and remembered, so that
 * bytes full of one kind are not searched again and again for the other.
 */
void
sse_parser_feed(struct sse_parser *p, const char *bytes, size_t n)
{
	const char *end = bytes + n, *lf = bytes, *cr = bytes, *eol;

	if (n == 0)
		return;
	if (p->after_cr && *bytes == '\n')
		bytes++;
	p->after_cr = false;
	for (;;) {
		if (lf != NULL && lf <= bytes)
			lf = memchr(bytes, '\n', (size_t)(end - bytes));
		if (cr != NULL && cr <= bytes)
			cr = memchr(bytes, '\r', (size_t)(end - bytes));
		eol = lf == NULL || (cr != NULL && cr < lf) ? cr : lf;
		if (eol == NULL)
			break;
		end_line(p, bytes, (size_t)(eol - bytes));
		bytes = eol + 1;
		if (eol == cr && bytes == end)
			p->after_cr = true;
		else if (eol == cr && *bytes == '\n')
			bytes++;
	}
	if (bytes < end)
		keep_partial(p, bytes, (size_t)(end - bytes));
	/* Nothing is held between two events, of which a reply has few a
	 * second. */
	if (p->line.n == 0)
		buf_free(&p->line);
	if (!p->has_data)
		buf_free(&p->data);
}

void
sse_parser_end(struct sse_parser *p)
{
	if (p->line.n > 0)
		end_line(p, "", 0);
	dispatch(p);
	forget(&p->line);
}

void
sse_parser_free(struct sse_parser *p)
{
	buf_free(&p->line);
	buf_free(&p->data);
}
