/*
 * A whole answer out of its chunks, for a client that asked for no stream:
 * what is sent piece by piece is put together again, members that nobody here
 * knows too. Texts grow, things with an `index` meet their like, the rest is
 * what was said last.
 *
 * The reply's own text is not kept here: whoever collects has it.
 *
 * Thread: any, one at a time; no I/O. All memory is its own.
 */
#ifndef MODEL_OPENAI_COLLECT_H
#define MODEL_OPENAI_COLLECT_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct model_object;
struct openai_collected;
struct openai_stamp;

struct openai_collected *openai_collect_new(void);
void openai_collect_free(struct openai_collected *c);

/* Takes one object; what is no valid JSON is passed over. */
void
openai_collect(struct openai_collected *c, const struct model_object *object);

/* How it ends. Borrowed strings. */
struct openai_ending {
	const char *text; /* clean */
	size_t n;
	const char *finish; /* where the server gave no reason */
	const char *usage;  /* JSON */
};

/* Appends it as one chat.completion. */
void openai_collected_write(struct buf *out, const struct openai_collected *c,
    const struct openai_stamp *stamp, const struct openai_ending *end);

/* Appends a chunk's choice that says all of it at once, but for the reason of
 * its end, to a client that wants a stream. */
void openai_collected_choice(struct buf *out, const struct openai_collected *c,
    const struct openai_ending *end);

/* Appends what else is said, for whoever checks it: reasoning, arguments. */
void openai_collected_words(struct buf *out, const struct openai_collected *c);

/* Is the member of this name said again in a chunk, and not gone on with? */
bool openai_is_said_again(const char *name, size_t n);

/* Appends the tool calls as a JSON array; nothing where there are none. */
void openai_collected_calls(struct buf *out, const struct openai_collected *c);

#endif
