/*
 * What happens within a reply besides its text: a passage is cited, a tool is
 * called. Each has a place in the text, after which it is said: the relay
 * appends it to the reply's log and tells the client, in order with the text.
 * They are kept until the turn ends, so that a log that has to be written anew
 * is whole.
 *
 * Ownership: the turn. Thread: relay.
 */
#ifndef CHAT_TURN_EVENTS_H
#define CHAT_TURN_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* More are dropped: nobody reads a reply with so many. */
#define TURN_EVENTS_MAX 1024

struct turn_event {
	const char *name; /* constant */
	char *data;       /* JSON */
	size_t n;
	uint64_t at;     /* bytes of text before it */
	uint64_t number; /* in the reply's log; 0: not said yet */
};

struct turn_events {
	size_t n;
	struct turn_event *p;
};

/* Appends one, which takes the data over (it is empty afterwards); `at` is
 * never less than that of the one before. False: dropped. */
bool turn_events_add(struct turn_events *events, const char *name, uint64_t at,
    struct buf *data);

void turn_events_free(struct turn_events *events);

#endif
