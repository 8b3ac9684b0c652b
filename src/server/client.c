/*
 * One connection to nginx on the relay's loop. Owns the descriptor and the
 * bytes that wait; must not know what the bytes mean.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/client.h"
#include "server/fcgi_record.h"

static void watch(struct client *c);

static void
closed(uv_handle_t *handle)
{
	struct client *c = handle->data;

	c->on_closed(c);
}

static void
shut(struct client *c)
{
	if (c->state == CLIENT_CLOSED)
		return;
	c->state = CLIENT_CLOSED;
	/* libuv first: once closed, the number may be another thread's. */
	uv_close((uv_handle_t *)&c->poll, closed);
	close(c->fd);
	c->fd = -1;
	buf_free(&c->out);
}

/*
 * Writes after which whoever waits for this core has it first, which is nginx,
 * for whom they are: Redis acknowledges events by the hundred, and what comes
 * as one burst is one for nginx too, with short requests behind it. GET /me
 * beside 12,000 replies on two full cores: 13.2 ms in 99 of 100 cases instead
 * of 21.7 (changed every three seconds of one run); where the cores have time
 * left it was 5.5 and 6.1.
 */
#define TURN 32

static void
take_turns(void)
{
	static _Thread_local unsigned writes;

	if (++writes % TURN == 0)
		(void)sched_yield();
}

/* Sends what waits; false when the connection is no more. */
static bool
flush(struct client *c)
{
	while (c->sent < c->out.n) {
		ssize_t n = send(c->fd, c->out.p + c->sent, c->out.n - c->sent,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			buf_drop(&c->out, c->sent);
			c->sent = 0;
			return true;
		}
		if (n < 0) {
			c->has_vanished = true;
			shut(c);
			return false;
		}
		c->sent += (size_t)n;
		take_turns();
	}
	buf_free(&c->out);
	c->sent = 0;
	return true;
}

/* nginx sends nothing after the body: readable means gone. */
static void
read_end(struct client *c)
{
	char bin[512];
	ssize_t n = recv(c->fd, bin, sizeof(bin), MSG_DONTWAIT);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	c->has_vanished = true;
	shut(c);
}

static void
after_flush(struct client *c)
{
	if (c->state == CLIENT_ENDING && c->out.n == 0)
		shut(c);
	else if (c->state != CLIENT_CLOSED)
		watch(c);
}

static void
ready(uv_poll_t *handle, int status, int events)
{
	struct client *c = handle->data;

	if (status < 0) {
		c->has_vanished = true;
		shut(c);
		return;
	}
	if (events & (UV_READABLE | UV_DISCONNECT))
		read_end(c);
	if (c->state == CLIENT_CLOSED)
		return;
	if ((events & UV_WRITABLE) && !flush(c))
		return;
	after_flush(c);
	if ((events & UV_WRITABLE) && c->state == CLIENT_OPEN &&
	    c->out.n == 0 && c->on_drained != NULL)
		c->on_drained(c);
}

/*
 * libuv takes a descriptor that is watched anew out of epoll and puts it back:
 * two system calls, a fifth of what a piece of text cost (measured).
 */
static void
watch(struct client *c)
{
	int events = UV_READABLE | UV_DISCONNECT;

	if (c->out.n > 0)
		events |= UV_WRITABLE;
	if (events == c->watched)
		return;
	c->watched = events;
	uv_poll_start(&c->poll, events, ready);
}

int
client_open(
    struct client *c, uv_loop_t *loop, int fd, int request_id, size_t out_max)
{
	int rc;

	c->fd = fd;
	c->request_id = request_id;
	c->state = CLIENT_OPEN;
	c->out_max = out_max;
	rc = fd < 0 ? UV_EBADF : uv_poll_init(loop, &c->poll, fd);
	if (rc != 0) {
		if (fd >= 0)
			close(fd);
		c->fd = -1;
		c->state = CLIENT_CLOSED;
		return rc;
	}
	c->poll.data = c;
	c->watched = 0;
	watch(c);
	return 0;
}

/* Cuts a reader that has let too much wait; otherwise makes it wait no more
 * than one further write. */
static bool
takes_more(struct client *c)
{
	if (c->out.n - c->sent <= c->out_max)
		return true;
	c->was_cut = true;
	shut(c);
	return false;
}

static void
push(struct client *c)
{
	if (c->out.failed) {
		c->was_cut = true;
		shut(c);
	} else if (flush(c)) {
		after_flush(c);
	}
}

void
client_write(struct client *c, const void *p, size_t n)
{
	if (c->state != CLIENT_OPEN || !takes_more(c))
		return;
	fcgi_record_stdout(&c->out, c->request_id, p, n);
	push(c);
}

void
client_end(struct client *c, const void *p, size_t n)
{
	if (c->state != CLIENT_OPEN || !takes_more(c))
		return;
	c->state = CLIENT_ENDING;
	c->ended_ms = uv_now(c->poll.loop);
	fcgi_record_stdout(&c->out, c->request_id, p, n);
	fcgi_record_end(&c->out, c->request_id);
	push(c);
}

void
client_cut(struct client *c)
{
	shut(c);
}

void
client_cut_late(struct client *c, uint64_t max_ms)
{
	if (c->state != CLIENT_ENDING ||
	    uv_now(c->poll.loop) < c->ended_ms + max_ms)
		return;
	c->was_cut = true;
	shut(c);
}

bool
client_is_open(const struct client *c)
{
	return c->state == CLIENT_OPEN;
}

size_t
client_waiting(const struct client *c)
{
	return c->out.n - c->sent;
}
