/*
 * A stream's events on their way: numbered, appended to the reply's log, and
 * said to the client once Redis has acknowledged them, or is known to be away.
 * One append of a stream is in flight at a time; text that comes meanwhile goes
 * into the next one. What is in flight is not kept: the text of a delta lies in
 * the turn, and the other events can be written again.
 *
 * A reply whose whole answer came with the turn (natter-local's, or a kept one)
 * has no log. It is over within milliseconds, and its text is said only when it
 * is stored: whoever has seen any of it finds all of it in Postgres.
 *
 * While the ledger has the turn it only reads the text, and so does this:
 * turn_end_text came before.
 */
#include <assert.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <string.h>

#include "base/config.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/metrics.h"
#include "chat/completion.h"
#include "base/json_write.h"
#include "chat/turn.h"
#include "server/relay_priv.h"
#include "server/relay_redis.h"
#include "server/reply_log.h"

/* Text waits for more for this long, in ms, or until it is so many bytes. */
#define BATCH_MS    25
#define BATCH_BYTES 512

static void appended(void *arg, const redisReply *reply);
static void rebuilt(void *arg, const redisReply *reply);

static bool
is_instant(const struct stream *s)
{
	return s->turn->is_local || s->turn->is_cached;
}

static bool
is_away(const struct stream *s)
{
	return relay_redis_is_away(s->relay->redis);
}

static bool
send_command(struct stream *s, const struct reply_command *c, relay_redis_fn fn)
{
	return relay_redis_send(
	    s->relay->redis, c->n, (const char **)c->words, c->lens, fn, s);
}

bool
stream_is_mute(const struct stream *s)
{
	return completion_is_unkept(s->turn);
}

size_t
stream_length(const struct stream *s)
{
	const struct turn *t = s->turn;

	return t->text.n + (stream_is_mute(s) ? t->completion->n_beside : 0);
}

/* What is to be said besides the text next; NULL: nothing. */
static struct turn_event *
next_event(const struct stream *s)
{
	struct turn_events *events = &s->turn->events;

	return s->log.told < events->n ? &events->p[s->log.told] : NULL;
}

/* Up to where the text can be said: the next event's place. */
static size_t
text_end(const struct stream *s)
{
	const struct turn_event *e = next_event(s);
	size_t n = stream_length(s);

	return e != NULL && e->at < n ? (size_t)e->at : n;
}

/* Is it time for the text that waits? The first of it never waits, nor does
 * the last, nor what comes before another event. */
static bool
is_due(const struct stream *s)
{
	size_t n = stream_length(s) - s->log.asked;

	if (is_instant(s) || s->is_withheld)
		return s->state == STREAM_ENDING;
	if (next_event(s) != NULL)
		return true;
	return !stream_is_running(s) || s->log.asked == 0 || n >= BATCH_BYTES ||
	       uv_now(&s->relay->loop) >= s->last_flush_ms + BATCH_MS;
}

static enum log_step
next_step(const struct stream *s)
{
	if (s->state == STREAM_OVER)
		return STEP_NONE;
	if (s->event_id == 0)
		return STEP_START;
	/* Nobody may see text that the one who ended it did not. */
	if (s->log.state != LOG_SEALED && s->log.asked < text_end(s))
		return is_due(s) ? STEP_TEXT : STEP_NONE;
	if (s->log.state != LOG_SEALED && next_event(s) != NULL)
		return is_due(s) ? STEP_EVENT : STEP_NONE;
	return s->state == STREAM_ENDING ? STEP_END : STEP_NONE;
}

/* The step becomes the next event. */
static void
take_step(struct stream *s, enum log_step step)
{
	s->log.step = step;
	s->event_id++;
	if (step == STEP_EVENT) {
		struct turn_event *e = next_event(s);

		e->number = s->event_id;
		e->at = s->log.asked;
		s->log.told++;
	}
	s->voice->step(s);
	if (step != STEP_TEXT)
		return;
	s->log.asked = text_end(s);
	s->last_flush_ms = uv_now(&s->relay->loop);
}

/* The step did not happen: what it was about waits again. */
static void
untake_step(struct stream *s)
{
	if (s->log.step == STEP_EVENT)
		s->log.told--;
	s->log.step = STEP_NONE;
	s->event_id--;
}

static struct reply_event
delta(const struct stream *s, size_t from, size_t to)
{
	return (struct reply_event){
	    .at = {s->event_id, to},
	    .name = "delta",
	    .name_len = 5,
	    .data = stream_is_mute(s) ? "" : s->turn->text.p + from,
	    .n = stream_is_mute(s) ? 0 : to - from,
	};
}

