/*
 * Serves slow requests one after the other. Owns its stores, and each request
 * from chores_give until its connection is closed.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/queue.h"
#include "http/origin.h"
#include "server/chores.h"
#include "server/fcgi_record.h"
#include "server/serve_log.h"
#include "server/shared.h"

/* How long nginx may take to read a short reply, in seconds. */
#define SEND_TIMEOUT_S 10

/* In the log, as in nginx's: nobody was there to answer. */
#define STATUS_LEFT 499

struct chores {
	struct shared *shared;
	struct queue *inbox;
	_Atomic size_t count;
};

static void
send_all(int fd, const struct buf *b)
{
	struct timeval limit = {.tv_sec = SEND_TIMEOUT_S};
	size_t sent = 0;

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	while (sent < b->n) {
		ssize_t n = send(fd, b->p + sent, b->n - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		sent += (size_t)n;
	}
}

static void
answer(struct chore *c, struct reply *rep)
{
	struct buf text = {0}, records = {0};

	origin_allow(c->request.services->config, c->request.origin, rep);
	reply_head(&text, rep, c->request.request_id);
	if (rep->body != NULL)
		buf_add(&text, rep->body, rep->body_len);
	fcgi_record_stdout(&records, c->request_id, text.p, text.n);
	fcgi_record_end(&records, c->request_id);
	if (!text.failed && !records.failed)
		send_all(c->fd, &records);
	buf_free(&text);
	buf_free(&records);
}

/* nginx closes the connection when its client leaves. */
static bool
has_left(const struct chore *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool
is_late(const struct chore *c)
{
	const struct config *config = c->request.services->config;
	uint64_t waited_us = clock_mono_us() - c->request.phases.accepted_us;

	return waited_us > (uint64_t)config->chores_wait_s * 1000000;
}

/*
 * Nobody waits for the answer any more, or not for long: a hash for them would
 * only make the next one late, too. Nothing was done for them yet.
 */
static bool
drop(struct chore *c, struct reply *rep)
{
	if (has_left(c)) {
		rep->status = STATUS_LEFT;
		c->request.why = "the client left before its turn came";
		return true;
	}
	if (!is_late(c))
		return false;
	c->request.why = "it waited longer than CHAT_CHORES_WAIT";
	reply_error(&c->request, rep, ERR_BUSY);
	answer(c, rep);
	return true;
}

static void
serve(struct chore *c, struct services *services)
{
	struct arena *arena = c->request.arena;
	struct reply rep = {0};

	c->request.services = services;
	if (!drop(c, &rep)) {
		api_handle(&c->request, &rep);
		answer(c, &rep);
	}
	close(c->fd);
	serve_log(&c->request, &rep);
	arena_free(arena);
}

void *
chores_run(void *arg)
{
	struct chores *chores = arg;
	struct services services;
	struct chore *c;

	if (services_open(&services, chores->shared, "natterd chores") != OK)
		abort();
	for (;;) {
		c = queue_wait(chores->inbox, -1);
		if (c == NULL)
			break;
		serve(c, &services);
		atomic_fetch_sub(&chores->count, 1);
	}
	services_close(&services);
	return NULL;
}

struct chores *
chores_new(struct shared *shared)
{
	struct chores *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->shared = shared;
	c->inbox = queue_new((size_t)shared->config->chores_max);
	if (c->inbox != NULL)
		return c;
	free(c);
	return NULL;
}

bool
chores_give(struct chores *c, struct chore *chore)
{
	atomic_fetch_add(&c->count, 1);
	if (queue_push(c->inbox, chore))
		return true;
	atomic_fetch_sub(&c->count, 1);
	return false;
}

size_t
chores_count(const struct chores *c)
{
	return atomic_load(&c->count);
}

void
chores_close(struct chores *c)
{
	queue_close(c->inbox);
}

void
chores_free(struct chores *c)
{
	if (c == NULL)
		return;
	queue_free(c->inbox);
	free(c);
}
