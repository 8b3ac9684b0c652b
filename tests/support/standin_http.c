/*
 * The connections of the model stand-in: one libuv loop, HTTP/1.1 with
 * keep-alive and chunked bodies, HTTP/1.0 without.  Owns every connection and
 * the reply it is sending; asks the reply for bytes, the route for answers.
 *
 * Made to hold ten thousand slow streams: an idle connection holds no buffer,
 * an event costs one timer and one write, and nothing is read ahead while the
 * kernel still has bytes of ours to take.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "standin.h"
#include "base/buf.h"

enum {
	BATCH_BYTES = 16 * 1024, /* of events per write without gaps */
	HEAD_MAX = 64 * 1024,
	INPUT_MAX = 256 * 1024 * 1024, /* a body, and what is pipelined */
	BACKLOG = 4096,
};

struct conn {
	union {
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	};
	uv_timer_t timer;
	struct buf in;       /* bytes not yet made a request */
	struct reply *reply; /* owned; NULL between requests */
	unsigned writes;     /* unfinished uv_writes */
	unsigned char handles;
	bool is_closing; /* only the close callbacks are still to come */
	bool is_waiting; /* for the timer, for a gate or for ever */
	bool is_at_gate;
	bool is_last;     /* close once this answer is in the kernel */
	bool wants_reset; /* and do it with a reset */
	bool is_http10, has_head, has_continue;
};

struct pending_write {
	uv_write_t request;
	struct conn *conn;
	size_t n;
	char bytes[];
};

struct counters counters;

static http_route_fn route_request;
static uv_loop_t loop;
static uv_tcp_t listener;
static uv_pipe_t local_listener;
static uv_signal_t signals[2];
static char read_buffer[64 * 1024];
static struct buf wire, payload; /* scratch of one write */

static void run(struct conn *c);

static void
on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	if (--c->handles > 0)
		return;
	buf_free(&c->in);
	free(c);
}

static void
drop_reply(struct conn *c)
{
	if (c->reply == NULL)
		return;
	counters.streams_open -= c->reply->is_stream;
	counters.streams_completed +=
	    c->reply->is_stream && c->reply->is_complete;
	reply_free(c->reply);
	c->reply = NULL;
}

static void
conn_close(struct conn *c)
{
	if (c->is_closing)
		return;
	c->is_closing = true;
	drop_reply(c);
	counters.connections_open--;
	uv_close((uv_handle_t *)&c->timer, on_closed);
	if (!c->wants_reset || c->stream.type != UV_TCP ||
	    uv_tcp_close_reset(&c->tcp, on_closed) != 0)
		uv_close((uv_handle_t *)&c->stream, on_closed);
}

static void
hang_up(struct conn *c)
{
	if (!c->is_closing && (c->reply != NULL || c->writes > 0))
		counters.client_hangups++;
	if (c->reply != NULL)
		c->reply->is_complete = false;
	c->wants_reset = false;
	conn_close(c);
}

static void
on_written(uv_write_t *request, int status)
{
	struct pending_write *w = request->data;
	struct conn *c = w->conn;

	c->writes--;
	if (status == 0)
		counters.bytes_sent += w->n;
	free(w);
	if (status == 0)
		run(c);
	else if (status != UV_ECANCELED)
		hang_up(c);
}

static void
write_later(struct conn *c, const char *bytes, size_t n)
{
	struct pending_write *w = malloc(sizeof(*w) + n);
	uv_buf_t out;

	if (w == NULL)
		abort();
	w->conn = c;
	w->n = n;
	w->request.data = w;
	memcpy(w->bytes, bytes, n);
	out = uv_buf_init(w->bytes, (unsigned)n);
	if (uv_write(&w->request, &c->stream, &out, 1, on_written) == 0) {
		c->writes++;
		return;
	}
	free(w);
	hang_up(c);
}

/* Writes in pieces of step bytes; queues what the kernel does not take. */
static void
write_steps(struct conn *c, const struct buf *b, size_t step)
{
	size_t at = 0;

	while (at < b->n && c->writes == 0) {
		size_t n = b->n - at < step ? b->n - at : step;
		uv_buf_t out = uv_buf_init(b->p + at, (unsigned)n);
		int done = uv_try_write(&c->stream, &out, 1);

		if (done < 0 && done != UV_EAGAIN) {
			hang_up(c);
			return;
		}
		if (done <= 0)
			break;
		at += (size_t)done;
		counters.bytes_sent += (uint64_t)done;
	}
	if (at < b->n)
		write_later(c, b->p + at, b->n - at);
}

