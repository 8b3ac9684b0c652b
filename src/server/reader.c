/*
 * One reader's story: where it reads, what it does when nothing is there, and
 * when it ends. What its client sees is in reader_say.c.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "http/route.h"
#include "server/look.h"
#include "server/reader.h"
#include "server/relay_redis.h"
#include "server/serve_log.h"

/* A client that takes nothing for so long is cut, in ms. (nginx has its own
 * limit for the browser behind it, and it is shorter.) */
#define STUCK_MS 60000

static void tick(uv_timer_t *timer);

uint64_t
reader_now_ms(const struct reader *x)
{
	return uv_now(&x->relay->loop);
}

static void
log_end(const struct reader *x)
{
	uint64_t total = clock_mono_us() - x->phases.accepted_us;

	serve_count(x->route, x->status, total);
	log_with(LOG_INFO, "request",
	    LOG_TEXT("request_id", x->follow->request_id),
	    LOG_TEXT("method", x->method), LOG_TEXT("route", x->route->pattern),
	    LOG_NUMBER("status", x->status),
	    LOG_TEXT("message_id", x->follow->message_id),
	    LOG_TEXT("error", x->error == OK ? "" : err_code(x->error)),
	    LOG_NUMBER("after", (int64_t)x->follow->position.bytes),
	    LOG_NUMBER("bytes", (int64_t)x->told),
	    LOG_NUMBER("client_gone", x->client.has_vanished),
	    LOG_NUMBER("client_cut", x->client.was_cut),
	    LOG_NUMBER("auth_us", x->phases.auth_us),
	    LOG_NUMBER("handle_us", x->phases.handle_us),
	    LOG_NUMBER("total_us", (int64_t)total));
}

static void
remember(struct reader *x)
{
	struct relay *r = x->relay;

	x->next = r->readers;
	if (r->readers != NULL)
		r->readers->prev = x;
	r->readers = x;
	r->n_readers++;
}

static void
forget(struct reader *x)
{
	struct relay *r = x->relay;

	if (x->prev != NULL)
		x->prev->next = x->next;
	else
		r->readers = x->next;
	if (x->next != NULL)
		x->next->prev = x->prev;
	r->n_readers--;
}

static void
free_reader(struct reader *x)
{
	struct relay *r = x->relay;

	log_end(x);
	forget(x);
	look_free(x->look);
	follow_free(x->follow);
	free(x->origin);
	free(x->limits);
	free(x);
	relay_reader_gone(r);
}

void
reader_let_go(struct reader *x)
{
	x->handles--;
	if (x->handles == 0)
		free_reader(x);
}

static void
timer_closed(uv_handle_t *handle)
{
	reader_let_go(handle->data);
}

/* Everything is said, or there is nobody to say it to. */
static void
leave(struct reader *x)
{
	if (x->state == READER_OVER)
		return;
	x->state = READER_OVER;
	relay_redis_unlisten(x->relay->reading, x->key, x);
	relay_redis_forget(x->relay->reading, x);
	uv_close((uv_handle_t *)&x->timer, timer_closed);
}

static struct reader *
reader_of(struct client *c)
{
	return (struct reader *)((char *)c - offsetof(struct reader, client));
}

static void
client_closed(struct client *c)
{
	struct reader *x = reader_of(c);

	leave(x);
	reader_let_go(x);
}

static void
end_by(struct reader *x, struct last_problem problem)
{
	if (x->state == READER_OVER)
		return;
	problem.message_id = x->follow->message_id;
	problem.request_id = x->follow->request_id;
	reader_say_error(x, &problem);
	leave(x);
}

void
reader_end(struct reader *x, enum err error)
{
	end_by(x, (struct last_problem){.error = error, .is_resumable = true});
}

void
reader_end_failed(struct reader *x, enum err error)
{
	end_by(x, (struct last_problem){.error = error});
}

void
reader_end_with(struct reader *x, const struct reply_event *last)
{
	reader_say_end(x, last);
	leave(x);
}

static uint64_t
next_deadline_ms(const struct reader *x)
{
	uint64_t at =
	    x->last_sent_ms + (uint64_t)x->relay->config->heartbeat_s * 1000;

	if (x->waiting > 0)
		return reader_now_ms(x) + STUCK_MS;
	if (!x->is_looking && !x->is_reading && x->next_look_ms < at)
		at = x->next_look_ms;
	return at;
}

void
reader_arm(struct reader *x)
{
	uint64_t now = reader_now_ms(x), at;

	if (x->state == READER_OVER)
		return;
	x->waiting = client_waiting(&x->client);
	at = next_deadline_ms(x);
	uv_timer_start(&x->timer, tick, at > now ? at - now : 1, 0);
}

static void
client_drained(struct client *c)
{
	struct reader *x = reader_of(c);

	if (x->state == READER_TELLING)
		reader_tell(x);
	else
		reader_read_on(x);
	reader_arm(x);
}

static void
tick(uv_timer_t *timer)
{
	struct reader *x = timer->data;
	uint64_t now = reader_now_ms(x);

	if (x->waiting > 0 && client_waiting(&x->client) == x->waiting) {
		x->client.was_cut = true;
		client_cut(&x->client);
		return;
	}
	if (client_waiting(&x->client) == 0 &&
	    now >= x->last_sent_ms +
		       (uint64_t)x->relay->config->heartbeat_s * 1000) {
		x->last_sent_ms = now;
		reader_say_heartbeat(x);
	}
	if (now >= x->next_look_ms && !x->is_reading) {
		reader_say_followed(x);
		reader_read_on(x);
		if (!x->is_reading)
			reader_look(x);
	}
	reader_arm(x);
}

void
reader_begin(struct relay *r, const struct handoff *h)
{
	struct reader *x = calloc(1, sizeof(*x));

	assert(x != NULL);
	x->relay = r;
	x->follow = h->follow;
	x->method = h->method;
	x->route = h->route;
	x->origin = h->origin;
	x->limits = h->limits;
	x->phases = h->phases;
	x->at = h->follow->position;
	x->status = 200;
	x->last_sent_ms = reader_now_ms(x);
	reply_log_key(x->follow->message_id, x->key);
	remember(x);
	uv_timer_init(&r->loop, &x->timer);
	x->timer.data = x;
	x->handles = 1;
	x->client.on_closed = client_closed;
	x->client.on_drained = client_drained;
	if (client_open(&x->client, &r->loop, h->fd, h->request_id,
		(size_t)r->config->client_buffer_bytes) != 0) {
		leave(x);
		return;
	}
	x->handles++;
	reader_say_start(x);
	if (r->is_draining) {
		reader_end(x, ERR_DRAINING);
		return;
	}
	if (!x->follow->is_over)
		relay_redis_listen(r->reading, x->key, reader_hinted, x);
	reader_read_on(x);
	if (!x->is_reading)
		reader_look(x);
	reader_arm(x);
}

void
readers_end(struct relay *r, enum err error)
{
	struct reader *x, *next;

	for (x = r->readers; x != NULL; x = next) {
		next = x->next;
		reader_end(x, error);
	}
}

void
readers_cut_late(struct relay *r, uint64_t max_ms)
{
	for (struct reader *x = r->readers; x != NULL; x = x->next)
		if (x->state == READER_OVER)
			client_cut_late(&x->client, max_ms);
}
