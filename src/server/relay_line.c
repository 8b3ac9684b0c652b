/*
 * The line: dialing, writing, reading, dropping. Owns the descriptor, the
 * parser and the bytes that wait.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "server/relay_line.h"
#include "store/redis.h"

/* Between two attempts to connect, in ms; a quarter more or less. */
#define REDIAL_MS 500

/* The most bytes that wait to be written. A Redis that takes commands at all
 * never lets so much wait for CHAT_REDIS_TIMEOUT. */
#define OUT_MAX ((size_t)64 << 20)

/* Room that an empty buffer keeps. */
#define OUT_KEPT ((size_t)256 << 10)

/* Read at once, and how often while there is more: one loop's iteration may
 * bring the answers of thousands of streams, but others wait too. */
#define READ_BYTES (16 * 1024)
#define READS_MAX  64

/*
 * While an answer is awaited the line looks for it so many times within
 * CHAT_REDIS_TIMEOUT. Its clock counts looks, not time: between two of them the
 * loop has written what waited and polled, so that a loop that is late (a
 * thousand other callbacks came first, or the process was stopped) finds Redis
 * no later than itself.
 */
#define LOOKS 5

/* A question is given up after so many times CHAT_REDIS_TIMEOUT, however busy
 * Redis is with others. */
#define BUSY_TIMEOUTS 10

static void timer_fired(uv_timer_t *timer);
static void ready(uv_poll_t *handle, int status, int events);

static uint64_t
timeout_ms(const struct relay_line *l)
{
	return (uint64_t)l->config->redis_timeout_ms;
}

/* Does Redis take writes, and this one from us? A stream that is not there is
 * not made. */
static enum err
prove(struct redis_wire *w, uint64_t deadline_ms)
{
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = {
	    "XADD", "reply:none", "NOMKSTREAM", "1-0", "t", ""};
	enum err e = redis_wire_ask(
	    w, (struct redis_words){6, words, NULL}, deadline_ms, &reply);

	if (e != OK || reply->type == REDIS_REPLY_NIL)
		return e;
	snprintf(w->why, sizeof(w->why), "%s",
	    reply->type == REDIS_REPLY_ERROR ? reply->str
					     : "reply:none is not ours");
	redis_wire_close(w);
	return ERR_UNAVAILABLE;
}

/* In a thread of libuv's: `wire` and `dialed` are all it touches. */
static void
dial(uv_work_t *work)
{
	struct relay_line *l = work->data;
	uint64_t deadline_ms = clock_mono_ms() + timeout_ms(l);
	struct redis_address address;

	l->dialed = redis_address_parse(l->config->redis_url, &address);
	if (l->dialed != OK)
		return;
	l->dialed = redis_wire_open(&l->wire, &address, deadline_ms);
	if (l->dialed == OK)
		l->dialed = prove(&l->wire, deadline_ms);
	redis_address_clear(&address);
}

static void
handle_closed(struct relay_line *l)
{
	l->handles--;
	if (l->handles > 0 || !l->is_shutting)
		return;
	l->state = LINE_SHUT;
	buf_free(&l->out);
	l->on_shut(l);
}

static void
timer_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

static void
redial_later(struct relay_line *l)
{
	uint64_t jitter = clock_mono_us() % (REDIAL_MS / 2);

	l->state = LINE_DOWN;
	if (!l->is_shutting)
		uv_timer_start(
		    &l->timer, timer_fired, REDIAL_MS * 3 / 4 + jitter, 0);
}

/* What was put is not answered any more. */
static void
forget_questions(struct relay_line *l, const char *why)
{
	buf_free(&l->out);
	l->sent = 0;
	l->since = 0;
	l->on_drop(l, why);
}

