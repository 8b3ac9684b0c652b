/*
 * A model's server for benchmarks: one epoll loop that costs as little as it
 * can, so that what is measured is Natter. Every chat completion is answered
 * with deltas at the same pace: so many (with --gap 0 in one write), or until
 * SIGUSR1, upon which the answers end one after the other. Scripts, faults and
 * tools are model_standin's.
 *
 * Each delta says when it was written, the first also when its request had
 * come, in microseconds of CLOCK_MONOTONIC ("@sent ", "@sent:received "), so
 * that a client on the same host knows what was added on the way; the last says
 * how many there were ("#n").
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

enum {
	WHEEL_MS = 1 << 13, /* the longest wait, in ms */
	READY_MAX = 512,
	BACKLOG = 4096,
	SPREAD = 60, /* after SIGUSR1 an answer has up to so many deltas more */
};

static struct {
	int port;
	const char *socket; /* instead of a port */
	long events;        /* 0: until SIGUSR1 */
	long gap_ms, first_ms, bytes;
} options = {.gap_ms = 333, .first_ms = 200};

struct conn {
	int fd;
	long event;  /* deltas written */
	long last;   /* how many there will be; 0: not known yet */
	size_t want; /* bytes of the request; 0: its head is not whole */
	uint64_t received_us;
	uint64_t due_ms;
	struct conn *next;  /* in its slot of the wheel */
	struct conn **link; /* what points here; NULL: in no slot */
	struct buf in, out; /* out: what the kernel did not take */
};

static int poller, listener;
static struct conn *wheel[WHEEL_MS];
static uint64_t turned_ms; /* all slots up to here are done */
static struct buf line;    /* what is written next */
static char *padding;
static volatile sig_atomic_t has_ended, is_over;

static const char head[] = "HTTP/1.1 200 OK\r\n"
			   "Content-Type: text/event-stream\r\n"
			   "Transfer-Encoding: chunked\r\n\r\n";
static const char opening[] =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
    "\"created\":1,\"model\":\"load-1\",\"choices\":[{\"index\":0,\"delta\":{"
    "\"content\":\"";
static const char closing[] =
    "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

static void
end(int signal_number)
{
	(void)signal_number;
	has_ended = 1;
}

static void
let_end(int signal_number)
{
	(void)signal_number;
	is_over = 1;
}

static void
unlink_conn(struct conn *c)
{
	if (c->link == NULL)
		return;
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	c->link = NULL;
}

static void
wake_at(struct conn *c, uint64_t due_ms)
{
	struct conn **slot;

	if (due_ms <= turned_ms)
		due_ms = turned_ms + 1;
	slot = &wheel[due_ms % WHEEL_MS];
	c->due_ms = due_ms;
	c->next = *slot;
	if (c->next != NULL)
		c->next->link = &c->next;
	*slot = c;
	c->link = slot;
}

static void
conn_close(struct conn *c)
{
	unlink_conn(c);
	close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
}

static void
watch(struct conn *c, int how, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	epoll_ctl(poller, how, c->fd, &e);
}

