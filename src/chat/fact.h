/*
 * What a user wants every model to know about them: a few sentences, which
 * contexts begin with (chat/context.h).
 *
 * Thread: the request's. Round trips: one each.
 */
#ifndef CHAT_FACT_H
#define CHAT_FACT_H

#include "base/errors.h"
#include "base/id.h"

struct buf;
struct request;

#define FACTS_MAX      50
#define FACT_CHARS_MAX 500

/* Appends them as a JSON array, the oldest first. */
enum err facts_list(struct request *req, struct buf *out) MUST_CHECK;

/* ERR_INVALID_FIELD: it is no line of text, or there are FACTS_MAX already. */
enum err fact_create(struct request *req, const char *content, struct buf *out,
    char out_id[static ID_TEXT]) MUST_CHECK;

/* `content` NULL: as it is. */
enum err fact_update(struct request *req, const char *id, const char *content,
    struct buf *out) MUST_CHECK;
enum err fact_delete(struct request *req, const char *id) MUST_CHECK;

#endif