static const char *
reason(int32_t status)
{
	static const struct {
		int32_t status;
		const char *words;
	} rows[] = {
	    {200, "OK"},
	    {400, "Bad Request"},
	    {401, "Unauthorized"},
	    {404, "Not Found"},
	    {411, "Length Required"},
	    {413, "Content Too Large"},
	    {429, "Too Many Requests"},
	    {500, "Internal Server Error"},
	    {503, "Service Unavailable"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].status == status)
			return rows[i].words;
	return "Scripted";
}

/* Starts the answer in the wire buffer; the caller ends it with its framing. */
static void
put_head(struct conn *c, int32_t status, const char *type)
{
	const struct reply *r = c->reply;

	wire.n = 0;
	buf_printf(&wire,
	    "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nx-request-id: req_%llu\r\n",
	    status, reason(status), type,
	    (unsigned long long)counters.requests);
	if (r != NULL && r->status != 200 && r->script.retry_after >= 0)
		buf_printf(&wire, "Retry-After: %d\r\n", r->script.retry_after);
	if (c->is_last)
		buf_puts(&wire, "Connection: close\r\n");
}

static void
put_sized(struct conn *c, int32_t status, const struct buf *body)
{
	put_head(c, status, "application/json");
	buf_printf(&wire, "Content-Length: %zu\r\n\r\n", body->n);
	buf_add(&wire, body->p, body->n);
}

void
http_answer(struct conn *c, int32_t status, const struct buf *body)
{
	put_sized(c, status, body);
	write_steps(c, &wire, wire.n);
}

static void
on_timer(uv_timer_t *timer)
{
	struct conn *c = timer->data;

	c->is_waiting = false;
	run(c);
}

/* Calls run again at a time counted from the start of the reply. */
static void
wait_until(struct conn *c, uint64_t due_ms)
{
	uint64_t spent_ms = uv_now(&loop) - c->reply->started_ms;

	c->is_waiting = true;
	uv_timer_start(
	    &c->timer, on_timer, due_ms > spent_ms ? due_ms - spent_ms : 0, 0);
}

/* Its gaps are counted from here on: the wait is not made up for. */
static void
leave_gate(uv_handle_t *handle, void *context)
{
	struct conn *c = handle->data;

	(void)context;
	if (handle->type != UV_TIMER || c->is_closing || !c->is_at_gate)
		return;
	c->is_at_gate = false;
	c->reply->started_ms = uv_now(&loop) - reply_due_ms(c->reply);
	wait_until(c, reply_due_ms(c->reply));
}

void
http_open_gate(void)
{
	counters.gates_open++;
	uv_walk(&loop, leave_gate, NULL);
}

/* Adds the payload to the wire as one chunk, or as one for every byte. */
static void
frame_payload(const struct conn *c)
{
	size_t step = c->reply->script.split ? 1 : payload.n;

	for (size_t at = 0; at < payload.n; at += step) {
		if (!c->is_http10)
			buf_printf(&wire, "%zx\r\n", step);
		buf_add(&wire, payload.p + at, step);
		if (!c->is_http10)
			buf_puts(&wire, "\r\n");
	}
}

/* Sends head and payload; a split head goes whole, so that only SSE is cut. */
static void
send_events(struct conn *c, enum reply_next next)
{
	size_t step = c->is_http10 ? 1 : strlen("1\r\nx\r\n");
	bool is_split = c->reply->script.split != 0;
	bool is_done = next == REPLY_END || next == REPLY_CLOSE;

	wire.n = 0;
	if (!c->has_head) {
		put_head(c, 200, "text/event-stream");
		buf_puts(&wire, c->is_http10
				    ? "\r\n"
				    : "Transfer-Encoding: chunked\r\n\r\n");
		c->has_head = true;
		if (is_split) {
			write_steps(c, &wire, wire.n);
			wire.n = 0;
		}
	}
	if (c->is_closing)
		return;
	frame_payload(c);
	if (is_done && !c->is_http10)
		buf_puts(&wire, "0\r\n\r\n");
	write_steps(c, &wire, is_split ? step : wire.n);
}

static void
step_stream(struct conn *c)
{
	enum reply_next next;

	payload.n = 0;
	do
		next = reply_fill(c->reply, &payload);
	while (next == REPLY_GO && payload.n < BATCH_BYTES);
	send_events(c, next);
	if (c->is_closing)
		return;
	switch (next) {
	case REPLY_GO:
		wait_until(c, 0);
		break;
	case REPLY_WAIT:
		wait_until(c, reply_due_ms(c->reply));
		break;
	case REPLY_GATE:
		c->is_waiting = c->is_at_gate = true;
		break;
	case REPLY_STALL:
		c->is_waiting = true;
		break;
	case REPLY_CUT:
	case REPLY_CLOSE:
	case REPLY_END:
		c->is_last |= next != REPLY_END;
		c->wants_reset =
		    next == REPLY_CUT && c->reply->script.reset != 0;
		drop_reply(c);
		break;
	}
}

