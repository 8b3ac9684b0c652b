/*
 * Events that a site's pages report of their users, and their sums by day.
 * Thread: front.
 */
#ifndef CHAT_ANALYTICS_H
#define CHAT_ANALYTICS_H

#include "base/errors.h"

struct buf;
struct request;

#define ANALYTICS_EVENTS_MAX     100 /* of a batch */
#define ANALYTICS_PROPERTIES_MAX 2048
#define ANALYTICS_ROWS_MAX       1000 /* of an answer */
#define ANALYTICS_VALUE_MAX      1e15

/* Stores a batch, a JSON array as ANALYTICS_ADD takes it. */
enum err analytics_add(struct request *req, const char *events) MUST_CHECK;

/* The caller's sums of [from, to] as a JSON array; category may be NULL. */
enum err analytics_list(struct request *req, const char *category,
    const char *from, const char *to, struct buf *out) MUST_CHECK;

#endif
