/*
 * Requests that stream, each in a thread of its own, and reading replies again
 * from where somebody left off: for tests of GET /messages/{id}/stream.
 *
 * Ownership: call_clear frees what a call holds. Thread: the test's.
 */
#ifndef TESTS_FOLLOW_CALL_H
#define TESTS_FOLLOW_CALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "stack.h"

/* One request that goes on. */
struct call {
	pthread_t thread;
	struct ask ask;
	char path[160], json[512], header[96];
	struct answer answer; /* once it has ended */
	_Atomic int events;   /* that came so far */
	_Atomic size_t text;  /* bytes of text in them */
	_Atomic bool has_ended;
	bool is_joined;
};

/* Asks a question of the person's conversation; hangs up after so many events
 * (0: never). */
void call_say(struct call *c, const struct stack *s, const struct person *p,
    const char *content, int hang_up_after);

/* Follows a message; `after` as Last-Event-ID, NULL: from its beginning. */
void call_follow(struct call *c, const struct stack *s, const char *token,
    const char *message_id, const char *after);

/* Waits until so many events have come, or it has ended. */
void call_await(struct call *c, int events);

/* Waits until so many bytes of text have come, or it has ended. */
void call_await_text(struct call *c, size_t bytes);

/* Waits until it has ended. */
const struct answer *call_join(struct call *c);
void call_clear(struct call *c);

/* Both at once: follows to the end. */
void follow(const struct stack *s, const char *token, const char *message_id,
    const char *after, struct answer *a);

/* The newest reply of the person's conversation; waits until there is one. */
void reply_id(const struct person *p, char out_id[40]);

/* Waits until the message has ended, and gives its text, to be freed. */
char *reply_text(const char *message_id);

/*
 * What a client shows after `k` events of `first` and all of `rest`, which
 * began where those ended; to be freed. NULL: `rest` does not say with which
 * byte it begins, or with neither 0 nor that one.
 */
char *
text_resumed(const struct answer *first, size_t k, const struct answer *rest);

#endif
