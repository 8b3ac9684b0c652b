/*
 * Whose sessions and API keys have ended: the relay writes a roll of its
 * replies, the ledger looks (auth/session_watch.h), and the replies of the
 * ended ones end too. Between the two nothing is shared: the roll changes
 * hands.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/session_watch.h"
#include "base/queue.h"
#include "chat/turn.h"
#include "server/ledger.h"
#include "server/relay_priv.h"

/* How often, in ms. An ending is noticed after this, the ledger's
 * second, and one round trip. */
#define ROLL_MS 3000

/* Writes down who leans on what; NULL without memory. */
static struct roll *
make_roll(const struct relay *r)
{
	struct roll *roll = calloc(1, sizeof(*roll));

	if (roll != NULL)
		roll->pairs = calloc(r->n_streams, sizeof(*roll->pairs));
	if (roll == NULL || roll->pairs == NULL) {
		roll_free(roll);
		return NULL;
	}
	for (const struct stream *s = r->streams; s != NULL; s = s->next) {
		struct session_pair *p = &roll->pairs[roll->n];

		if (!stream_is_running(s))
			continue;
		roll->n++;
		memcpy(p->user_id, s->turn->user_id, ID_TEXT);
		memcpy(p->grant_id, s->turn->grant_id, ID_TEXT);
	}
	return roll;
}

static void
ask_roll(uv_timer_t *timer)
{
	struct relay *r = timer->data;
	struct roll *roll;

	if (r->is_asking || r->n_streams == 0)
		return;
	roll = make_roll(r);
	if (roll == NULL)
		return;
	r->is_asking = true;
	ledger_ask(r->ledger, roll);
}

static int
compare_pairs(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct session_pair));
}

static void
end(struct stream *s)
{
	if (s->turn->is_by_key)
		stream_interrupt(
		    s, ERR_KEY_INVALID, "the API key was revoked meanwhile");
	else
		stream_interrupt(
		    s, ERR_SESSION_REVOKED, "the session was ended meanwhile");
}

/* Ends the replies of the sessions and keys that have ended. */
static void
answer_roll(struct relay *r, struct roll *roll)
{
	struct stream *s, *next;

	qsort(roll->pairs, roll->n_ended, sizeof(*roll->pairs), compare_pairs);
	for (s = r->streams; s != NULL; s = next) {
		struct session_pair own;

		next = s->next;
		if (!stream_is_running(s))
			continue;
		memcpy(own.user_id, s->turn->user_id, ID_TEXT);
		memcpy(own.grant_id, s->turn->grant_id, ID_TEXT);
		if (bsearch(&own, roll->pairs, roll->n_ended, sizeof(own),
			compare_pairs) != NULL)
			end(s);
	}
}

static void
rolls_ready(uv_poll_t *handle, int status, int events)
{
	struct relay *r = handle->data;
	struct roll *roll;

	(void)status;
	(void)events;
	while ((roll = queue_pop(r->rolls)) != NULL) {
		r->is_asking = false;
		if (roll->n_ended > 0)
			answer_roll(r, roll);
		roll_free(roll);
	}
}

bool
relay_roll_open(struct relay *r)
{
	if (uv_poll_init(&r->loop, &r->rolls_poll, queue_fd(r->rolls)) != 0)
		return false;
	uv_timer_init(&r->loop, &r->roll_timer);
	r->rolls_poll.data = r->roll_timer.data = r;
	uv_poll_start(&r->rolls_poll, UV_READABLE, rolls_ready);
	uv_timer_start(&r->roll_timer, ask_roll, ROLL_MS, ROLL_MS);
	return true;
}

void
relay_roll_free(struct relay *r)
{
	if (r->rolls == NULL)
		return;
	roll_free(queue_pop(r->rolls)); /* for which nobody waited */
	queue_free(r->rolls);
}
