/*
 * Replies that their users have cancelled: the ledger finds them in Postgres a
 * few times a second, and whoever took the wish says so through Redis, where it
 * can. A reply that is not here yet, or is being stored, is passed over; the
 * ledger names it again until its row has gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queue.h"
#include "chat/cancel.h"
#include "chat/turn.h"
#include "server/relay_priv.h"
#include "server/relay_redis.h"

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, ID_TEXT);
}

static void
cancel_all(struct relay *r, const char (*ids)[ID_TEXT], size_t n)
{
	struct stream *s, *next;

	for (s = r->streams; s != NULL; s = next) {
		next = s->next;
		if (stream_is_running(s) &&
		    bsearch(s->turn->message_id, ids, n, sizeof(ids[0]),
			compare_ids) != NULL)
			stream_cancel(s);
	}
}

static void
cancels_ready(uv_poll_t *handle, int status, int events)
{
	struct relay *r = handle->data;
	struct cancels *c;

	(void)status;
	(void)events;
	while ((c = queue_pop(r->cancels)) != NULL) {
		cancel_all(r, (const char(*)[ID_TEXT])c->ids, c->n);
		free(c);
	}
}

/* One that is asked for just now. What was missed the ledger finds. */
static void
cancel_hinted(void *arg, const char *payload)
{
	char id[1][ID_TEXT] = {""};

	if (payload == NULL || !id_is_uuid(payload))
		return;
	memcpy(id[0], payload, ID_TEXT - 1);
	cancel_all(arg, (const char(*)[ID_TEXT])id, 1);
}

void
relay_cancel_listen(struct relay *r, const char *worker_id)
{
	char channel[sizeof(CANCEL_CHANNEL) + ID_TEXT];

	snprintf(channel, sizeof(channel), CANCEL_CHANNEL "%s", worker_id);
	(void)!relay_redis_listen(r->redis, channel, cancel_hinted, r);
}

bool
relay_cancel_open(struct relay *r)
{
	r->cancels_poll.data = r;
	return uv_poll_init(&r->loop, &r->cancels_poll, queue_fd(r->cancels)) ==
		   0 &&
	       uv_poll_start(&r->cancels_poll, UV_READABLE, cancels_ready) == 0;
}

void
relay_cancel_free(struct relay *r)
{
	struct cancels *c;

	if (r->cancels == NULL)
		return;
	while ((c = queue_pop(r->cancels)) != NULL)
		free(c); /* for which nobody waited */
	queue_free(r->cancels);
}
