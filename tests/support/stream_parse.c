/*
 * The response reader of stream_load: status, headers, chunks, SSE fields.
 * Understands Natter's named events, and OpenAI's unnamed ones well enough to
 * measure a model directly.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "stream_parse.h"

struct slice {
	const char *p;
	size_t n;
};

struct sink {
	event_fn event;
	void *context;
};

static bool
has_prefix(struct slice s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.n >= n && strncasecmp(s.p, prefix, n) == 0;
}

/* Takes a line off the input; keeps what is unfinished in part. */
static bool
take_line(struct buf *part, struct slice *in, struct slice *out_line)
{
	const char *nl = memchr(in->p, '\n', in->n);
	size_t n = nl == NULL ? in->n : (size_t)(nl - in->p);

	*out_line = (struct slice){in->p, n};
	if (nl == NULL || part->n > 0) {
		buf_add(part, in->p, n);
		*out_line = (struct slice){part->p, part->n};
	}
	in->p += n + (nl != NULL);
	in->n -= n + (nl != NULL);
	if (nl == NULL)
		return false;
	part->n = 0;
	if (out_line->n > 0 && out_line->p[out_line->n - 1] == '\r')
		out_line->n--;
	return true;
}

static enum event_kind
kind_of(struct slice name)
{
	static const struct {
		const char *name;
		enum event_kind kind;
	} rows[] = {
	    {"start", EVENT_START},
	    {"delta", EVENT_DELTA},
	    {"done", EVENT_DONE},
	    {"error", EVENT_ERROR},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (name.n == strlen(rows[i].name) &&
		    memcmp(name.p, rows[i].name, name.n) == 0)
			return rows[i].kind;
	return EVENT_OTHER;
}

/* An unnamed event is OpenAI's; its data says what it is. */
static enum event_kind
kind_of_data(const struct buf *data)
{
	static const char content[] = "\"content\":\"";
	const char *p = strstr(data->p, content);

	if (strcmp(data->p, "[DONE]") == 0)
		return EVENT_DONE;
	if (strncmp(data->p, "{\"error\"", 8) == 0)
		return EVENT_ERROR;
	if (p != NULL && p[strlen(content)] != '"')
		return EVENT_DELTA;
	return EVENT_OTHER;
}

static void
end_event(struct response *r, const struct sink *sink)
{
	if (r->data.n > 0) {
		r->data.n--; /* the line end after the last data line */
		(void)buf_text(&r->data);
		if (!r->is_named)
			r->kind = kind_of_data(&r->data);
		sink->event(sink->context, r->kind, &r->data);
	}
	r->data.n = 0;
	r->is_named = false;
	r->kind = EVENT_OTHER;
}

static void
read_field(struct response *r, struct slice line, const struct sink *sink)
{
	const char *colon;
	struct slice value = {0};

	if (line.n == 0) {
		end_event(r, sink);
		return;
	}
	colon = memchr(line.p, ':', line.n);
	if (colon == NULL || colon == line.p)
		return;
	value.p = colon + 1;
	value.n = line.n - (size_t)(value.p - line.p);
	if (value.n > 0 && *value.p == ' ')
		value = (struct slice){value.p + 1, value.n - 1};
	if (has_prefix(line, "data:")) {
		buf_add(&r->data, value.p, value.n);
		buf_puts(&r->data, "\n");
	} else if (has_prefix(line, "event:")) {
		r->is_named = true;
		r->kind = kind_of(value);
	}
}

static void
read_body(struct response *r, struct slice body, const struct sink *sink)
{
	struct slice line;

	while (r->is_sse && body.n > 0)
		if (take_line(&r->sse, &body, &line))
			read_field(r, line, sink);
}

static void
read_header(struct response *r, struct slice line)
{
	if (line.n == 0) {
		r->state = r->is_chunked ? AT_CHUNK_SIZE : AT_REST;
		if (r->left == 0)
			r->state = AT_END;
	} else if (has_prefix(line, "content-length:")) {
		r->left = strtoul(line.p + strlen("content-length:"), NULL, 10);
	} else if (has_prefix(line, "transfer-encoding: chunked")) {
		r->is_chunked = true;
	} else if (has_prefix(line, "content-type: text/event-stream")) {
		r->is_sse = true;
	}
}

static void
read_line(struct response *r, struct slice line)
{
	switch (r->state) {
	case AT_STATUS:
		r->status = line.n > 9 ? (int)strtol(line.p + 9, NULL, 10) : -1;
		r->left = SIZE_MAX;
		r->state = AT_HEADER;
		break;
	case AT_HEADER:
		read_header(r, line);
		break;
	case AT_CHUNK_SIZE:
		r->left = strtoul(line.p, NULL, 16);
		r->state = r->left > 0 ? AT_CHUNK : AT_TRAILER;
		break;
	case AT_CHUNK_END:
		r->state = AT_CHUNK_SIZE;
		break;
	default: /* AT_TRAILER */
		if (line.n == 0)
			r->state = AT_END;
		break;
	}
}

void
response_feed(
    struct response *r, const char *p, size_t n, event_fn event, void *context)
{
	struct sink sink = {event, context};
	struct slice in = {p, n}, line;

	while (in.n > 0 && r->state != AT_END) {
		if (r->state != AT_CHUNK && r->state != AT_REST) {
			if (take_line(&r->line, &in, &line))
				read_line(r, line);
			continue;
		}
		n = in.n < r->left ? in.n : r->left;
		read_body(r, (struct slice){in.p, n}, &sink);
		in = (struct slice){in.p + n, in.n - n};
		r->left -= n;
		if (r->left == 0)
			r->state = r->state == AT_CHUNK ? AT_CHUNK_END : AT_END;
	}
}

void
response_free(struct response *r)
{
	buf_free(&r->line);
	buf_free(&r->sse);
	buf_free(&r->data);
}
