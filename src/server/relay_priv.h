/*
 * What relay.c, relay_roll.c, stream.c and stream_reply.c share. Thread: relay.
 */
#ifndef SERVER_RELAY_PRIV_H
#define SERVER_RELAY_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "model/model.h"
#include "server/client.h"
#include "server/relay.h"
#include "server/upstream.h"

struct queue;
struct relay_redis;

struct relay {
	const struct config *config;
	struct ledger *ledger;
	struct upstream *upstream;
	struct relay_redis *redis; /* NULL once everything is over */
	uv_loop_t loop;
	struct queue *inbox;  /* struct handoff: new replies */
	struct queue *stored; /* struct turn: back from the ledger */
	struct queue *rolls;  /* struct roll: back from the ledger */
	uv_poll_t inbox_poll;
	uv_poll_t stored_poll;
	uv_poll_t rolls_poll;
	uv_async_t wake;      /* relay_drain was called */
	uv_prepare_t prepare; /* flushes dirty streams before the loop waits */
	uv_timer_t flush_timer; /* wakes the loop for coalesced text */
	uv_timer_t drain_timer;
	uv_timer_t roll_timer;  /* asks whose sessions have ended */
	bool is_asking;         /* a roll is with the ledger */
	struct stream *streams; /* all, doubly linked */
	struct stream *dirty;   /* those with something to flush */
	size_t n_streams;
	bool is_draining;
	bool is_closing;
	_Atomic size_t count; /* inbox included */
	_Atomic uint64_t drain_ms;
	_Atomic bool wants_drain;
	_Atomic bool has_ended;
};

enum stream_state {
	STREAM_ASKING,  /* a request is with the model */
	STREAM_WAITING, /* pausing before the next try, or is_listening */
	STREAM_STORING, /* the turn is with the ledger: hands off it */
	STREAM_OVER,    /* everything is said; waiting for handles to close */
};

/* One reply in flight. */
struct stream {
	struct relay *relay;
	struct stream *prev, *next;
	struct stream *dirty_next;
	bool is_dirty;
	enum stream_state state;

	struct turn *turn;
	bool wants_stream;
	const char *method;
	const struct route *route;
	char *origin; /* owned; NULL: not a page of an allowed origin */
	char *limits; /* owned; header lines, NULL: none, or they are sent */
	char request_id[64];
	struct phases phases; /* of the front */

	struct client client;
	struct transfer transfer;
	struct model_parser parser;
	long http_status;      /* of the model's answer to this try */
	struct buf error_body; /* of a non-2xx answer, cut */
	bool is_full;          /* the reply reached its longest size */

	uv_timer_t timer;
	int handles;            /* libuv handles not closed yet */
	uint64_t last_byte_ms;  /* from the model */
	uint64_t last_sent_ms;  /* to the client, for the heartbeat */
	uint64_t last_flush_ms; /* of text, for coalescing */
	uint64_t end_ms;        /* CHAT_REPLY_MAX_SECONDS are over */
	uint64_t retry_ms;      /* when STREAM_WAITING ends */

	bool is_listening;  /* somebody else asks the very same */
	bool is_looking;    /* and whether they are done is being asked */
	bool looks_again;   /* and once more after that */
	uint64_t answer_ms; /* when to look again, or to hold the lock */

	size_t sent;       /* bytes of turn->text written to the client */
	uint64_t event_id; /* of the last event */
	int status;        /* HTTP status told to the client */
	const char *why;   /* for the log; constant or NULL */
	char why_text[256];
};

/* Makes the stream and starts it. Takes the handoff over in any case. */
void stream_begin(struct relay *r, const struct handoff *h);

/* The turn came back from the ledger: says the last word and closes. */
void stream_stored(struct stream *s);

/* Writes text that waits, or notices that the model is done. */
void stream_service(struct stream *s, uint64_t now_ms);

/* Ends the reply now as interrupted, text so far is kept; `why` is constant. */
void stream_interrupt(struct stream *s, enum err error, const char *why);

/* relay.c: puts the stream onto the dirty list. */
void relay_mark_dirty(struct stream *s);

/* relay.c: puts the stream onto the list of all. Called once, first. */
void relay_remember(struct stream *s);

/* relay.c: forgets the stream. Called once, when its last handle is closed. */
void relay_forget(struct stream *s);

/* relay_roll.c: begins to look for ended sessions, and takes down the rest. */
bool relay_roll_open(struct relay *r);
void relay_roll_free(struct relay *r);

/* Asks the model; or says an answer that came otherwise, t->prompt. */
void stream_ask(struct stream *s);
void stream_answer_locally(struct stream *s);

/* stream_answer.c: true: it waits for another's answer; retry_ms is its end. */
bool stream_answer_wait(struct stream *s);
void stream_answer_leave(struct stream *s);
uint64_t stream_answer_due_ms(const struct stream *s);
void stream_answer_tick(struct stream *s, uint64_t now_ms);
void stream_answer_redis_changed(void *relay, bool is_away);

/* stream_reply.c: what the client sees. */
void stream_say_start(struct stream *s);
void stream_say_text(struct stream *s, const char *p, size_t n);
void stream_say_heartbeat(struct stream *s);
void stream_say_end(struct stream *s); /* done or error, then END_REQUEST */

#endif