static void
open_now(struct relay_line *l)
{
	int rc = uv_poll_init(l->loop, &l->poll, l->wire.fd);

	if (rc != 0) {
		redis_wire_close(&l->wire);
		forget_questions(l, uv_strerror(rc));
		redial_later(l);
		return;
	}
	l->poll.data = l;
	l->handles++;
	l->state = LINE_OPEN;
	l->opened_ms = uv_now(l->loop);
	l->heard = l->looks;
	l->wants_write = false;
	uv_poll_start(&l->poll, UV_READABLE, ready);
	relay_line_expect(l, l->since);
	l->on_open(l);
}

static void
dial_ended(uv_work_t *work, int status)
{
	struct relay_line *l = work->data;

	(void)status; /* cancelled only by relay_line_shut */
	if (l->is_shutting) {
		redis_wire_close(&l->wire);
		l->state = LINE_DOWN;
		handle_closed(l);
		return;
	}
	l->handles--;
	if (l->dialed == OK) {
		open_now(l);
	} else {
		forget_questions(l, l->wire.why);
		redial_later(l);
	}
}

static void
start_dial(struct relay_line *l)
{
	l->state = LINE_DIALING;
	l->dial.data = l;
	l->handles++;
	if (uv_queue_work(l->loop, &l->dial, dial, dial_ended) != 0) {
		l->handles--;
		redial_later(l);
	} else {
		relay_line_expect(l, l->since);
	}
}

static void
poll_closed(uv_handle_t *handle)
{
	struct relay_line *l = handle->data;

	l->state = LINE_DOWN;
	/* The first attempt is made at once: a restart is soon over. But not
	 * again and again where connections never last. */
	if (uv_now(l->loop) - l->opened_ms < REDIAL_MS)
		redial_later(l);
	else if (!l->is_shutting)
		start_dial(l);
	handle_closed(l);
}

static void
hang_up(struct relay_line *l)
{
	l->state = LINE_CLOSING;
	uv_timer_stop(&l->timer);
	/* libuv first: once closed, the number may be another thread's. */
	uv_close((uv_handle_t *)&l->poll, poll_closed);
	redis_wire_close(&l->wire);
}

void
relay_line_drop(struct relay_line *l, const char *why)
{
	if (l->state == LINE_OPEN)
		hang_up(l);
	forget_questions(l, why);
}

static void
watch(struct relay_line *l)
{
	uv_poll_start(&l->poll,
	    l->wants_write ? UV_READABLE | UV_WRITABLE : UV_READABLE, ready);
}

void
relay_line_flush(struct relay_line *l)
{
	if (l->state != LINE_OPEN || l->out.n == 0)
		return;
	while (l->sent < l->out.n) {
		ssize_t n = send(l->wire.fd, l->out.p + l->sent,
		    l->out.n - l->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			relay_line_drop(l, strerror(errno));
			return;
		}
		if (n < 0)
			break;
		l->sent += (size_t)n;
	}
	if ((l->sent < l->out.n) != l->wants_write) {
		l->wants_write = l->sent < l->out.n;
		watch(l);
	}
	buf_drop(&l->out, l->sent);
	l->sent = 0;
	if (l->out.n == 0 && l->out.room > OUT_KEPT)
		buf_free(&l->out);
}

/* Feeds the parser with what there is; false: the line is lost, and *out_why
 * says how. */
