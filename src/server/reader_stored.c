/*
 * What a reader is told from Postgres, where the log says nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/queue_pair.h"
#include "base/text.h"
#include "chat/message.h"
#include "server/ledger.h"
#include "server/look.h"
#include "server/reader.h"

/* Text of one event, in bytes. */
#define PIECE_MAX 65536

void
reader_look(struct reader *x)
{
	struct look *l;

	if (x->state != READER_FOLLOWING || x->is_looking)
		return;
	x->next_look_ms = reader_now_ms(x) + READER_LOOK_MS;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return;
	memcpy(l->user_id, x->follow->user_id, ID_TEXT);
	memcpy(l->message_id, x->follow->message_id, ID_TEXT);
	l->owner = x;
	if (!queue_pair_ask(x->relay->looks, l)) {
		look_free(l);
		return;
	}
	x->is_looking = true;
	x->handles++;
	ledger_wake(x->relay->ledger);
}

/* What an ended reply's readers are told last; `data` holds the JSON. */
static void
end_as_stored(struct reader *x, const struct message *m)
{
	struct reply_event last = {.at = x->at, .name = "done", .name_len = 4};
	struct buf data = {0};

	if (strcmp(m->status, "failed") == 0) {
		reader_end_failed(
		    x, err_from_code(m->error_code, ERR_MODEL_FAILED));
		return;
	}
	if (strcmp(m->status, "interrupted") == 0) {
		reader_end_failed(
		    x, err_from_code(m->error_code, ERR_INTERRUPTED));
		return;
	}
	message_write(&data, m);
	last.data = data.p;
	last.n = data.n;
	if (data.failed)
		reader_end(x, ERR_INTERNAL);
	else
		reader_end_with(x, &last);
	buf_free(&data);
}

static bool
is_over(const struct message *m)
{
	return strcmp(m->status, "streaming") != 0;
}

/* The next piece of a text that ends at `end`, and no half a character. */
static void
tell_piece(struct reader *x, const char *text, size_t end)
{
	size_t n = end - (size_t)x->at.bytes;
	struct reply_event e = {.name = "delta", .name_len = 5};
	struct buf out = {0};

	text += x->at.bytes;
	if (n > PIECE_MAX)
		n = text_prefix(text, n, PIECE_MAX);
	x->at.bytes += n;
	x->told += n;
	/*
	 * Its n stays: more than that Postgres does not know, and an id beyond
	 * the log's would pass its entries by.
	 */
	e.at = x->at;
	e.data = text;
	e.n = n;
	reply_event_say(&e, &out);
	reader_say(x, &out);
	buf_free(&out);
}

/* Tells as much of what is stored as the client takes now. */
void
reader_tell(struct reader *x)
{
	struct message m;

	message_read(x->look->result, 0, &m);
	if (!x->follow->wants_stream)
		x->at.bytes = m.content_len;
	while (x->at.bytes < m.content_len && client_is_open(&x->client) &&
	       client_waiting(&x->client) == 0)
		tell_piece(x, m.content, m.content_len);
	if (x->at.bytes < m.content_len || client_waiting(&x->client) > 0)
		return; /* client_drained comes back */
	if (is_over(&m)) {
		end_as_stored(x, &m);
		return;
	}
	look_free(x->look);
	x->look = NULL;
	x->state = READER_FOLLOWING;
	reader_read_on(x);
}

/* Says that what follows begins at the text's beginning. */
void
reader_begin_again(struct reader *x)
{
	x->at = (struct reply_position){0};
	reader_say_start(x);
}

/* Begins with a whole character, if somebody asked for half a one. */
static void
skip_half(struct reader *x, const char *text, size_t n)
{
	while (x->at.bytes < n &&
	       ((unsigned char)text[x->at.bytes] & 0xc0) == 0x80)
		x->at.bytes++;
}

static void
look_came(struct reader *x, struct look *l)
{
	struct message m = {0};

	if (l->error == ERR_NOT_FOUND) {
		look_free(l);
		reader_end_failed(x, ERR_NOT_FOUND);
		return;
	}
	if (l->error == OK)
		message_read(l->result, 0, &m);
	if (l->error != OK || x->state != READER_FOLLOWING ||
	    (!is_over(&m) && m.content_len <= x->at.bytes)) {
		look_free(l);
		return;
	}
	if (x->at.bytes > m.content_len)
		reader_begin_again(x);
	skip_half(x, m.content, m.content_len);
	x->look = l;
	x->state = READER_TELLING;
	reader_tell(x);
}

static void
looks_ready(uv_poll_t *handle, int status, int events)
{
	struct relay *r = handle->data;
	struct look *l;

	(void)status;
	(void)events;
	while ((l = queue_pair_take(r->looks)) != NULL) {
		struct reader *x = l->owner;

		x->is_looking = false;
		if (x->state == READER_OVER)
			look_free(l);
		else
			look_came(x, l);
		reader_arm(x);
		reader_let_go(x);
	}
}

bool
readers_open(struct relay *r)
{
	if (uv_poll_init(&r->loop, &r->looks_poll, queue_pair_fd(r->looks)) !=
	    0)
		return false;
	r->looks_poll.data = r;
	uv_poll_start(&r->looks_poll, UV_READABLE, looks_ready);
	return true;
}