/* A whole JSON answer, or the half of it that cut and stall leave. */
static void
step_plain(struct conn *c)
{
	const struct script *s = &c->reply->script;
	bool is_stalled = s->stall >= 0;

	payload.n = 0;
	reply_plain(c->reply, &payload);
	put_sized(c, c->reply->status, &payload);
	if (c->reply->status == 200 && (s->cut >= 0 || is_stalled)) {
		wire.n -= payload.n / 2;
		c->is_last = s->cut >= 0;
		c->wants_reset = s->reset != 0;
		c->is_waiting = is_stalled;
	}
	write_steps(c, &wire, wire.n);
	if (!c->is_closing && !c->is_waiting)
		drop_reply(c);
}

void
http_begin(struct conn *c, struct reply *r)
{
	assert(c->reply == NULL);
	c->reply = r;
	c->has_head = false;
	if (r->status != 200)
		r->is_stream = false;
	if (r->is_stream && c->is_http10)
		c->is_last = true; /* the close is what ends the body */
	counters.streams_open += r->is_stream;
	r->started_ms = uv_now(&loop);
	if (r->script.drop)
		conn_close(c);
	else if (r->script.hang)
		c->is_waiting = true;
	else if (!r->is_stream && reply_plain_due_ms(r) > 0)
		wait_until(c, reply_plain_due_ms(r));
}

const char *
http_header(const struct request *q, const char *name, size_t *out_len)
{
	size_t len = strlen(name);
	const char *p = q->head, *end = q->head + q->head_len, *eol;

	for (; p < end; p = eol + 1) {
		eol = memchr(p, '\n', (size_t)(end - p));
		if (eol == NULL)
			return NULL;
		if ((size_t)(eol - p) <= len || p[len] != ':' ||
		    strncasecmp(p, name, len) != 0)
			continue;
		p += len + 1;
		p += strspn(p, " \t");
		*out_len = strcspn(p, "\r\n");
		return p;
	}
	return NULL;
}

static bool
header_is(const struct request *q, const char *name, const char *value)
{
	size_t len;
	const char *p = http_header(q, name, &len);

	return p != NULL && len == strlen(value) &&
	       strncasecmp(p, value, len) == 0;
}

/* Reads "METHOD path HTTP/1.x" and the headers that matter to framing. */
static bool
read_head(const struct buf *in, size_t head_len, struct request *q)
{
	const char *end = memchr(in->p, '\r', head_len), *space;
	const char *length;
	size_t len;

	*q = (struct request){.method = in->p, .head_len = head_len};
	space = memchr(in->p, ' ', (size_t)(end - in->p));
	if (space == NULL || end - space < 10)
		return false;
	q->method_len = (size_t)(space - in->p);
	q->path = space + 1;
	q->path_len = strcspn(q->path, " \r");
	q->is_http10 = strncmp(end - 8, "HTTP/1.0", 8) == 0;
	q->head = end + 2;
	q->head_len = head_len - (size_t)(q->head - in->p);
	q->body = in->p + head_len;
	q->wants_close =
	    header_is(q, "connection", "close") ||
	    (q->is_http10 && !header_is(q, "connection", "keep-alive"));
	length = http_header(q, "content-length", &len);
	q->body_len = length ? strtoul(length, NULL, 10) : 0;
	return strncmp(end - 8, "HTTP/1.", 7) == 0 && q->body_len < INPUT_MAX;
}

static void
refuse(struct conn *c, int32_t status, const char *message)
{
	struct buf body = {0};

	c->is_last = true;
	reply_error(&body, status, NULL, message);
	http_answer(c, status, &body);
	buf_free(&body);
	buf_free(&c->in);
}

static void
serve_request(struct conn *c, const struct request *q, size_t total)
{
	counters.requests++;
	c->has_continue = false;
	c->is_http10 = q->is_http10;
	c->is_last = q->wants_close;
	route_request(c, q);
	buf_drop(&c->in, total);
	if (c->in.n == 0)
		buf_free(&c->in); /* an idle connection holds no memory */
}

