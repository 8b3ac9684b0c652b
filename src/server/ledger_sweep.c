/*
 * Sweeps up after dead workers. Owns the order of things: the text is read
 * before the reply ends, and the log's last entry is written after the commit,
 * as the relay does it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "server/last_word.h"
#include "server/ledger_sweep.h"
#include "server/reply_tail.h"
#include "store/pg.h"
#include "store/redis.h"

/* No further reply is taken into a piece with so much text, in bytes. */
#define PIECE_BYTES ((size_t)1 << 20)

/* How long Redis, which may hold the text alone, is waited for, in ms. */
#define REDIS_WAIT_MS 60000

/* Replies of one piece that found their rows locked, after which the rest is
 * left for the next: each has cost 2 s. */
#define LOCKED_MAX 2

struct piece {
	const struct sweep *sweep;
	struct lost_reply replies[LOST_MAX];
	struct reply_tail tails[LOST_MAX];
	size_t n_taken;
	size_t n;           /* of those, the first, that end now */
	bool redis_is_away; /* seen in this piece */
};

/* What the log gave, fit to be stored. */
static void
clean_text(struct buf *text)
{
	struct buf clean = {0};

	text->n -= text_incomplete_tail(text->p, text->n);
	if (text_is_clean(text->p, text->n))
		return;
	text_append_clean(&clean, text->p, text->n);
	buf_free(text);
	*text = clean;
}

/* Reads the text; false: this reply waits for Redis. */
static bool
read_text(struct piece *p, struct lost_reply *l, struct reply_tail *tail)
{
	struct reply_told told = {0};
	enum err e = ERR_UNAVAILABLE;

	*tail = (struct reply_tail){0};
	if (!p->redis_is_away)
		e = reply_tail_read(
		    p->sweep->redis, l->message_id, &told, tail);
	reply_told_close(&told);
	l->text = told.text;
	l->tool_calls = told.tool_calls;
	l->tool_responses = told.tool_responses;
	if (e == ERR_UNAVAILABLE) {
		p->redis_is_away = true;
		return l->lost_ms >= REDIS_WAIT_MS;
	}
	if (e != OK)
		log_with(LOG_ERROR, "the log of a lost reply cannot be read",
		    LOG_TEXT("message_id", l->message_id),
		    LOG_TEXT("why", redis_why(p->sweep->redis)));
	l->has_text = e == OK && tail->is_there && !l->text.failed;
	/* A log may say anything. */
	if (tail->at.bytes <= 2 * REPLY_TAIL_MAX)
		l->bytes = tail->at.bytes;
	if (l->has_text) {
		clean_text(&l->text);
		return true;
	}
	buf_free(&l->tool_calls);
	buf_free(&l->tool_responses);
	return true;
}

/* Puts those that can end now in front, still in the users' order. */
static void
read_texts(struct piece *p)
{
	size_t bytes = 0;

	for (size_t i = 0; i < p->n_taken && bytes < PIECE_BYTES; i++) {
		struct lost_reply l = p->replies[i];

		if (!read_text(p, &l, &p->tails[p->n])) {
			lost_clear(&l, 1);
			continue;
		}
		bytes += l.text.n;
		p->replies[p->n++] = l;
	}
}

static void
log_stuck(const struct piece *p, const struct lost_reply *l)
{
	log_with(LOG_ERROR, "a lost reply could not be ended",
	    LOG_TEXT("message_id", l->message_id),
	    LOG_TEXT("why", pg_why(p->sweep->pg)));
}

/* One by one, and a text that Postgres does not take is done without: one bad
 * row holds up nobody else's. */
static void
end_singly(struct piece *p)
{
	int locked = 0;

	for (size_t i = 0; i < p->n && locked < LOCKED_MAX; i++) {
		struct lost_reply *l = &p->replies[i];
		enum err e = lost_end(p->sweep->pg, l, 1);

		if (e != OK && e != ERR_UNAVAILABLE && l->has_text) {
			log_stuck(p, l);
			l->has_text = false;
			buf_free(&l->tool_calls);
			buf_free(&l->tool_responses);
			e = lost_end(p->sweep->pg, l, 1);
		}
		if (e == ERR_UNAVAILABLE)
			locked++;
		else if (e != OK)
			log_stuck(p, l);
	}
}

/* The log ends as the stream of a living worker would have. */
static void
say_end(const struct piece *p, const struct lost_reply *l,
    const struct reply_tail *tail)
{
	struct reply_event last = {.name = "error", .name_len = 5};
	struct buf problem = {0};
	const struct buf *data = &problem;

	if (l->is_cancelled) {
		last.name = "done";
		last.name_len = 4;
		data = &l->stored;
	} else {
		last_word_problem(&problem, &(struct last_problem){
						.error = ERR_INTERRUPTED,
						.message_id = l->message_id,
					    });
	}
	last.data = data->p;
	last.n = data->n;
	reply_tail_end(
	    p->sweep->redis, l->message_id, tail, &l->content, &last);
	buf_free(&problem);
}

/* Tells readers; how many replies were ended. */
static size_t
say_ends(struct piece *p)
{
	size_t ended = 0, with_text = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (!p->replies[i].was_ended)
			continue;
		ended++;
		if (p->replies[i].content.n > 0)
			with_text++;
		say_end(p, &p->replies[i], &p->tails[i]);
	}
	if (ended > 0)
		log_with(LOG_NOTICE, "replies of a dead worker were ended",
		    LOG_NUMBER("replies", ended),
		    LOG_NUMBER("with_text", with_text));
	return ended;
}

enum err
ledger_sweep(const struct sweep *s, bool *out_has_more)
{
	struct piece p = {.sweep = s};
	size_t ended;
	enum err e = lost_take(
	    s->pg, s->worker_id, s->whose, p.replies, LOST_MAX, &p.n_taken);

	if (e != OK || p.n_taken == 0)
		return e;
	read_texts(&p);
	if (p.n > 0 && lost_end(s->pg, p.replies, p.n) != OK)
		end_singly(&p);
	ended = say_ends(&p);
	*out_has_more = ended > 0 && (p.n_taken == LOST_MAX || p.n < p.n_taken);
	lost_clear(p.replies, p.n);
	return OK;
}
