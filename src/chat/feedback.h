/*
 * What users think of replies: one rating each, which its owner may change and
 * take back. Thread: front.
 */
#ifndef CHAT_FEEDBACK_H
#define CHAT_FEEDBACK_H

#include "base/errors.h"

struct buf;
struct request;

#define FEEDBACK_REASONS_MAX 10
#define FEEDBACK_REASON_MAX  64   /* characters */
#define FEEDBACK_COMMENT_MAX 4000 /* characters */

struct feedback {
	const char *rating;  /* "1" or "-1" */
	const char *reasons; /* a JSON array of strings, or NULL */
	const char *comment; /* or NULL */
};

/* Gives, or changes, it and appends it. ERR_NOT_FOUND: no such reply, or it is
 * still being written. */
enum err feedback_put(struct request *req, const char *message_id,
    const struct feedback *f, struct buf *out) MUST_CHECK;

/* Appends it; ERR_NOT_FOUND. */
enum err feedback_get(
    struct request *req, const char *message_id, struct buf *out) MUST_CHECK;

/* Takes it back; ERR_NOT_FOUND. */
enum err
feedback_delete(struct request *req, const char *message_id) MUST_CHECK;

#endif