static struct reply_event
other(const struct stream *s, const struct turn_event *e)
{
	return (struct reply_event){
	    .at = {s->event_id, s->log.asked},
	    .name = e->name,
	    .name_len = strlen(e->name),
	    .data = e->data,
	    .n = e->n,
	};
}

/* The event of the current step; `data` is room for its data. */
static struct reply_event
write_event(const struct stream *s, struct buf *data)
{
	struct reply_event e = {.at = {s->event_id, s->log.asked}};

	if (s->log.step == STEP_TEXT)
		return delta(s, s->sent, s->log.asked);
	if (s->log.step == STEP_EVENT)
		return other(s, &s->turn->events.p[s->log.told - 1]);
	if (s->log.step == STEP_START)
		e.name = stream_start_data(s, s->log.state, data);
	else
		e.name = stream_end_data(s, data);
	e.name_len = strlen(e.name);
	e.data = data->p;
	e.n = data->n;
	return e;
}

/* Tells the client when that changes; `start` has said it first. */
static void
set_state(struct stream *s, enum log_state state)
{
	bool was_lost = s->log.state == LOG_LOST;
	bool is_lost = state == LOG_LOST;

	s->log.state = state;
	if (was_lost == is_lost)
		return;
	if (is_lost) {
		metrics_count(METRIC_LOGS_LOST);
		relay_log_lost(s);
	} else {
		relay_log_found(s);
	}
	if (s->log.has_started && (is_lost || state == LOG_WHOLE))
		s->voice->resumable(s);
}

/* The client hears the current step's event. */
static void
say(struct stream *s)
{
	enum log_step step = s->log.step;
	struct buf data = {0};
	struct reply_event e;

	e = write_event(s, &data);
	s->log.step = STEP_NONE;
	if (step == STEP_START) {
		s->voice->start(s, &e);
		s->log.has_started = true;
	} else if (step == STEP_TEXT || step == STEP_EVENT) {
		s->voice->event(s, &e);
		s->sent = s->log.asked;
	} else {
		if (s->log.state == LOG_LOST)
			relay_log_bury(s);
		set_state(s, LOG_NONE);
		s->voice->end(s, &e);
		stream_is_over(s);
	}
	buf_free(&data);
}

void
stream_log_hint(struct stream *s)
{
	struct reply_command c;

	reply_log_hint(&c, s->turn->message_id, s->event_id);
	(void)send_command(s, &c, NULL);
}

/* Makes the current step an append in flight; false: Redis is away. */
static bool
append(struct stream *s)
{
	const char *id = s->turn->message_id;
	enum log_step step = s->log.step;
	struct reply_command c;
	struct buf data = {0};
	struct reply_event e;

	e = write_event(s, &data);
	if (step == STEP_START)
		reply_log_begin(&c, id, &e);
	else
		reply_log_append(&c, id, &e);
	s->log.is_busy = send_command(s, &c, appended);
	buf_free(&data);
	if (!s->log.is_busy)
		return false;
	reply_log_expire(&c, id,
	    step == STEP_START ? relay_log_life_s(s->relay) : REPLY_LOG_KEEP_S);
	if (step == STEP_START || step == STEP_END)
		(void)send_command(s, &c, NULL);
	if (step != STEP_TEXT || s->log.is_followed)
		stream_log_hint(s);
	return true;
}

/* The events besides the text as the script wants them: [[n, bytes, name,
 * data], …]. */
static void
write_others(const struct stream *s, struct buf *out)
{
	json_write_open(out, NULL, '[');
	for (size_t i = 0; i < s->log.told; i++) {
		const struct turn_event *e = &s->turn->events.p[i];

		json_write_open(out, NULL, '[');
		buf_printf(out, "%" PRIu64 ",%" PRIu64 ",\"%s\"", e->number,
		    e->at, e->name);
		json_write_bytes(out, NULL, e->data, e->n);
		json_write_close(out, ']');
	}
	json_write_close(out, ']');
}

static bool
send_rebuild(struct stream *s)
{
	struct buf start = {0}, others = {0};
	struct reply_command c;
	struct reply_rebuild what;

	(void)stream_start_data(s, LOG_WHOLE, &start);
	write_others(s, &others);
	what = (struct reply_rebuild){
	    .start = start.p,
	    .start_len = start.n,
	    .text = delta(s, 0, s->log.asked),
	    .events = others.p,
	    .events_len = others.n,
	    .life_s = relay_log_life_s(s->relay),
	};
	reply_log_rebuild(&c, s->turn->message_id, &what);
	s->log.is_busy = send_command(s, &c, rebuilt);
	s->relay->n_rebuilding += s->log.is_busy;
	buf_free(&start);
	buf_free(&others);
	return s->log.is_busy;
}

