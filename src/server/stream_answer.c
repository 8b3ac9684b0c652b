/*
 * A reply whose very prompt somebody else is asking already: it waits for that
 * one's answer instead of asking the model too. It listens to the answer's
 * channel and looks; whoever finds neither answer nor builder becomes the
 * builder, and holds the lock as long as it works. Nobody waits for longer than
 * a model may be silent, or for a Redis that is away.
 *
 * In such a wait a stream is STREAM_WAITING, and retry_ms is when it has waited
 * enough: what ends other pauses ends this one too. Must not know what a key
 * holds (chat/answer.h).
 */
#include <stddef.h>
#include <string.h>

#include "base/config.h"
#include "chat/turn.h"
#include "server/relay_priv.h"
#include "server/relay_redis.h"

/* A builder that died is missed by looking, in ms; a quarter of jitter. */
#define LOOK_MS 1000

/* Three tries to hold the lock before it is gone. */
#define RENEW_MS (CACHE_LEASE_MS / 3)

/* On an answer's channel: its builder has turned to another model. */
#define ALONE "alone"

static void look(struct stream *s);

static bool
is_builder(const struct stream *s)
{
	const struct answer_key *key = s->turn->answer;

	return key != NULL && !key->is_waiting && stream_is_running(s) &&
	       s->turn->fallback_from == NULL && s->turn->uses == NULL;
}

/* What this file sends and listens to is its own: others have commands of the
 * same stream on the way. */
static void *
arg_of(struct stream *s)
{
	return &s->answer_ms;
}

static struct stream *
stream_of(void *arg)
{
	return (
	    struct stream *)((char *)arg - offsetof(struct stream, answer_ms));
}

/* What the look found. */
static void
looked(void *arg, const redisReply *reply)
{
	struct stream *s = stream_of(arg);
	enum cache_found found = answer_told(s->turn, reply);

	s->is_looking = false;
	if (found == CACHE_WAIT && s->looks_again) {
		look(s);
		return;
	}
	if (found == CACHE_WAIT)
		return;
	stream_answer_leave(s);
	if (found == CACHE_HIT)
		stream_answer_locally(s);
	else
		stream_ask(s);
}

static void
look(struct stream *s)
{
	struct cache_ask ask;

	s->looks_again = s->is_looking;
	if (s->is_looking)
		return;
	answer_ask(s->turn, &ask);
	s->answer_ms = uv_now(&s->relay->loop) + LOOK_MS - LOOK_MS / 8 +
		       (uintptr_t)s / 64 % (LOOK_MS / 4);
	s->is_looking = relay_redis_send(
	    s->relay->redis, ask.n, ask.words, NULL, looked, arg_of(s));
	if (!s->is_looking) {
		stream_answer_leave(s);
		stream_ask(s);
	}
}

static void
hinted(void *arg, const char *payload)
{
	struct stream *s = stream_of(arg);

	if (payload == NULL || strcmp(payload, ALONE) != 0) {
		look(s);
		return;
	}
	stream_answer_leave(s);
	stream_ask(s);
}

bool
stream_answer_wait(struct stream *s)
{
	const struct answer_key *key = s->turn->answer;
	struct relay *r = s->relay;
	char channel[80];

	s->answer_ms = uv_now(&r->loop) + RENEW_MS;
	if (key == NULL || !key->is_waiting || relay_redis_is_away(r->redis))
		return false;
	cache_answer_channel(key->hash, channel);
	if (!relay_redis_listen(r->redis, channel, hinted, arg_of(s)))
		return false;
	s->is_listening = true;
	s->state = STREAM_WAITING;
	/* What was told while the stream was prepared nobody has heard here. */
	s->answer_ms =
	    uv_now(&r->loop) + (s->preparation.has_waited ? 0 : LOOK_MS);
	s->retry_ms = uv_now(&r->loop) + stream_first_token_ms(r->config);
	return true;
}

void
stream_answer_leave(struct stream *s)
{
	char channel[80];

	if (!s->is_listening)
		return;
	s->is_listening = s->is_looking = false;
	relay_redis_forget(s->relay->redis, arg_of(s));
	cache_answer_channel(s->turn->answer->hash, channel);
	relay_redis_unlisten(s->relay->redis, channel, arg_of(s));
}

uint64_t
stream_answer_due_ms(const struct stream *s)
{
	return s->is_listening || is_builder(s) ? s->answer_ms : UINT64_MAX;
}

void
stream_answer_tick(struct stream *s, uint64_t now_ms)
{
	struct cache_ask ask;

	if (now_ms < stream_answer_due_ms(s))
		return;
	if (s->is_listening) {
		look(s);
		return;
	}
	answer_renew(s->turn, &ask);
	(void)relay_redis_send(
	    s->relay->redis, ask.n, ask.words, NULL, NULL, NULL);
	s->answer_ms = now_ms + RENEW_MS;
}

/* Whoever waits asks for themselves; the lock is not held any more. */
void
stream_answer_forsake(struct stream *s)
{
	char channel[80];
	const char *words[] = {"PUBLISH", channel, ALONE};

	if (!is_builder(s))
		return;
	cache_answer_channel(s->turn->answer->hash, channel);
	(void)relay_redis_send(s->relay->redis, 3, words, NULL, NULL, NULL);
}

void
stream_answer_redis_changed(void *arg, bool is_away)
{
	struct relay *r = arg;
	struct stream *s, *next;

	for (s = r->streams; is_away && s != NULL; s = next) {
		next = s->next;
		if (!s->is_listening)
			continue;
		stream_answer_leave(s);
		stream_ask(s);
	}
}
