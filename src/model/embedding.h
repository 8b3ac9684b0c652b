/*
 * What a server that makes vectors of texts is asked and says: OpenAI's
 * POST /embeddings, which others speak too. Vectors come back as units, each
 * number times 32767: of two such, the cosine is their product's sum over
 * 32767 squared, and half the bytes of a float are lost where no ranking sees
 * it.
 *
 * Thread: any; pure.
 */
#ifndef MODEL_EMBEDDING_H
#define MODEL_EMBEDDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "model/model_server.h"

struct config;

/* The longest vector. */
#define EMBEDDING_DIMENSIONS_MAX 4096

/* Of an answer, in bytes: a number takes 24 at most. */
#define EMBEDDING_ANSWER_MAX(texts) \
	((size_t)65536 + (size_t)(texts)*EMBEDDING_DIMENSIONS_MAX * 24)

/* Room for embedding_name. */
#define EMBEDDING_NAME 240

/* Is CHAT_EMBEDDING_MODEL set? */
bool embedding_is_on(const struct config *config);

/* Where it is asked. */
struct model_server embedding_server(const struct config *config);

/* What vectors are compared with each other: the model's name, and after @ the
 * dimensions that it is asked for. */
void
embedding_name(const struct config *config, char out[static EMBEDDING_NAME]);

/* The size of the sentence that embedding_check writes. */
#define EMBEDDING_WHY 192

/* Can the settings work? Else ERR_INVALID_FIELD and what to mend. */
enum err embedding_check(
    const struct config *config, char why[static EMBEDDING_WHY]) MUST_CHECK;

/* Appends the request's body; with CHAT_PII_MASK each text is masked, by
 * itself: the same text always gives the same vector. */
void embedding_body(const struct config *config, const char *const *texts,
    size_t n, struct buf *out);

struct embeddings {
	int16_t *values; /* n vectors, one behind the other; owned */
	size_t n, dimensions;
	int64_t tokens; /* of the texts; -1: the server did not say */
};

/* Reads the answer about `n` texts; false: it is none, or there is no memory.
 */
bool
embeddings_read(const char *p, size_t len, size_t n, struct embeddings *out);

/* Appends all numbers as Postgres reads an array of them. */
void embeddings_write(const struct embeddings *e, struct buf *out);

void embeddings_free(struct embeddings *e);

#endif
