/*
 * Serves slow requests one after the other. Owns its stores, and each request
 * from chores_give until its connection is closed.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
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
	const char *name;
	int patience;
	struct queue *inbox;
	_Atomic size_t count;
};

/* False when nginx does not take it: it hung up, or its reader is too slow. */
static bool
send_all(int fd, const struct buf *b)
{
	size_t sent = 0;

	while (sent < b->n) {
		ssize_t n = send(fd, b->p + sent, b->n - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		sent += (size_t)n;
	}
	return true;
}

static void
limit_sends(int fd)
{
	struct timeval limit = {.tv_sec = SEND_TIMEOUT_S};

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* Until when a body that is being made may still be sent. */
struct patience {
	uint64_t end_ms;
	bool is_draining;
};

static bool
is_over(struct patience *p, const struct request *req)
{
	const struct services *services = req->services;
	uint64_t now = clock_mono_ms(), end;

	if (!p->is_draining && services->is_draining(services->worker)) {
		p->is_draining = true;
		end = now + (uint64_t)services->config->drain_seconds * 1000;
		if (end < p->end_ms)
			p->end_ms = end;
	}
	return now >= p->end_ms;
}

/* Sends the body piece by piece; false when it was cut off. */
static bool
send_source(struct chore *c, struct reply *rep)
{
	struct request *req = &c->request;
	struct buf piece = {0}, records = {0};
	struct patience patience = {
	    .end_ms = clock_mono_ms() +
		      (uint64_t)req->services->config->bulk_seconds * 1000};
	bool is_sent = true, has_more = true;

	while (is_sent && has_more) {
		buf_clear(&piece);
		buf_clear(&records);
		is_sent = !is_over(&patience, req) &&
			  rep->source->read(rep->source, req, &piece) == OK;
		has_more = is_sent && piece.n > 0;
		fcgi_record_stdout(&records, c->request_id, piece.p, piece.n);
		if (has_more)
			is_sent = !records.failed && send_all(c->fd, &records);
		rep->body_len += piece.n;
	}
	buf_free(&piece);
	buf_free(&records);
	return is_sent;
}

static void
answer(struct chore *c, struct reply *rep)
{
	struct buf text = {0}, records = {0};
	bool is_head = strcmp(c->request.method_name, "HEAD") == 0;
	bool is_whole;

	origin_allow(c->request.services->config, c->request.origin, rep);
	if (rep->source != NULL)
		reply_header(rep, "X-Accel-Buffering", "yes");
	reply_head(&text, rep, c->request.request_id);
	if (rep->body != NULL && !is_head)
		buf_add(&text, rep->body, rep->body_len);
	fcgi_record_stdout(&records, c->request_id, text.p, text.n);
	if (rep->source == NULL || is_head)
		fcgi_record_end(&records, c->request_id);
	limit_sends(c->fd);
	is_whole = !text.failed && !records.failed && send_all(c->fd, &records);
	if (rep->source != NULL && !is_head && is_whole) {
		is_whole = send_source(c, rep);
		buf_clear(&records);
		fcgi_record_end(&records, c->request_id);
		/* One that was cut lacks its own end, by which it is told. */
		if (is_whole)
			(void)send_all(c->fd, &records);
	}
	if (rep->source != NULL)
		rep->source->close(rep->source);
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

	if (services_open(&services, chores->shared, chores->name,
		chores->patience) != OK)
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
chores_new(struct shared *shared, const char *name, int patience)
{
	struct chores *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->shared = shared;
	c->name = name;
	c->patience = patience;
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