/* Serves a request if a whole one is there; false if more must come first. */
static bool
next_request(struct conn *c)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct request q;
	const char *end = NULL;
	size_t len, head_len;

	if (c->in.n > 0)
		end = memmem(c->in.p, c->in.n, "\r\n\r\n", 4);
	if (end == NULL && c->in.n > HEAD_MAX)
		refuse(c, 413, "head too long");
	if (end == NULL)
		return false;
	head_len = (size_t)(end - c->in.p) + 4;
	if (!read_head(&c->in, head_len, &q))
		refuse(c, 400, "not understood");
	else if (http_header(&q, "transfer-encoding", &len) != NULL)
		refuse(c, 411, "send a Content-Length");
	else if (c->in.n - head_len >= q.body_len)
		serve_request(c, &q, head_len + q.body_len);
	else if (header_is(&q, "expect", "100-continue") && !c->has_continue) {
		c->has_continue = true;
		write_later(c, go_on, strlen(go_on));
		return false;
	} else {
		return false;
	}
	return true;
}

/* Goes as far as input, clock and the kernel's send buffer allow. */
static void
run(struct conn *c)
{
	while (!c->is_closing && !c->is_waiting && c->writes == 0) {
		if (c->reply != NULL && c->reply->is_stream)
			step_stream(c);
		else if (c->reply != NULL)
			step_plain(c);
		else if (c->is_last)
			conn_close(c);
		else if (!next_request(c))
			return;
	}
}

static void
on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *out)
{
	(void)handle;
	(void)hint;
	*out = uv_buf_init(read_buffer, sizeof(read_buffer));
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
	struct conn *c = stream->data;

	if (n == 0 || c->is_closing)
		return;
	if (n < 0 || c->in.n + (size_t)n > INPUT_MAX) {
		hang_up(c);
		return;
	}
	buf_add(&c->in, bytes->base, (size_t)n);
	run(c);
}

static void
on_connection(uv_stream_t *server, int status)
{
	struct conn *c;

	if (status != 0)
		return;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		abort();
	if (server->type == UV_TCP)
		uv_tcp_init(&loop, &c->tcp);
	else
		uv_pipe_init(&loop, &c->pipe, 0);
	uv_timer_init(&loop, &c->timer);
	c->stream.data = c->timer.data = c;
	c->handles = 2;
	counters.connections_accepted++;
	counters.connections_open++;
	if (uv_accept(server, &c->stream) != 0 ||
	    (server->type == UV_TCP && uv_tcp_nodelay(&c->tcp, 1) != 0) ||
	    uv_read_start(&c->stream, on_alloc, on_read) != 0)
		conn_close(c);
}

static void
close_handle(uv_handle_t *handle, void *context)
{
	(void)context;
	if (handle->data != NULL)
		conn_close(handle->data);
	else if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void
on_signal(uv_signal_t *handle, int number)
{
	(void)handle;
	(void)number;
	uv_walk(&loop, close_handle, NULL);
}

static bool
listen_at(const char *host, int port)
{
	struct sockaddr_in address;
	int len = sizeof(address);

	if (uv_ip4_addr(host, port, &address) != 0 ||
	    uv_tcp_init(&loop, &listener) != 0 ||
	    uv_tcp_bind(&listener, (struct sockaddr *)&address, 0) != 0 ||
	    uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection) != 0 ||
	    uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &len))
		return false;
	printf("listening %s:%d\n", host, ntohs(address.sin_port));
	return fflush(stdout) == 0;
}

/* On a Unix socket, too; "" for none. One that was killed leaves its file. */
static bool
listen_on(const char *path)
{
	(void)unlink(path);
	return path[0] == '\0' ||
	       (uv_pipe_init(&loop, &local_listener, 0) == 0 &&
		   uv_pipe_bind(&local_listener, path) == 0 &&
		   uv_listen((uv_stream_t *)&local_listener, BACKLOG,
		       on_connection) == 0);
}

enum standin_err
http_serve(const char *host, int port, const char *socket, http_route_fn route)
{
	static const int numbers[] = {SIGTERM, SIGINT};

	route_request = route;
	signal(SIGPIPE, SIG_IGN);
	if (uv_loop_init(&loop) != 0 || !listen_on(socket) ||
	    !listen_at(host, port))
		return STANDIN_NO_LISTEN;
	for (size_t i = 0; i < 2; i++) {
		uv_signal_init(&loop, &signals[i]);
		uv_signal_start(&signals[i], on_signal, numbers[i]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	buf_free(&wire);
	buf_free(&payload);
	return uv_loop_close(&loop) == 0 ? STANDIN_OK : STANDIN_NO_LISTEN;
}
