/*
 * Asks for one vector and waits: for a thread that may, which the front's and
 * the relay's are not. Thread: any; blocks for CHAT_EMBEDDING_TIMEOUT at most.
 */
#ifndef MODEL_EMBEDDING_FETCH_H
#define MODEL_EMBEDDING_FETCH_H

#include "base/errors.h"
#include "model/embedding.h"

struct config;

/* ERR_MODEL_FAILED, ERR_MODEL_TIMEOUT: *out_why says what happened, for people;
 * constant. */
enum err embedding_fetch(const struct config *config, const char *text,
    struct embeddings *out, const char **out_why) MUST_CHECK;

#endif
