/*
 * The connection to nginx of a reply that goes on: bytes become FastCGI
 * records, are sent at once when the socket takes them and wait in a bounded
 * buffer when it does not. A slow reader is cut, never waited for; a vanished
 * one is noticed at once (EPOLLRDHUP). Either way only this connection ends:
 * the reply itself goes on.
 *
 * Ownership: the embedding object holds the struct until `on_closed` was
 * called. Thread: relay.
 */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/errors.h"

enum client_state {
	CLIENT_OPEN,
	CLIENT_ENDING, /* everything is said; closes when `out` is empty */
	CLIENT_CLOSED, /* ended, cut, or vanished */
};

struct client {
	int fd;         /* -1 once closed */
	int request_id; /* FastCGI's */
	enum client_state state;
	bool was_cut;      /* closed because it read too slowly */
	bool has_vanished; /* closed by the other side before the end */
	size_t out_max;    /* cut when this many bytes wait and more comes */
	struct buf out;    /* bytes that wait; holds memory only then */
	size_t sent;       /* bytes of `out` that are sent already */
	uint64_t ended_ms; /* when the last output was given */
	uv_poll_t poll;
	int watched;                          /* what `poll` waits for */
	void (*on_drained)(struct client *c); /* `out` waited, and is empty now;
					       * NULL: nobody asks */
	void (*on_closed)(struct client *c);  /* the struct may go now */
};

/*
 * Takes over `fd` (closed by the client from now on). Non-zero: there is none
 * (-1) or libuv cannot watch it; then on_closed will not be called.
 */
int client_open(
    struct client *c, uv_loop_t *loop, int fd, int request_id, size_t out_max);

/* Sends application output; does nothing once closed or ending. */
void client_write(struct client *c, const void *p, size_t n);

/* Sends the last output and END_REQUEST at once; the connection closes when
 * all is out. */
void client_end(struct client *c, const void *p, size_t n);

/* Closes now without END_REQUEST. */
void client_cut(struct client *c);

/* Closes one that has not taken the last output `max_ms` after it was given. */
void client_cut_late(struct client *c, uint64_t max_ms);

/* Is there somebody to write to? */
bool client_is_open(const struct client *c);

/* Bytes that wait for the other side to read. */
size_t client_waiting(const struct client *c);

#endif
