/*
 * Many users at once, and the load client that speaks for them.
 * Environment: STREAM_LOAD, beside what the stack needs.
 */
#ifndef TESTS_CROWD_H
#define TESTS_CROWD_H

#include <stddef.h>

#include "stack.h"

struct crowd {
	const struct stack *stack;
	struct person *people;
	size_t n;
	char tokens[128]; /* stream_load's file of them */
};

/* Registers `n` users, each with a conversation. CHAT_HASH_MEMORY=8 helps. */
void crowd_make(const struct stack *s, size_t n, struct crowd *out);
void crowd_free(struct crowd *c);

/* What stream_load said. */
struct load_end {
	int code; /* 0: every stream completed */
	long completed, hung_up;
	char *report; /* its JSON, and what it complained about; owned */
};

/*
 * Posts `body` (%d: the stream's number) once for each of the first `count`
 * users, all at once, and follows the streams to their ends, or hangs up
 * after `hangup_after` deltas (0: never). `dump` NULL or a folder for texts.
 */
void crowd_stream(const struct crowd *c, size_t count, const char *body,
    int hangup_after, const char *dump, struct load_end *out);
void load_end_clear(struct load_end *e);

#endif
