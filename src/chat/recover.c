/*
 * Taking over and ending the replies of dead workers: fills the calls and reads
 * what they give. When, and where a text comes from, is the ledger's.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"
#include "chat/message.h"
#include "chat/queries.h"
#include "chat/recover.h"

/* A worker is dead after this time without a sign of life. */
#define DEAD_AFTER "10 seconds"

/* What LOST_TAKE gives. */
enum { TAKE_USER, TAKE_MESSAGE, TAKE_LOST_MS };

/* The calls of one reply in lost_end. */
enum { TOOLS, END, SHOW, END_CALLS };

static void
read_taken(const PGresult *r, int row, struct lost_reply *out)
{
	*out = (struct lost_reply){
	    .lost_ms = pg_number(r, row, TAKE_LOST_MS),
	};
	strncpy(out->user_id, pg_text(r, row, TAKE_USER), ID_TEXT - 1);
	strncpy(out->message_id, pg_text(r, row, TAKE_MESSAGE), ID_TEXT - 1);
}

enum err
lost_take(struct pg *pg, const char *worker_id, enum lost_whose whose,
    struct lost_reply *out, size_t max, size_t *out_n)
{
	char limit[16];
	assert(max <= LOST_MAX);
	(void)snprintf(limit, sizeof(limit), "%zu", max);
	struct pg_call call = {
	    .query = chat_query(CHAT_LOST_TAKE),
	    .params = {worker_id, whose == LOST_OF_DEAD ? NULL : DEAD_AFTER,
		limit},
	};
	enum err e = pg_run(pg, NULL, &call, 1);
	if (e != OK)
		return e;
	*out_n = (size_t)pg_rows(call.result);
	for (size_t i = 0; i < *out_n; i++)
		read_taken(call.result, (int)i, &out[i]);
	pg_calls_clear(&call, 1);
	return OK;
}

/* Once for each reply, as the relay and the ledger count theirs. */
static void
count(const struct lost_reply *l, const struct message *m)
{
	metrics_count(l->is_cancelled ? METRIC_REPLIES_CANCELLED
				      : METRIC_REPLIES_INTERRUPTED);
	metrics_add(METRIC_TOKENS_IN, m->prompt_tokens);
	metrics_add(METRIC_TOKENS_OUT, m->completion_tokens);
}

static void
read_ended(struct lost_reply *l, const struct pg_call *calls)
{
	struct message m;
	l->was_ended = pg_flag(calls[END].result, 0, 0);
	if (!l->was_ended || pg_rows(calls[SHOW].result) == 0)
		return;
	message_read(calls[SHOW].result, 0, &m);
	l->is_cancelled = strcmp(m.status, "cancelled") == 0;
	buf_add(&l->content, m.content, m.content_len);
	message_write(&l->stored, &m);
	count(l, &m);
}

/* NULL: it stays as it is. */
static const char *
json_or_null(struct buf *json)
{
	return json->n > 0 && !json->failed ? buf_text(json) : NULL;
}

enum err
lost_end(struct pg *pg, struct lost_reply *replies, size_t n)
{
	struct pg_call calls[LOST_MAX * END_CALLS] = {0};
	const char *users[LOST_MAX * END_CALLS] = {0};
	char bytes[LOST_MAX][24];
	assert(n <= LOST_MAX);
	for (size_t i = 0; i < n; i++) {
		struct lost_reply *l = &replies[i];
		struct pg_call *own = &calls[i * END_CALLS];
		(void)snprintf(
		    bytes[i], sizeof(bytes[i]), "%" PRIu64, l->bytes);
		own[TOOLS] = (struct pg_call){
		    .query = chat_query(CHAT_LOST_TOOLS),
		    .params = {l->user_id, l->message_id,
			json_or_null(&l->tool_calls),
			json_or_null(&l->tool_responses)},
		};
		own[END] = (struct pg_call){
		    .query = chat_query(CHAT_LOST_END),
		    .params = {l->user_id, l->message_id,
			l->has_text ? buf_text(&l->text) : NULL, bytes[i]},
		};
		own[SHOW] = (struct pg_call){
		    .query = chat_query(CHAT_MESSAGE_GET),
		    .params = {l->user_id, l->message_id},
		};
		for (size_t k = 0; k < END_CALLS; k++)
			users[i * END_CALLS + k] = l->user_id;
	}
	enum err e = pg_run_many(pg, users, calls, n * END_CALLS);
	for (size_t i = 0; i < n && e == OK; i++)
		read_ended(&replies[i], &calls[i * END_CALLS]);
	pg_calls_clear(calls, n * END_CALLS);
	return e;
}

void
lost_clear(struct lost_reply *replies, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_free(&replies[i].text);
		buf_free(&replies[i].stored);
		buf_free(&replies[i].content);
		buf_free(&replies[i].tool_calls);
		buf_free(&replies[i].tool_responses);
	}
}