/* Writes what is in `line`; false when nobody is there any more. */
static bool
write_line(struct conn *c)
{
	size_t done = 0;

	if (c->out.n == 0) {
		ssize_t n = send(c->fd, line.p, line.n, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return false;
		done = n > 0 ? (size_t)n : 0;
	}
	if (done == line.n)
		return true;
	if (c->out.n == 0)
		watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
	buf_add(&c->out, line.p + done, line.n - done);
	return true;
}

static bool
write_rest(struct conn *c)
{
	ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN;
	buf_drop(&c->out, (size_t)n);
	if (c->out.n == 0) {
		buf_free(&c->out);
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	}
	return true;
}

static void
put_delta(const struct conn *c)
{
	char stamp[96];
	int n = snprintf(
	    stamp, sizeof(stamp), "@%lx", (unsigned long)clock_mono_us());
	size_t pad;

	if (c->event == 0)
		n += snprintf(stamp + n, sizeof(stamp) - (size_t)n, ":%lx",
		    (unsigned long)c->received_us);
	if (c->event + 1 == c->last)
		n += snprintf(
		    stamp + n, sizeof(stamp) - (size_t)n, " #%ld", c->last);
	stamp[n++] = ' ';
	pad = options.bytes > n ? (size_t)(options.bytes - n) : 0;
	buf_printf(&line, "%zx\r\n",
	    sizeof(opening) - 1 + (size_t)n + pad + sizeof(closing) - 1);
	buf_add(&line, opening, sizeof(opening) - 1);
	buf_add(&line, stamp, (size_t)n);
	buf_add(&line, padding, pad);
	buf_add(&line, closing, sizeof(closing) - 1);
	buf_add(&line, "\r\n", 2);
}

static void
put_end(const struct conn *c)
{
	char data[512];
	int n = snprintf(data, sizeof(data),
	    "data: {\"choices\":[{\"index\":0,\"delta\":{},"
	    "\"finish_reason\":\"stop\"}]}\n\n"
	    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,"
	    "\"completion_tokens\":%ld}}\n\ndata: [DONE]\n\n",
	    c->last);

	buf_printf(&line, "%x\r\n%s\r\n0\r\n\r\n", (unsigned)n, data);
}

/* xorshift64*: the same sequence in every run. */
static uint64_t
next_random(void)
{
	static uint64_t x = 1;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return x * 0x2545F4914F6CDD1DULL;
}

/*
 * When the next delta is written: the gap later, a fifth more or less, as
 * models are not even either. With equal gaps all that one hiccup of the
 * machine delayed is written in one burst ever after (measured: GET /me took
 * 18 ms in 99 of 100 cases in the first ten seconds, 44 and 30 in the next
 * two). A gap that is over already is not made up for, or new requests would
 * wait behind it.
 */
static uint64_t
next_due(const struct conn *c)
{
	uint64_t gap = (uint64_t)options.gap_ms, now_ms = clock_mono_ms();

	gap = gap * 4 / 5 + next_random() % (gap * 2 / 5 + 1);
	return c->due_ms + gap > now_ms ? c->due_ms + gap : now_ms + gap;
}

/* Writes the next delta, or with no gap all of them. */
static bool
go_on(struct conn *c)
{
	line.n = 0;
	if (c->event == 0)
		buf_add(&line, head, sizeof(head) - 1);
	if (is_over && c->last == 0)
		c->last = c->event + 1 + c->fd % SPREAD;
	do {
		put_delta(c);
		c->event++;
	} while (options.gap_ms == 0 && c->event < c->last);
	if (c->event == c->last) {
		put_end(c);
	} else {
		wake_at(c, next_due(c));
	}
	return write_line(c);
}

/* How long the request is; 0 while its head is not whole. */
static size_t
length_of(const struct buf *in)
{
	const char *end_of_head = memmem(in->p, in->n, "\r\n\r\n", 4);
	const char *length;

	if (end_of_head == NULL)
		return 0;
	length = memmem(
	    in->p, (size_t)(end_of_head - in->p), "\r\nContent-Length:", 17);
	return (size_t)(end_of_head + 4 - in->p) +
	       (length == NULL ? 0 : strtoul(length + 17, NULL, 10));
}

static bool
begin(struct conn *c)
{
	uint64_t now_ms;

	buf_drop(&c->in, c->want);
	c->want = 0;
	if (c->in.n == 0)
		buf_free(&c->in);
	c->event = 0;
	c->last = options.events;
	c->received_us = clock_mono_us();
	now_ms = c->received_us / 1000;
	c->due_ms = now_ms;
	if (options.first_ms == 0)
		return go_on(c);
	wake_at(c, now_ms + (uint64_t)options.first_ms);
	return true;
}

static bool
take(struct conn *c)
{
	char bytes[16384];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	buf_add(&c->in, bytes, (size_t)n);
	if (c->want == 0)
		c->want = length_of(&c->in);
	return c->want == 0 || c->in.n < c->want || begin(c);
}

static void
accept_all(void)
{
	int fd, on = 1;

	while ((fd = accept4(
		    listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));

		if (c == NULL)
			abort();
		c->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		watch(c, EPOLL_CTL_ADD, EPOLLIN);
	}
}

static void
serve(const struct epoll_event *e)
{
	struct conn *c = e->data.ptr;
	bool goes_on = true;

	if (c == NULL) {
		accept_all();
		return;
	}
	if (e->events & EPOLLOUT)
		goes_on = write_rest(c);
	if (goes_on && (e->events & ~(uint32_t)EPOLLOUT))
		goes_on = take(c);
	if (!goes_on)
		conn_close(c);
}

/* Everybody whose time has come. */
static void
turn_wheel(uint64_t now_ms)
{
	while (turned_ms < now_ms) {
		struct conn **slot = &wheel[++turned_ms % WHEEL_MS], *c;

		while ((c = *slot) != NULL) {
			unlink_conn(c);
			if (!go_on(c))
				conn_close(c);
		}
	}
}

/* How long nobody's time will come, in ms. */
static int
patience_ms(void)
{
	for (int ms = 1; ms < 100; ms++)
		if (wheel[(turned_ms + (uint64_t)ms) % WHEEL_MS] != NULL)
			return ms;
	return 100;
}

static void
run(void)
{
	static struct epoll_event ready[READY_MAX];

	turned_ms = clock_mono_ms();
	while (!has_ended) {
		int n = epoll_wait(poller, ready, READY_MAX, patience_ms());

		for (int i = 0; i < n; i++)
			serve(&ready[i]);
		turn_wheel(clock_mono_ms());
	}
}

static bool
listen_at(const void *address, socklen_t n)
{
	const struct sockaddr *at = address;
	struct epoll_event e = {.events = EPOLLIN};
	int on = 1;

	listener = socket(
	    at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	poller = epoll_create1(EPOLL_CLOEXEC);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(listener, at, n) == 0 && listen(listener, BACKLOG) == 0 &&
	       epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e) == 0;
}

/* Everybody may connect to the socket: natterd runs as another user. */
static bool
listen_as_told(void)
{
	struct sockaddr_in port = {
	    .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)options.port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sockaddr_un path = {.sun_family = AF_UNIX};

	if (options.socket == NULL)
		return listen_at(&port, sizeof(port));
	snprintf(path.sun_path, sizeof(path.sun_path), "%s", options.socket);
	return listen_at(&path, sizeof(path)) &&
	       chmod(options.socket, 0777) == 0;
}

static bool
read_options(int argc, char **argv)
{
	static const struct option known[] = {
	    {"port", required_argument, NULL, 'p'},
	    {"socket", required_argument, NULL, 's'},
	    {"events", required_argument, NULL, 'e'},
	    {"gap", required_argument, NULL, 'g'},
	    {"first", required_argument, NULL, 'f'},
	    {"bytes", required_argument, NULL, 'b'},
	    {0},
	};
	long *const numbers[] = {['e'] = &options.events,
	    ['g'] = &options.gap_ms,
	    ['f'] = &options.first_ms,
	    ['b'] = &options.bytes};
	int o;

	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (o == '?')
			return false;
		else if (o == 'p')
			options.port = atoi(optarg);
		else if (o == 's')
			options.socket = optarg;
		else
			*numbers[o] = strtol(optarg, NULL, 10);
	}
	return optind == argc &&
	       (options.port > 0) != (options.socket != NULL) &&
	       options.events >= 0 &&
	       (options.events > 0 || options.gap_ms > 0) &&
	       options.gap_ms >= 0 && options.gap_ms * 6 / 5 < WHEEL_MS &&
	       options.first_ms >= 0 && options.first_ms < WHEEL_MS &&
	       options.bytes >= 0;
}

int
main(int argc, char **argv)
{
	struct rlimit files;

	if (!read_options(argc, argv)) {
		fprintf(stderr,
		    "usage: model_load --port N|--socket PATH [--events N] "
		    "[--gap MS] "
		    "[--first MS] [--bytes N]\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGTERM, end);
	signal(SIGINT, end);
	signal(SIGUSR1, let_end);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	padding = malloc((size_t)options.bytes + 1);
	if (padding == NULL || !listen_as_told()) {
		perror("model_load");
		return 1;
	}
	memset(padding, 'x', (size_t)options.bytes);
	run();
	return 0;
}
