/*
 * The subscriptions of relay_redis.c: who listens to which channel, over a
 * connection of its own that is made for the first of them. Not for anybody
 * else. Thread: relay.
 */
#ifndef SERVER_RELAY_LISTEN_H
#define SERVER_RELAY_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/relay_line.h"
#include "server/relay_redis.h"

#define LISTEN_BUCKETS 512

struct listeners {
	struct relay_line line;
	bool has_line;      /* relay_line_start was called */
	bool is_open;       /* the line is */
	uint64_t asked;     /* commands of this connection */
	uint64_t confirmed; /* those that are answered */
	bool is_calling;    /* listeners are being called: nobody is freed */
	bool has_dead;      /* some were taken away meanwhile */
	struct listener *buckets[LISTEN_BUCKETS];
};

bool listeners_add(struct listeners *ls, const char *channel,
    relay_redis_hint_fn fn, void *arg);
void listeners_drop(struct listeners *ls, const char *channel, const void *arg);

/* The other connection found Redis gone: this one need not wait to see it. */
void listeners_doubt(struct listeners *ls);

/* Forgets them all; the line is its owner's to shut. */
void listeners_clear(struct listeners *ls);

/* The line's callbacks. */
void listeners_opened(struct relay_line *l);
void listeners_replied(struct relay_line *l, redisReply *reply);
void listeners_dropped(struct relay_line *l, const char *why);

#endif
