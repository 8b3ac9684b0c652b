/*
 * A server's chunk as a client of our own gets it: under the id that it knows
 * the reply by, without the usage, which has a chunk of its own at the end, and
 * otherwise as it came. Nothing is parsed into objects: the members are copied
 * from one text to the other.
 *
 * Thread: any; pure.
 */
#ifndef MODEL_OPENAI_CHUNK_H
#define MODEL_OPENAI_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct model_usage;

/* What all chunks of one reply say alike. Borrowed strings. */
struct openai_stamp {
	const char *id;
	const char *model; /* where the server names none */
	int64_t created_s; /* likewise */
	bool is_whole;     /* of a whole answer, not of a chunk */
};

/*
 * Appends the chunk, one line without a break; nothing where it held only the
 * usage. *usage gets the usage as the server wrote it, if it did.
 */
void openai_chunk_rewrite(struct buf *out, const struct openai_stamp *stamp,
    const char *json, size_t n, struct buf *usage);

/* The usage of an object, if it has one, as the server wrote it. */
void openai_usage_find(const char *json, size_t n, struct buf *usage);

/* Appends the beginning of an object of ours, up to where `choices` is due:
 * {"id":…,"object":…,"created":…,"model":… */
void openai_chunk_open(struct buf *out, const struct openai_stamp *stamp);

/* Appends a whole chunk with one choice; `delta` is JSON,
 * `finish` a reason or NULL. */
void openai_chunk_write(struct buf *out, const struct openai_stamp *stamp,
    const char *delta, const char *finish);

/* Appends a usage object with our own numbers. */
void openai_usage_write(struct buf *out, const struct model_usage *usage);

#endif
