/*
 * What a stream does between its beginning and its first request to a model:
 * steps, run in their order. `start` has been said by then, so that a client
 * sees life and may cancel; in the log it is the first event as ever.
 *
 * A step begins with the stream in STREAM_PREPARING. It says true when it has
 * nothing (more) to do. Otherwise it has begun an errand, which it keeps in
 * s->preparation.errand so that the reply's end (its user's cancel, a drain, an
 * ended session, end_ms) stops it, and calls stream_prepared when that is over,
 * NULL in its place (what waits for the ledger keeps it in
 * s->preparation.find); or it has ended the reply (stream_fail) and calls
 * nothing. What is over by then has cost nothing: no model was asked.
 *
 * natter-local's answers and kept ones are prepared as well. A turn for which
 * no step has anything to do costs nothing here.
 *
 * Thread: relay.
 */
#ifndef SERVER_STREAM_PREPARE_H
#define SERVER_STREAM_PREPARE_H

#include <stdbool.h>
#include <stddef.h>

struct embed;
struct errand;
struct stream;

/* A stream's part in it. */
struct preparation {
	size_t step;           /* the one that is at work */
	struct errand *errand; /* what it waits for; NULL: none */
	struct embed *find;    /* or for the ledger: stream_embed.c's */
	uint64_t find_end_ms;  /* for so long */
	bool has_waited;       /* some step did */
};

/* Runs the steps; true: nothing is left to do, the model may be asked. */
bool stream_prepare(struct stream *s);

/* The step that said false is done: the next ones run, then the model is
 * asked. Nothing happens if the reply has ended meanwhile. */
void stream_prepared(struct stream *s);

/* The reply has ended: stops what runs. */
void stream_prepare_stop(struct stream *s);

#endif
