/*
 * Commands and their answers, in order. Owns the questions that wait, the
 * decision when Redis is away, and who is told.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/relay_line.h"
#include "server/relay_listen.h"
#include "server/relay_redis.h"

/* A command whose answer is awaited. */
struct question {
	relay_redis_fn fn; /* NULL: nobody waits */
	void *arg;
	uint64_t since; /* by the line's clock */
};

struct watcher {
	void (*fn)(void *arg, bool is_away);
	void *arg;
};

struct relay_redis {
	uv_prepare_t prepare;
	struct relay_line line;
	struct listeners listeners;
	bool is_away;
	int handles; /* lines and handles that are not closed yet */

	/* Ring: questions in the order of their answers. */
	struct question *ring;
	size_t room; /* a power of two, or 0 */
	size_t first, n;

	struct watcher watchers[RELAY_REDIS_WATCHERS];
	size_t n_watchers;
};

static struct question *
question_at(const struct relay_redis *r, size_t i)
{
	return &r->ring[(r->first + i) & (r->room - 1)];
}

/* Makes room for one more. */
static bool
ring_grow(struct relay_redis *r)
{
	size_t room = r->room == 0 ? 64 : r->room * 2;
	struct question *ring;

	if (r->n < r->room)
		return true;
	ring = malloc(room * sizeof(*ring));
	if (ring == NULL)
		return false;
	for (size_t i = 0; i < r->n; i++)
		ring[i] = *question_at(r, i);
	free(r->ring);
	r->ring = ring;
	r->room = room;
	r->first = 0;
	return true;
}

static struct question
ring_take(struct relay_redis *r)
{
	struct question q = *question_at(r, 0);

	r->first = (r->first + 1) & (r->room - 1);
	r->n--;
	return q;
}

static void
tell(const struct relay_redis *r)
{
	for (size_t i = 0; i < r->n_watchers; i++)
		r->watchers[i].fn(r->watchers[i].arg, r->is_away);
}

static void
fail_questions(struct relay_redis *r)
{
	metrics_add(METRIC_REDIS_FAILURES, (int64_t)r->n);
	while (r->n > 0) {
		struct question q = ring_take(r);

		if (q.fn != NULL)
			q.fn(q.arg, NULL);
	}
}

static void
line_dropped(struct relay_line *l, const char *why)
{
	struct relay_redis *r = l->owner;
	bool was_away = r->is_away;

	r->is_away = true;
	fail_questions(r);
	if (was_away)
		return;
	log_with(LOG_ERROR, "replies go on without Redis",
	    LOG_TEXT("why", why == NULL ? "" : why));
	metrics_move(GAUGE_BREAKERS_OPEN, 1);
	listeners_doubt(&r->listeners);
	tell(r);
}

static void
line_opened(struct relay_line *l)
{
	struct relay_redis *r = l->owner;

	if (r->is_away) {
		r->is_away = false;
		log_text(LOG_NOTICE, "replies have Redis again");
		metrics_move(GAUGE_BREAKERS_OPEN, -1);
		tell(r);
	}
	relay_line_flush(l);
}

static void
line_replied(struct relay_line *l, redisReply *reply)
{
	struct relay_redis *r = l->owner;
	struct question q;

	if (r->n == 0)
		return; /* nobody asked: the next time-out finds it out */
	q = ring_take(r);
	relay_line_expect(l, r->n == 0 ? 0 : question_at(r, 0)->since);
	if (q.fn != NULL)
		q.fn(q.arg, reply);
}

static void
part_closed(struct relay_redis *r)
{
	if (--r->handles > 0)
		return;
	free(r->ring);
	free(r);
}

static void
line_shut(struct relay_line *l)
{
	part_closed(l->owner);
}

static void
listeners_shut(struct relay_line *l)
{
	struct listeners *ls = l->owner;

	part_closed(
	    (struct relay_redis *)((char *)ls -
				   offsetof(struct relay_redis, listeners)));
}

static void
prepare_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void
write_all(uv_prepare_t *handle)
{
	struct relay_redis *r = handle->data;

	if (r->line.out.n > 0)
		metrics_count(METRIC_REDIS_TRIPS);
	relay_line_flush(&r->line);
	relay_line_flush(&r->listeners.line);
}

struct relay_redis *
relay_redis_new(uv_loop_t *loop, const struct config *config)
{
	struct relay_redis *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->line = (struct relay_line){
	    .config = config,
	    .loop = loop,
	    .owner = r,
	    .on_open = line_opened,
	    .on_reply = line_replied,
	    .on_drop = line_dropped,
	    .on_shut = line_shut,
	};
	r->listeners.line = (struct relay_line){
	    .config = config,
	    .loop = loop,
	    .owner = &r->listeners,
	    .on_open = listeners_opened,
	    .on_reply = listeners_replied,
	    .on_drop = listeners_dropped,
	    .on_shut = listeners_shut,
	};
	uv_prepare_init(loop, &r->prepare);
	r->prepare.data = r;
	uv_prepare_start(&r->prepare, write_all);
	relay_line_start(&r->line);
	return r;
}

void
relay_redis_close(struct relay_redis *r)
{
	if (r == NULL)
		return;
	if (r->is_away)
		metrics_move(GAUGE_BREAKERS_OPEN, -1);
	r->is_away = true;
	r->n_watchers = 0;
	fail_questions(r);
	listeners_clear(&r->listeners);
	r->handles = r->listeners.has_line ? 3 : 2;
	relay_line_shut(&r->line);
	if (r->listeners.has_line)
		relay_line_shut(&r->listeners.line);
	uv_close((uv_handle_t *)&r->prepare, prepare_closed);
}

bool
relay_redis_is_away(const struct relay_redis *r)
{
	return r->is_away;
}

bool
relay_redis_send(struct relay_redis *r, int argc, const char **argv,
    const size_t *lens, relay_redis_fn fn, void *arg)
{
	if (r->is_away || !ring_grow(r) ||
	    !relay_line_put(&r->line, argc, argv, lens))
		return false;
	r->n++;
	*question_at(r, r->n - 1) =
	    (struct question){.fn = fn, .arg = arg, .since = r->line.looks};
	if (r->n == 1)
		relay_line_expect(&r->line, r->line.looks);
	return true;
}

void
relay_redis_forget(struct relay_redis *r, const void *arg)
{
	for (size_t i = 0; i < r->n; i++) {
		struct question *q = question_at(r, i);

		if (q->fn != NULL && q->arg == arg)
			q->fn = NULL;
	}
}

bool
relay_redis_listen(struct relay_redis *r, const char *channel,
    relay_redis_hint_fn fn, void *arg)
{
	return listeners_add(&r->listeners, channel, fn, arg);
}

void
relay_redis_unlisten(
    struct relay_redis *r, const char *channel, const void *arg)
{
	listeners_drop(&r->listeners, channel, arg);
}

void
relay_redis_on_change(
    struct relay_redis *r, void (*fn)(void *arg, bool is_away), void *arg)
{
	assert(r->n_watchers < RELAY_REDIS_WATCHERS);
	r->watchers[r->n_watchers++] = (struct watcher){fn, arg};
}
