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

struct looks;
struct queue;
struct reader;
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
	struct reader *readers; /* all, doubly linked */
	size_t n_readers;
	struct looks *looks; /* what readers ask the ledger */
	uv_poll_t looks_poll;
	bool is_draining;
	bool is_closing;
	_Atomic size_t count; /* streams, inbox included */
	_Atomic size_t count_readers;
	_Atomic uint64_t drain_ms;
	_Atomic bool wants_drain;
	_Atomic bool has_ended;
};

enum stream_state {
	STREAM_ASKING,  /* a request is with the model */
	STREAM_WAITING, /* pausing before the next try */
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

/* relay.c: a reader has gone; nothing may be left now. */
void relay_reader_gone(struct relay *r);

/* relay_roll.c: begins to look for ended sessions, and takes down the rest. */
bool relay_roll_open(struct relay *r);
void relay_roll_free(struct relay *r);

/* stream_reply.c: what the client sees. */
void stream_say_start(struct stream *s);
void stream_say_text(struct stream *s, const char *p, size_t n);
void stream_say_heartbeat(struct stream *s);
void stream_say_end(struct stream *s); /* done or error, then END_REQUEST */

#endif