static bool
read_bytes(struct relay_line *l, size_t *out_n, const char **out_why)
{
	char bytes[READ_BYTES];
	ssize_t n = recv(l->wire.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	*out_n = n > 0 ? (size_t)n : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	l->heard = l->looks;
	if (n < 0)
		*out_why = strerror(errno);
	else if (n == 0)
		*out_why = "the server closed the connection";
	else if (redisReaderFeed(l->wire.reader, bytes, (size_t)n) != REDIS_OK)
		*out_why = "out of memory";
	else
		return true;
	return false;
}

/* Hands on what is whole; likewise. */
static bool
read_replies(struct relay_line *l, const char **out_why)
{
	void *got = NULL;

	for (;;) {
		AUTO_REPLY redisReply *reply = NULL;

		if (redisReaderGetReply(l->wire.reader, &got) != REDIS_OK) {
			*out_why = "the answer is not Redis's protocol";
			return false;
		}
		if (got == NULL)
			return true;
		reply = got;
		if (redis_reply_is_fault(reply)) {
			snprintf(
			    l->wire.why, sizeof(l->wire.why), "%s", reply->str);
			*out_why = l->wire.why;
			return false;
		}
		l->on_reply(l, reply);
	}
}

static void
read_some(struct relay_line *l)
{
	const char *why = NULL;
	size_t n = READ_BYTES;

	for (int i = 0; i < READS_MAX && n == READ_BYTES; i++) {
		if (read_bytes(l, &n, &why) && read_replies(l, &why))
			continue;
		relay_line_drop(l, why);
		return;
	}
}

static void
ready(uv_poll_t *handle, int status, int events)
{
	struct relay_line *l = handle->data;

	if (status < 0) {
		relay_line_drop(l, uv_strerror(status));
		return;
	}
	if (events & UV_READABLE)
		read_some(l);
	if (l->state == LINE_OPEN && (events & UV_WRITABLE))
		relay_line_flush(l);
}

/*
 * Is the line to be given up? A Redis that answers others' questions meanwhile
 * is busy, not away: to leave it, and to write every log anew, would make it
 * busier.
 */
static bool
is_hopeless(const struct relay_line *l)
{
	uint64_t last = l->heard > l->since ? l->heard : l->since;

	return l->looks - last > LOOKS ||
	       l->looks - l->since > (uint64_t)LOOKS * BUSY_TIMEOUTS;
}

static void
look(struct relay_line *l)
{
	l->looks++;
	if (l->state == LINE_OPEN)
		read_some(l);
	if (l->since == 0)
		return;
	if (is_hopeless(l))
		relay_line_drop(l, "no answer in time");
	else
		relay_line_expect(l, l->since);
}

static void
timer_fired(uv_timer_t *timer)
{
	struct relay_line *l = timer->data;

	if (l->state == LINE_DOWN)
		start_dial(l);
	else
		look(l);
}

void
relay_line_expect(struct relay_line *l, uint64_t since)
{
	l->since = since;
	if (since != 0 && !uv_is_active((uv_handle_t *)&l->timer))
		uv_timer_start(
		    &l->timer, timer_fired, timeout_ms(l) / LOOKS, 0);
}

/* A dozen numbers an event: printf would be a twentieth of all that a worker
 * does for one (measured). */
static void
put_number(struct buf *out, char kind, size_t n)
{
	char text[24], *end = text + sizeof(text), *p = end;

	*--p = '\n';
	*--p = '\r';
	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	*--p = kind;
	buf_add(out, p, (size_t)(end - p));
}

static void
put_word(struct buf *out, const char *p, size_t n)
{
	put_number(out, '$', n);
	buf_add(out, p, n);
	buf_add(out, "\r\n", 2);
}

bool
relay_line_put(
    struct relay_line *l, int argc, const char **argv, const size_t *lens)
{
	size_t before = l->out.n;

	put_number(&l->out, '*', (size_t)argc);
	for (int i = 0; i < argc; i++)
		put_word(
		    &l->out, argv[i], lens == NULL ? strlen(argv[i]) : lens[i]);
	if (!l->out.failed)
		return true;
	l->out.n = before;
	l->out.failed = false;
	return false;
}

void
relay_line_start(struct relay_line *l)
{
	l->wire.fd = -1;
	l->out.cap = OUT_MAX;
	l->state = LINE_DOWN;
	l->looks = 1;
	uv_timer_init(l->loop, &l->timer);
	l->timer.data = l;
	l->handles = 1;
	uv_timer_start(&l->timer, timer_fired, 0, 0);
}

void
relay_line_shut(struct relay_line *l)
{
	assert(!l->is_shutting);
	l->is_shutting = true;
	if (l->state == LINE_DIALING)
		(void)uv_cancel((uv_req_t *)&l->dial);
	if (l->state == LINE_OPEN)
		hang_up(l);
	uv_close((uv_handle_t *)&l->timer, timer_closed);
}
