/*
 * One connection to Redis on the relay's loop: bytes out, replies in, never
 * waiting. Made by a thread of libuv's pool (redis_wire_open blocks: DNS, the
 * greeting) and proved there by a write that changes nothing, so that a Redis
 * that is full, read-only or loading counts as away; lost connections are made
 * anew for ever. Knows nothing of what is asked: relay_redis.c and
 * relay_listen.c do.
 *
 * Ownership: the embedding object holds the struct until on_shut was called.
 * Thread: relay.
 */
#ifndef SERVER_RELAY_LINE_H
#define SERVER_RELAY_LINE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "store/redis_wire.h"

struct config;

enum line_state {
	LINE_DOWN,    /* the timer will dial */
	LINE_DIALING, /* a thread connects */
	LINE_OPEN,
	LINE_CLOSING, /* libuv lets go of the descriptor */
	LINE_SHUT,
};

struct relay_line {
	const struct config *config;
	uv_loop_t *loop;
	void *owner;
	void (*on_open)(struct relay_line *l);
	void (*on_reply)(struct relay_line *l, redisReply *reply);
	/* What was asked will not be answered: lost, or not in time. */
	void (*on_drop)(struct relay_line *l, const char *why);
	void (*on_shut)(struct relay_line *l); /* the struct may go now */
	/* Its clock: how often it has looked for answers, from 1. Advances only
	 * while one is awaited. */
	uint64_t looks;

	/* Private. */
	enum line_state state;
	struct redis_wire wire; /* the dialing thread's while LINE_DIALING */
	enum err dialed;
	uv_work_t dial;
	uv_poll_t poll;
	uv_timer_t timer; /* the next dial, or the next look */
	struct buf out;   /* of it `sent` bytes are sent */
	size_t sent;
	bool wants_write; /* the socket was full */
	bool is_shutting; /* close, and do not dial again */
	uint64_t opened_ms;
	uint64_t since; /* the oldest question's look; 0: none */
	uint64_t heard; /* at which look Redis last said anything */
	int handles;    /* libuv's, not closed yet */
};

/* Begins to connect as soon as the loop runs. The callbacks, `config`, `loop`
 * and `owner` are set already. */
void relay_line_start(struct relay_line *l);

/* Closes for good; on_shut follows. on_drop does not. */
void relay_line_shut(struct relay_line *l);

/* Appends a command to what relay_line_flush writes; false: too much waits.
 * What is put before the line is open is written when it is. */
bool relay_line_put(
    struct relay_line *l, int argc, const char **argv, const size_t *lens);

/* Writes what waits, as far as the socket takes it. */
void relay_line_flush(struct relay_line *l);

/*
 * At which look (l->looks) the oldest unanswered question was put; 0: none
 * waits. When Redis has said nothing at all for CHAT_REDIS_TIMEOUT since then
 * (a fifth more at most), or has not come to it in ten times as long, the line
 * is dropped. Time in which the loop did not come round does not count.
 */
void relay_line_expect(struct relay_line *l, uint64_t since);

/* Gives the connection up, and makes another. Not from on_reply. */
void relay_line_drop(struct relay_line *l, const char *why);

#endif
