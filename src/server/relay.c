/*
 * The relay's thread: the loop, the inboxes, the dirty list and draining.
 * One reply's own story is in stream.c.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/queue.h"
#include "base/queue_pair.h"
#include "chat/turn.h"
#include "server/afterwork.h"
#include "server/embedder.h"
#include "server/errand.h"
#include "server/ledger.h"
#include "server/look.h"
#include "server/reader.h"
#include "server/relay_priv.h"
#include "server/relay_redis.h"

/* The longest wait for coalesced text, in ms. */
#define FLUSH_MS 25

/* How long a client may take for the last word, which holds the whole text
 * again, and how often that is looked at, in ms. */
#define END_MAX_MS   60000
#define LATE_LOOK_MS 10000

/* After the drain time: how long clients may take to read the last words. */
#define LAST_WORDS_MS 1000

void
relay_mark_dirty(struct stream *s)
{
	struct relay *r = s->relay;

	if (s->is_dirty)
		return;
	s->is_dirty = true;
	s->dirty_next = r->dirty;
	r->dirty = s;
}

static void
forget_dirty(struct stream *s)
{
	struct stream **at = &s->relay->dirty;

	while (*at != NULL && *at != s)
		at = &(*at)->dirty_next;
	if (*at == s)
		*at = s->dirty_next;
}

static void
wake_for_flush(uv_timer_t *timer)
{
	(void)timer; /* the prepare handle does the work */
}

/* Runs before the loop waits: everything that is due goes out now. */
static void
service_dirty(uv_prepare_t *handle)
{
	struct relay *r = handle->data;
	struct stream *s = r->dirty;

	r->dirty = NULL;
	while (s != NULL) {
		struct stream *next = s->dirty_next;

		s->is_dirty = false;
		stream_service(s);
		s = next;
	}
	if (r->dirty != NULL && !uv_is_active((uv_handle_t *)&r->flush_timer))
		uv_timer_start(&r->flush_timer, wake_for_flush, FLUSH_MS, 0);
}

static void
close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Nothing is left to do: the loop ends when the handles are closed. */
static void
close_all(struct relay *r)
{
	if (r->is_closing)
		return;
	r->is_closing = true;
	upstream_free(r->upstream);
	r->upstream = NULL;
	relay_redis_close(r->redis);
	relay_redis_close(r->reading);
	r->redis = r->reading = NULL;
	relay_log_close(r);
	afterwork_close(r);
	embedder_close(r);
	close_handle((uv_handle_t *)&r->inbox_poll, NULL);
	close_handle((uv_handle_t *)&r->stored_poll, NULL);
	close_handle((uv_handle_t *)&r->rolls_poll, NULL);
	close_handle((uv_handle_t *)&r->looks_poll, NULL);
	close_handle((uv_handle_t *)&r->roll_timer, NULL);
	close_handle((uv_handle_t *)&r->cancels_poll, NULL);
	close_handle((uv_handle_t *)&r->tooled_poll, NULL);
	close_handle((uv_handle_t *)&r->wake, NULL);
	close_handle((uv_handle_t *)&r->prepare, NULL);
	close_handle((uv_handle_t *)&r->flush_timer, NULL);
	close_handle((uv_handle_t *)&r->drain_timer, NULL);
	close_handle((uv_handle_t *)&r->late_timer, NULL);
}

static void
close_if_drained(struct relay *r)
{
	if (r->is_draining && r->n_streams == 0 && r->n_readers == 0 &&
	    r->errands == NULL && queue_length(r->inbox) == 0)
		close_all(r);
}

void
relay_forget(struct stream *s)
{
	struct relay *r = s->relay;

	if (s->is_dirty)
		forget_dirty(s);
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		r->streams = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	r->n_streams--;
	atomic_fetch_sub(&r->count, 1);
	metrics_move(GAUGE_REPLIES, -1);
	close_if_drained(r);
}

void
relay_reader_gone(struct relay *r)
{
	atomic_fetch_sub(&r->count_readers, 1);
	metrics_move(GAUGE_READERS, -1);
	close_if_drained(r);
}

void
relay_remember(struct stream *s)
{
	struct relay *r = s->relay;

	s->next = r->streams;
	if (r->streams != NULL)
		r->streams->prev = s;
	r->streams = s;
	r->n_streams++;
}

static void
inbox_ready(uv_poll_t *handle, int status, int events)
{
	struct relay *r = handle->data;
	struct handoff *h;

	(void)status;
	(void)events;
	while ((h = queue_pop(r->inbox)) != NULL) {
		if (h->follow != NULL)
			reader_begin(r, h);
		else
			stream_begin(r, h);
		free(h);
	}
}

static void
stored_ready(uv_poll_t *handle, int status, int events)
{
	struct relay *r = handle->data;
	struct turn *t;

	(void)status;
	(void)events;
	while ((t = queue_pop(r->stored)) != NULL)
		stream_stored(t->owner);
}

/* Everything is said and stored; who does not take it in time is cut. */
static void
cut_late(struct relay *r, uint64_t max_ms)
{
	for (struct stream *s = r->streams; s != NULL; s = s->next)
		if (s->state == STREAM_OVER)
			client_cut_late(&s->client, max_ms);
	readers_cut_late(r, max_ms);
}

static void
look_for_late(uv_timer_t *timer)
{
	cut_late(timer->data, END_MAX_MS);
}

/* They hold up the stop. */
static void
cut_readers(uv_timer_t *timer)
{
	cut_late(timer->data, 0);
}

