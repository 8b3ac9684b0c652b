/*
 * Exports: one conversation, or everything that is kept about the caller, read
 * and written page by page, so that however much there is a worker holds one
 * page. The JSON form ends with `end`: counts, and the SHA-256 of all bytes
 * before `"end"`; what stops without it is not whole.
 *
 * Each page is a transaction of its own behind the last row's key: no snapshot
 * stands in vacuum's way for as long as somebody downloads. What is there from
 * beginning to end is in it exactly once.
 *
 * Thread: chores (bulk).
 */
#ifndef CHAT_EXPORT_H
#define CHAT_EXPORT_H

#include "base/errors.h"

struct reply_source;
struct request;

#define EXPORT_FORMAT  "natter-export"
#define EXPORT_VERSION 1

/* One conversation as JSON or as Markdown; ERR_NOT_FOUND. The source lives in
 * the request's arena. out_ids: its id, and the short one for the file's name.
 */
enum err export_conversation(struct request *req, const char *name,
    struct reply_source **out_source, const char *out_ids[static 2]) MUST_CHECK;
enum err export_markdown(struct request *req, const char *name,
    struct reply_source **out_source, const char *out_ids[static 2]) MUST_CHECK;

/* Everything about the caller. */
enum err
export_me(struct request *req, struct reply_source **out_source) MUST_CHECK;

#endif
