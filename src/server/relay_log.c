/*
 * The logs of all streams while Redis is away, and when it is back: who has
 * lost theirs, who is next to get it anew, and which lie in Redis without an
 * end because their reply ended meanwhile. Those are deleted, so that whoever
 * follows looks into Postgres.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/metrics.h"
#include "chat/turn.h"
#include "server/relay_priv.h"
#include "server/relay_redis.h"
#include "server/reply_log.h"

/* How often what is lost is looked at, in ms. */
#define LOOK_MS 1000

/* Logs that are written anew at once: each is a whole reply, and other streams'
 * appends wait behind them. */
#define REBUILDS_MAX 32

/* Logs to delete that are remembered; those beyond expire. */
#define GRAVES_MAX 4096

static void
rebuild_some(struct relay *r)
{
	struct stream *s;

	for (s = r->lost; s != NULL; s = s->log.next) {
		if (r->n_rebuilding >= REBUILDS_MAX)
			return;
		if (!s->log.is_busy && !stream_log_rebuild(s))
			return;
	}
}

static void
look(uv_timer_t *timer)
{
	struct relay *r = timer->data;

	if (r->lost == NULL) {
		uv_timer_stop(timer);
		return;
	}
	rebuild_some(r);
	relay_checkpoint(r);
}

static void
empty_graves(struct relay *r)
{
	struct reply_command c;

	for (; r->n_graves > 0; r->n_graves--) {
		const char *id = r->graves[r->n_graves - 1];

		reply_log_delete(&c, id);
		(void)relay_redis_send(
		    r->redis, c.n, (const char **)c.words, c.lens, NULL, NULL);
		reply_log_hint(&c, id, 0);
		(void)relay_redis_send(
		    r->redis, c.n, (const char **)c.words, c.lens, NULL, NULL);
	}
	free(r->graves);
	r->graves = NULL;
}

static void
redis_changed(void *arg, bool is_away)
{
	struct relay *r = arg;

	if (is_away)
		return;
	empty_graves(r);
	rebuild_some(r);
}

void
relay_log_lost(struct stream *s)
{
	struct relay *r = s->relay;

	s->log.next = NULL;
	s->log.prev = r->lost_last;
	if (r->lost_last != NULL)
		r->lost_last->log.next = s;
	else
		r->lost = s;
	r->lost_last = s;
	metrics_move(GAUGE_REPLIES_UNLOGGED, 1);
	if (!uv_is_active((uv_handle_t *)&r->log_timer))
		uv_timer_start(&r->log_timer, look, LOOK_MS, LOOK_MS);
}

void
relay_log_found(struct stream *s)
{
	struct relay *r = s->relay;

	if (s->log.prev != NULL)
		s->log.prev->log.next = s->log.next;
	else
		r->lost = s->log.next;
	if (s->log.next != NULL)
		s->log.next->log.prev = s->log.prev;
	else
		r->lost_last = s->log.prev;
	s->log.kept_as = 0;
	metrics_move(GAUGE_REPLIES_UNLOGGED, -1);
	/* A place is free for the next one. */
	rebuild_some(r);
}

void
relay_log_bury(const struct stream *s)
{
	struct relay *r = s->relay;

	if (r->graves == NULL)
		r->graves = calloc(GRAVES_MAX, sizeof(*r->graves));
	if (r->graves == NULL || r->n_graves == GRAVES_MAX)
		return;
	memcpy(r->graves[r->n_graves++], s->turn->message_id, ID_TEXT);
}

int64_t
relay_log_life_s(const struct relay *r)
{
	return r->config->reply_max_seconds + REPLY_LOG_SPARE_S;
}

bool
relay_log_open(struct relay *r)
{
	uv_timer_init(&r->loop, &r->log_timer);
	r->log_timer.data = r;
	relay_redis_on_change(r->redis, redis_changed, r);
	return relay_checkpoint_open(r);
}

void
relay_log_close(struct relay *r)
{
	uv_close((uv_handle_t *)&r->log_timer, NULL);
	uv_close((uv_handle_t *)&r->kept_poll, NULL);
}

void
relay_log_free(struct relay *r)
{
	relay_checkpoint_free(r);
	free(r->graves);
}