/* The time is over: what still runs ends here. */
static void
drain_over(uv_timer_t *timer)
{
	struct relay *r = timer->data;
	struct stream *s, *next;

	uv_timer_start(timer, cut_readers, LAST_WORDS_MS, LAST_WORDS_MS);
	for (s = r->streams; s != NULL; s = next) {
		next = s->next;
		stream_interrupt(s, ERR_DRAINING, "the worker had to stop");
	}
	errands_end(r);
	close_if_drained(r);
}

static void
woken(uv_async_t *handle)
{
	struct relay *r = handle->data;

	if (r->is_draining)
		close_if_drained(r);
	if (!atomic_load(&r->wants_drain) || r->is_draining)
		return;
	r->is_draining = true;
	inbox_ready(&r->inbox_poll, 0, 0);
	readers_end(r, ERR_DRAINING);
	afterwork_drop(r);
	embedder_drain(r);
	uv_timer_start(
	    &r->drain_timer, drain_over, atomic_load(&r->drain_ms), 0);
	close_if_drained(r);
}

static bool
open_handles(struct relay *r)
{
	if (uv_loop_init(&r->loop) != 0)
		return false;
	if (uv_async_init(&r->loop, &r->wake, woken) != 0 ||
	    uv_poll_init(&r->loop, &r->inbox_poll, queue_fd(r->inbox)) != 0 ||
	    uv_poll_init(&r->loop, &r->stored_poll, queue_fd(r->stored)) != 0 ||
	    !afterwork_open(r) || !embedder_open(r) || !relay_roll_open(r) ||
	    !relay_cancel_open(r) || !readers_open(r))
		return false;
	/* Before `prepare` is started, for what it sends. */
	r->redis = relay_redis_new(&r->loop, r->config);
	r->reading = relay_redis_new(&r->loop, r->config);
	if (r->redis == NULL || r->reading == NULL || !relay_log_open(r) ||
	    !relay_tools_open(r))
		return false;
	relay_redis_on_change(r->redis, stream_answer_redis_changed, r);
	uv_prepare_init(&r->loop, &r->prepare);
	uv_timer_init(&r->loop, &r->flush_timer);
	uv_timer_init(&r->loop, &r->drain_timer);
	uv_timer_init(&r->loop, &r->late_timer);
	r->wake.data = r->inbox_poll.data = r->stored_poll.data = r;
	r->prepare.data = r->flush_timer.data = r->drain_timer.data = r;
	r->late_timer.data = r;
	uv_timer_start(
	    &r->late_timer, look_for_late, LATE_LOOK_MS, LATE_LOOK_MS);
	uv_prepare_start(&r->prepare, service_dirty);
	uv_poll_start(&r->inbox_poll, UV_READABLE, inbox_ready);
	uv_poll_start(&r->stored_poll, UV_READABLE, stored_ready);
	return true;
}

struct relay *
relay_new(const struct config *config, struct ledger *ledger)
{
	struct relay *r = calloc(1, sizeof(*r));
	size_t max = (size_t)config->streams_max;

	if (r == NULL)
		return NULL;
	r->config = config;
	r->ledger = ledger;
	r->inbox = queue_new(2 * max); /* streams and readers */
	r->stored = queue_new(max + 1);
	r->rolls = queue_new(1);
	r->cancels = queue_new(1);
	r->looks = looks_new(max + 1);
	if (r->inbox == NULL || r->stored == NULL || r->rolls == NULL ||
	    r->cancels == NULL || r->looks == NULL || !open_handles(r)) {
		relay_free(r);
		return NULL;
	}
	r->upstream = upstream_new(&r->loop, config);
	if (r->upstream == NULL) {
		relay_free(r);
		return NULL;
	}
	relay_cancel_listen(r, ledger_worker_id(ledger));
	relay_follow_listen(r);
	ledger_returns_to(
	    ledger, &(struct ledger_ways){r->stored, r->rolls, r->cancels});
	ledger_looks(ledger, r->looks);
	return r;
}

void *
relay_run(void *arg)
{
	struct relay *r = arg;

	uv_run(&r->loop, UV_RUN_DEFAULT);
	atomic_store(&r->has_ended, true);
	return NULL;
}

static void
count_in(struct relay *r, const struct handoff *h, int by)
{
	bool follows = h->follow != NULL;

	atomic_fetch_add(follows ? &r->count_readers : &r->count, (size_t)by);
	metrics_move(follows ? GAUGE_READERS : GAUGE_REPLIES, by);
}

bool
relay_give(struct relay *r, const struct handoff *handoff)
{
	struct handoff *h = malloc(sizeof(*h));

	if (h == NULL)
		return false;
	*h = *handoff;
	count_in(r, h, 1);
	if (queue_push(r->inbox, h)) {
		metrics_count(handoff->follow != NULL ? METRIC_STREAMS_RESUMED
						      : METRIC_REPLIES_BEGUN);
		return true;
	}
	count_in(r, h, -1);
	free(h);
	return false;
}

size_t
relay_count(const struct relay *r)
{
	return atomic_load(&r->count);
}

size_t
relay_readers(const struct relay *r)
{
	return atomic_load(&r->count_readers);
}

void
relay_drain(struct relay *r, uint64_t drain_ms)
{
	atomic_store(&r->drain_ms, drain_ms);
	atomic_store(&r->wants_drain, true);
	uv_async_send(&r->wake);
}

bool
relay_has_ended(const struct relay *r)
{
	return atomic_load(&r->has_ended);
}

void
relay_free(struct relay *r)
{
	if (r == NULL)
		return;
	relay_roll_free(r);
	relay_cancel_free(r);
	queue_pair_free(r->looks);
	afterwork_free(r);
	embedder_free(r);
	relay_log_free(r);
	relay_tools_free(r);
	uv_loop_close(&r->loop);
	queue_free(r->inbox);
	queue_free(r->stored);
	free(r);
}