bool
stream_log_rebuild(struct stream *s)
{
	assert(!s->log.is_busy && s->event_id > 0);
	if (is_away(s))
		return false;
	/* What waits goes along. */
	if (s->log.step == STEP_NONE && s->log.asked < text_end(s) &&
	    !s->is_withheld)
		take_step(s, STEP_TEXT);
	if (send_rebuild(s))
		return true;
	if (s->log.step != STEP_NONE)
		say(s);
	return false;
}

/* Redis does not have the log any more, or has another. */
static void
log_gone(struct stream *s, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_ERROR)
		log_with(LOG_WARNING, "a reply's log took no event",
		    LOG_TEXT("message_id", s->turn->message_id),
		    LOG_TEXT("why", reply->str));
	if (reply->type == REDIS_REPLY_NIL)
		metrics_count(METRIC_LOGS_LOST);
	/* First the text; then the end is appended again. */
	if (s->log.step == STEP_END)
		untake_step(s);
	if (stream_log_rebuild(s))
		return;
	set_state(s, LOG_LOST);
	if (s->log.step != STEP_NONE)
		say(s);
	stream_log_go(s);
}

static void
appended(void *arg, const redisReply *reply)
{
	struct stream *s = arg;

	s->log.is_busy = false;
	if (reply != NULL && reply->type != REDIS_REPLY_STRING) {
		log_gone(s, reply);
		return;
	}
	if (reply == NULL)
		set_state(s, LOG_LOST);
	else
		metrics_count(METRIC_EVENTS_LOGGED);
	say(s);
	stream_log_go(s);
}

static enum log_state
read_rebuilt(struct stream *s, const redisReply *reply)
{
	if (reply == NULL)
		return LOG_LOST;
	if (reply->type == REDIS_REPLY_INTEGER)
		return reply->integer == 1 ? LOG_WHOLE : LOG_SEALED;
	log_with(LOG_ERROR, "a reply's log cannot be made anew",
	    LOG_TEXT("message_id", s->turn->message_id),
	    LOG_TEXT("why", reply->str == NULL ? "" : reply->str));
	/* Trying again for ever would keep the last word from the client. */
	return s->state == STREAM_ENDING ? LOG_NONE : LOG_LOST;
}

/* Somebody else has ended the reply: this worker was taken for dead. What the
 * model says from now on is not kept, so it is not said either. */
void
stream_log_seal(struct stream *s)
{
	if (s->log.step == STEP_TEXT || s->log.step == STEP_EVENT)
		untake_step(s);
	s->log.asked = s->sent;
	set_state(s, LOG_SEALED);
	stream_interrupt(
	    s, ERR_INTERRUPTED, "another worker has ended the reply");
}

static void
rebuilt(void *arg, const redisReply *reply)
{
	struct stream *s = arg;
	enum log_state state = read_rebuilt(s, reply);

	s->log.is_busy = false;
	s->relay->n_rebuilding--;
	if (state == LOG_LOST)
		set_state(s, state);
	if (state == LOG_SEALED)
		stream_log_seal(s);
	if (state == LOG_WHOLE)
		metrics_count(METRIC_LOGS_REBUILT);
	if (s->log.step != STEP_NONE)
		say(s);
	set_state(s, state);
	stream_log_go(s);
}

/* Before the last word, the log is to be whole if it can be. */
static bool
must_rebuild(const struct stream *s)
{
	return s->state == STREAM_ENDING && s->log.state == LOG_LOST &&
	       !is_away(s);
}

void
stream_log_go(struct stream *s)
{
	enum log_step step;

	while (!s->log.is_busy && (step = next_step(s)) != STEP_NONE) {
		if (step == STEP_END && must_rebuild(s) &&
		    stream_log_rebuild(s))
			return;
		take_step(s, step);
		if (s->log.state == LOG_WHOLE && append(s))
			return;
		if (s->log.state == LOG_WHOLE)
			set_state(s, LOG_LOST);
		say(s);
	}
	if (s->log.is_busy)
		return;
	if (s->log.asked == stream_length(s))
		s->voice->rest(s);
	else if (stream_is_running(s))
		relay_mark_dirty(s);
	if (next_event(s) == NULL || s->is_withheld)
		stream_tools_logged(s);
}

void
stream_log_begin(struct stream *s)
{
	if (!is_instant(s))
		set_state(s, is_away(s) ? LOG_LOST : LOG_WHOLE);
	stream_log_go(s);
}
