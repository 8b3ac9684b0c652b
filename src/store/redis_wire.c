/*
 * Redis's protocol over a socket, with deadlines. Owns the descriptor and the
 * parser; knows nothing of the breaker or of what replies mean to callers.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/redis.h"
#include "store/redis_wire.h"
#include "store/wait.h"

#define READ_BYTES (16 * 1024)

static enum err fail(struct redis_wire *w, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

/* Every failure ends the connection: a late answer must find nobody. */
static enum err
fail(struct redis_wire *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	redis_wire_close(w);
	return ERR_UNAVAILABLE;
}

static void
set_tcp_options(int fd)
{
	int on = 1, idle_s = 10, interval_s = 5, count = 3;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* 0, or the errno that says how connecting went. */
static int
finish_connect(int fd, uint64_t deadline_ms)
{
	short ready = 0;
	int e = wait_ready(fd, POLLOUT, deadline_ms, &ready);
	socklen_t n = sizeof(e);

	if (e == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
		e = errno;
	return e;
}

/* A connected non-blocking socket in *out_fd, or an errno. */
static int
connect_to(
    const struct sockaddr *sa, socklen_t len, uint64_t deadline_ms, int *out_fd)
{
	int e = 0;
	int fd = socket(
	    sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	if (sa->sa_family != AF_UNIX)
		set_tcp_options(fd);
	if (connect(fd, sa, len) != 0)
		e = errno == EINPROGRESS ? finish_connect(fd, deadline_ms)
					 : errno;
	if (e != 0) {
		close(fd);
		return e;
	}
	*out_fd = fd;
	return 0;
}

static enum err
connect_unix(struct redis_wire *w, const char *path, uint64_t deadline_ms)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int e;

	if (strlen(path) >= sizeof(sa.sun_path))
		return fail(w, "%s: the socket's path is too long", path);
	memcpy(sa.sun_path, path, strlen(path));
	e = connect_to(
	    (const struct sockaddr *)&sa, sizeof(sa), deadline_ms, &w->fd);
	return e == 0 ? OK : fail(w, "%s: %s", path, strerror(e));
}

static enum err
connect_tcp(
    struct redis_wire *w, const struct redis_address *a, uint64_t deadline_ms)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *all = NULL;
	char port[8];
	int e;

	snprintf(port, sizeof(port), "%d", a->port);
	e = getaddrinfo(a->host, port, &hints, &all);
	if (e != 0)
		return fail(w, "%s: %s", a->host, gai_strerror(e));
	for (const struct addrinfo *i = all; i != NULL; i = i->ai_next) {
		e = connect_to(i->ai_addr, i->ai_addrlen, deadline_ms, &w->fd);
		if (e == 0)
			break;
	}
	freeaddrinfo(all);
	return e == 0 ? OK : fail(w, "%s:%s: %s", a->host, port, strerror(e));
}

static enum err
send_all(struct redis_wire *w, const char *p, size_t n, uint64_t deadline_ms)
{
	while (n > 0) {
		ssize_t sent = send(w->fd, p, n, MSG_NOSIGNAL);
		short ready = 0;
		int e;

		if (sent >= 0) {
			p += sent;
			n -= (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return fail(w, "send: %s", strerror(errno));
		e = wait_ready(w->fd, POLLOUT, deadline_ms, &ready);
		if (e != 0)
			return fail(w, "send: %s", strerror(e));
	}
	return OK;
}

/* Waits for bytes and feeds them to the parser. */
static enum err
read_some(struct redis_wire *w, uint64_t deadline_ms)
{
	char bytes[READ_BYTES];
	short ready = 0;
	ssize_t n;
	int e = wait_ready(w->fd, POLLIN, deadline_ms, &ready);

	if (e != 0)
		return fail(w, "no answer: %s", strerror(e));
	n = recv(w->fd, bytes, sizeof(bytes), 0);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return OK;
	if (n < 0)
		return fail(w, "recv: %s", strerror(errno));
	if (n == 0)
		return fail(w, "the server closed the connection");
	if (redisReaderFeed(w->reader, bytes, (size_t)n) != REDIS_OK)
		return fail(w, "protocol: %s", w->reader->errstr);
	return OK;
}

static enum err
read_reply(struct redis_wire *w, uint64_t deadline_ms, redisReply **out_reply)
{
	void *reply = NULL;

	for (;;) {
		enum err e;

		if (redisReaderGetReply(w->reader, &reply) != REDIS_OK)
			return fail(w, "protocol: %s", w->reader->errstr);
		if (reply != NULL)
			break;
		e = read_some(w, deadline_ms);
		if (e != OK)
			return e;
	}
	if (w->reader->pos != w->reader->len) {
		freeReplyObject(reply);
		return fail(w, "protocol: two answers to one command");
	}
	*out_reply = reply;
	return OK;
}

enum err
redis_wire_ask(struct redis_wire *w, struct redis_words words,
    uint64_t deadline_ms, redisReply **out_reply)
{
	char *text = NULL;
	int n = redisFormatCommandArgv(&text, words.n, words.p, words.lens);
	enum err e;

	if (n < 0)
		return fail(w, "out of memory");
	e = send_all(w, text, (size_t)n, deadline_ms);
	explicit_bzero(text, (size_t)n); /* passwords and tokens pass here */
	redisFreeCommand(text);
	return e == OK ? read_reply(w, deadline_ms, out_reply) : e;
}

/* Asks something whose only good answer is a status. */
static enum err
demand(struct redis_wire *w, int n, const char **words, uint64_t deadline_ms)
{
	AUTO_REPLY redisReply *reply = NULL;
	enum err e = redis_wire_ask(
	    w, (struct redis_words){n, words, NULL}, deadline_ms, &reply);

	if (e == OK && reply != NULL && reply->type != REDIS_REPLY_STATUS)
		return fail(w, "%s: %s", words[0],
		    reply->type == REDIS_REPLY_ERROR ? reply->str
						     : "unexpected answer");
	return e;
}

static enum err
greet(struct redis_wire *w, const struct redis_address *a, uint64_t deadline_ms)
{
	enum err e = OK;

	if (a->password != NULL && a->user != NULL)
		e = demand(w, 3, (const char *[]){"AUTH", a->user, a->password},
		    deadline_ms);
	else if (a->password != NULL)
		e = demand(
		    w, 2, (const char *[]){"AUTH", a->password}, deadline_ms);
	if (e == OK && a->db != 0) {
		char db[16];

		snprintf(db, sizeof(db), "%d", a->db);
		e = demand(w, 2, (const char *[]){"SELECT", db}, deadline_ms);
	}
	return e;
}

enum err
redis_wire_open(
    struct redis_wire *w, const struct redis_address *a, uint64_t deadline_ms)
{
	enum err e;

	redis_wire_close(w);
	if (a->path != NULL)
		e = connect_unix(w, a->path, deadline_ms);
	else
		e = connect_tcp(w, a, deadline_ms);
	if (e != OK)
		return e;
	w->reader = redisReaderCreate();
	if (w->reader == NULL)
		return fail(w, "out of memory");
	return greet(w, a, deadline_ms);
}

void
redis_wire_close(struct redis_wire *w)
{
	if (w->reader != NULL)
		redisReaderFree(w->reader);
	if (w->fd >= 0)
		close(w->fd);
	w->reader = NULL;
	w->fd = -1;
}

bool
redis_wire_is_fit(const struct redis_wire *w)
{
	return w->fd >= 0 && !wait_has_input(w->fd);
}
