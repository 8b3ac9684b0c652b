/*
 * Stores as users see them: those that are open, and those that they belong
 * to, with their role there. Thread: front.
 */
#ifndef CHAT_STORE_H
#define CHAT_STORE_H

#include "base/errors.h"

struct buf;
struct request;

/* Appends a page by slug, after the one at `after` ("": all). */
enum err stores_list(struct request *req, const char *after, long limit,
    const char *limit_text, struct buf *out,
    const char *out_next[static 2]) MUST_CHECK;

/* By slug or id; ERR_NOT_FOUND. */
enum err
store_get(struct request *req, const char *name, struct buf *out) MUST_CHECK;

#endif
