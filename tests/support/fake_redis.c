/*
 * The fake Redis: one thread, one connection at a time.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fake_redis.h"

static void
answer(const struct fake_redis *f, int fd)
{
	char question[4096];
	size_t n = strlen(f->bytes);

	if (recv(fd, question, sizeof(question), 0) <= 0)
		return;
	if (f->every_ms == 0) {
		(void)send(fd, f->bytes, n, MSG_NOSIGNAL);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		nanosleep(
		    &(struct timespec){0, (long)f->every_ms * 1000000}, NULL);
		if (send(fd, f->bytes + i, 1, MSG_NOSIGNAL) != 1)
			return;
	}
}

static void *
serve(void *arg)
{
	const struct fake_redis *f = arg;
	int fd;

	while ((fd = accept(f->fd, NULL, NULL)) >= 0) {
		answer(f, fd);
		close(fd);
	}
	return NULL;
}

void
fake_redis_start(struct fake_redis *f, const char *bytes, int every_ms)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t n = sizeof(sa);

	*f = (struct fake_redis){.bytes = bytes, .every_ms = every_ms};
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || bind(f->fd, (struct sockaddr *)&sa, n) != 0 ||
	    listen(f->fd, 8) != 0 ||
	    getsockname(f->fd, (struct sockaddr *)&sa, &n) != 0)
		abort();
	snprintf(
	    f->url, sizeof(f->url), "redis://127.0.0.1:%d", ntohs(sa.sin_port));
	if (pthread_create(&f->thread, NULL, serve, f) != 0)
		abort();
}

void
fake_redis_stop(struct fake_redis *f)
{
	shutdown(f->fd, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->fd);
}
