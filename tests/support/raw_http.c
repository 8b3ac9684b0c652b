/*
 * A socket, bytes out, bytes in. Knows of HTTP only where a head ends and
 * where its status stands.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exchanges.h"
#include "raw_http.h"

#define ANSWER_TIMEOUT_MS 20000

_Noreturn static void
give_up(const char *what)
{
	fprintf(stderr, "raw_http: %s: %s\n", what, strerror(errno));
	abort();
}

int
raw_open(int port, int receive)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	    .sin_port = htons((uint16_t)port),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		give_up("socket");
	/* Before connecting: the window is agreed on then. */
	if (receive > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive,
			       sizeof(receive)) != 0)
		give_up("SO_RCVBUF");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		give_up("connect");
	return fd;
}

void
raw_send(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return; /* it answers early: read what it says */
		p += sent;
		n -= (size_t)sent;
	}
}

static void
terminate(struct buf *b)
{
	buf_putc(b, '\0');
	b->n--;
	if (b->failed)
		give_up("memory");
}

/* Splits what came at the head's end; "100 Continue" is skipped. */
static void
take_apart(const struct buf *all, struct answer *a)
{
	const char *p = all->p, *end;
	size_t n = all->n, head;

	for (;;) {
		end = strstr(p, "\r\n\r\n");
		head = end == NULL ? n : (size_t)(end - p) + 4;
		(void)sscanf(p, "HTTP/%*d.%*d %ld", &a->status);
		if (a->status / 100 != 1)
			break;
		p += head;
		n -= head;
	}
	buf_add(&a->head, p, head);
	buf_add(&a->body, p + head, n - head);
}

void
raw_answer(int fd, int timeout_ms, struct answer *a)
{
	struct buf all = {0};
	char part[16384];
	ssize_t n = 1;

	*a = (struct answer){0};
	while (n > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, timeout_ms) <= 0) {
			a->code = CURLE_OPERATION_TIMEDOUT;
			break;
		}
		n = recv(fd, part, sizeof(part), 0);
		if (n > 0)
			buf_add(&all, part, (size_t)n);
	}
	close(fd);
	terminate(&all);
	take_apart(&all, a);
	terminate(&a->head);
	terminate(&a->body);
	terminate(&a->text);
	buf_free(&all);
}

/* Of "NAME PATH HTTP/1.1" and what follows; what cannot be read so is left. */
static void
keep(const char *p, size_t n, const struct answer *a)
{
	char *text = strndup(p, n), method[16], path[4096], type[128] = "";
	char *body = text == NULL ? NULL : strstr(text, "\r\n\r\n"), *at;
	struct ask ask = {.method = method, .path = path};

	if (body != NULL && answer_header(a, "Transfer-Encoding") == NULL &&
	    strcasestr(text, "\r\nTransfer-Encoding: ") == NULL &&
	    sscanf(text, "%15[A-Z] %4095[^ \r\n] HTTP/1.1\r", method, path) ==
		2) {
		*body = '\0';
		at = strcasestr(text, "\r\nContent-Type: ");
		if (at != NULL)
			(void)sscanf(at + 16, "%127[^\r]", type);
		ask.type = type;
		ask.json = body[4] != '\0' ? body + 4 : NULL;
		exchange_keep(&ask, a);
	}
	free(text);
}

void
raw_ask(int port, const char *p, size_t n, struct answer *a)
{
	int fd = raw_open(port, 0);

	raw_send(fd, p, n);
	raw_answer(fd, ANSWER_TIMEOUT_MS, a);
	keep(p, n, a);
}
