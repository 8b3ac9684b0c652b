/*
 * Accepts, reads a request's head, answers as told, closes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "jwks_server.h"

/* Sleeps in pieces, so that stopping waits for nothing. */
static void
pause_ms(struct jwks_server *s, int ms)
{
	const struct timespec piece = {.tv_nsec = 5 * 1000 * 1000};
	for (int i = 0; i < ms && !s->is_ending; i += 5)
		nanosleep(&piece, NULL);
}

/* As long as it is to be now. */
static void
delay(struct jwks_server *s)
{
	for (int i = 0; i < s->delay_ms && !s->is_ending; i += 5)
		pause_ms(s, 5);
}

static bool
send_text(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

static void
send_body(struct jwks_server *s, int fd)
{
	static const char spaces[4096] = {[0 ... 4095] = ' '};
	size_t n = strlen(s->body);
	if (!s->drip_ms && !send_text(fd, s->body, n))
		return;
	for (size_t i = 0; s->drip_ms && i < n && !s->is_ending; i++) {
		if (!send_text(fd, s->body + i, 1))
			return;
		pause_ms(s, s->drip_ms);
	}
	for (size_t i = 0; i < s->padding; i += sizeof spaces)
		if (!send_text(fd, spaces, sizeof spaces))
			return;
}

/* Reads a request into s->last; false when there is none. */
static bool
read_request(struct jwks_server *s, int fd)
{
	const char *body = NULL, *length;
	size_t n = 0, want = 0;
	while (n < sizeof s->last - 1) {
		ssize_t got = recv(fd, s->last + n, sizeof s->last - 1 - n, 0);
		if (got <= 0)
			return false;
		n += (size_t)got;
		s->last[n] = '\0';
		if (!body && (body = strstr(s->last, "\r\n\r\n"))) {
			length = strcasestr(s->last, "\ncontent-length:");
			body += 4;
			want = length && length < body
				   ? strtoul(length + 16, NULL, 10)
				   : 0;
		}
		if (body && n - (size_t)(body - s->last) >= want)
			return true;
	}
	return body != NULL;
}

static void
answer(struct jwks_server *s, int fd)
{
	const char *more = s->headers ? s->headers : "";
	char head[256];
	int n = snprintf(head, sizeof head,
	    "HTTP/1.1 %s\r\nContent-Type: application/json\r\n",
	    s->status ? s->status : "200 OK");
	if (s->keeps_alive)
		snprintf(head + n, sizeof head - (size_t)n,
		    "Content-Length: %zu\r\n", strlen(s->body));
	else
		snprintf(
		    head + n, sizeof head - (size_t)n, "Connection: close\r\n");
	if (send_text(fd, head, strlen(head)) &&
	    send_text(fd, more, strlen(more)) && send_text(fd, "\r\n", 2))
		send_body(s, fd);
}

static void
serve(struct jwks_server *s, int fd)
{
	do {
		if (!read_request(s, fd))
			return;
		s->hits++;
		delay(s);
		if (!s->hangs_up)
			answer(s, fd);
	} while (s->keeps_alive && !s->hangs_up);
}

static void *
run(void *arg)
{
	struct jwks_server *s = arg;
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	while (!s->is_ending) {
		if (poll(&p, 1, 20) != 1)
			continue;
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		s->accepts++;
		serve(s, fd);
		close(fd);
	}
	return NULL;
}

void
jwks_server_start(struct jwks_server *s, const char *body)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	*s = (struct jwks_server){.body = body};
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, n) != 0 ||
	    listen(s->fd, 64) != 0 ||
	    getsockname(s->fd, (struct sockaddr *)&a, &n) != 0 ||
	    pthread_create(&s->thread, NULL, run, s) != 0) {
		fprintf(stderr, "jwks_server: %s\n", strerror(errno));
		abort();
	}
	snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/jwks.json",
	    ntohs(a.sin_port));
}

void
jwks_server_stop(struct jwks_server *s)
{
	s->is_ending = 1;
	pthread_join(s->thread, NULL);
	close(s->fd);
}
