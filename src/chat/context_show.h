/*
 * What a reply's model was told: the body is built again from the note that was
 * stored with the reply and from what is still there, by the same code. Where
 * its hash is that of the bytes that were sent, it is what was sent; else what
 * has gone or changed since is named.
 *
 * Thread: the request's. Round trips: two, three where there were passages.
 */
#ifndef CHAT_CONTEXT_SHOW_H
#define CHAT_CONTEXT_SHOW_H

#include "base/errors.h"

struct buf;
struct request;

/* Appends the JSON. ERR_NOT_FOUND: it is no reply of the caller's, or nobody
 * was asked for it, or nothing is known of what was sent. */
enum err
context_show(struct request *req, const char *id, struct buf *out) MUST_CHECK;

#endif
