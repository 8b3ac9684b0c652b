/*
 * The relay's side of checkpoints (ledger_checkpoint.h): which unlogged reply
 * has text that Postgres does not have, and what became of it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/queue.h"
#include "base/text.h"
#include "chat/turn.h"
#include "server/ledger.h"
#include "server/ledger_checkpoint.h"
#include "server/relay_priv.h"

/* How often one reply's text is kept, in ms. */
#define KEEP_MS 2000

/* Of one batch, and of one reply in it. Longer texts take several. */
#define BATCH_MAX   4096
#define BATCH_BYTES ((size_t)4 << 20)
#define TEXT_MAX    ((size_t)256 << 10)

/* Later the turn is the ledger's, which stores all of it. */
static bool
is_due(const struct stream *s, uint64_t now)
{
	return stream_is_running(s) && s->log.kept < s->sent &&
	       (s->log.kept_ms == 0 || now >= s->log.kept_ms + KEEP_MS - 100);
}

static bool
copy(struct stream *s, struct checkpoint *c)
{
	const struct turn *t = s->turn;
	const char *from = t->text.p + s->log.kept;
	size_t n = s->sent - s->log.kept;

	if (!stream_is_mute(s)) {
		n = text_prefix(from, n, TEXT_MAX);
		c->text = strndup(from, n);
		if (c->text == NULL)
			return false;
	}
	c->n = n;
	c->from = s->log.kept;
	memcpy(c->user_id, t->user_id, ID_TEXT);
	memcpy(c->message_id, t->message_id, ID_TEXT);
	return true;
}

static size_t
count_due(const struct relay *r, uint64_t now)
{
	const struct stream *s;
	size_t n = 0;

	for (s = r->lost; s != NULL; s = s->log.next)
		n += is_due(s, now);
	return n < BATCH_MAX ? n : BATCH_MAX;
}

static void
fill(struct relay *r, struct checkpoints *c, size_t max)
{
	uint64_t now = uv_now(&r->loop);
	size_t bytes = 0;
	struct stream *s;

	for (s = r->lost; s != NULL; s = s->log.next) {
		if (c->n == max || bytes >= BATCH_BYTES)
			return;
		if (!is_due(s, now) || !copy(s, &c->items[c->n]))
			continue;
		bytes += c->items[c->n++].n;
		s->log.kept_as = (unsigned)c->n;
		s->log.kept_ms = now;
	}
}

void
relay_checkpoint(struct relay *r)
{
	size_t n = r->is_keeping ? 0 : count_due(r, uv_now(&r->loop));
	struct checkpoints *c;

	if (n == 0)
		return;
	c = calloc(1, sizeof(*c) + n * sizeof(c->items[0]));
	if (c == NULL)
		return;
	fill(r, c, n);
	r->is_keeping = true;
	ledger_keep(r->ledger, c);
}

static void
settle(struct stream *s, const struct checkpoint *c)
{
	if (c->result == CHECKPOINT_KEPT)
		s->log.kept = c->from + c->n;
	else if (c->result == CHECKPOINT_OTHER && c->from > 0)
		s->log.kept = 0; /* all of it, the next time */
	else if (c->result == CHECKPOINT_OTHER && !s->log.is_busy &&
		 stream_is_running(s))
		stream_log_seal(s);
}

static void
kept_ready(uv_poll_t *handle, int status, int events)
{
	struct relay *r = handle->data;
	struct checkpoints *c = queue_pop(r->kept);
	struct stream *s, *next;

	(void)status;
	(void)events;
	if (c == NULL)
		return;
	r->is_keeping = false;
	for (s = r->lost; s != NULL; s = next) {
		unsigned place = s->log.kept_as;

		next = s->log.next;
		s->log.kept_as = 0;
		if (place > 0)
			settle(s, &c->items[place - 1]);
	}
	checkpoints_free(c);
	relay_checkpoint(r);
}

bool
relay_checkpoint_open(struct relay *r)
{
	r->kept = queue_new(1);
	if (r->kept == NULL ||
	    uv_poll_init(&r->loop, &r->kept_poll, queue_fd(r->kept)) != 0)
		return false;
	r->kept_poll.data = r;
	uv_poll_start(&r->kept_poll, UV_READABLE, kept_ready);
	ledger_keeps_for(r->ledger, r->kept);
	return true;
}

void
relay_checkpoint_free(struct relay *r)
{
	if (r->kept == NULL)
		return;
	checkpoints_free(queue_pop(r->kept)); /* for which nobody waited */
	queue_free(r->kept);
}
