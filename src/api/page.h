/*
 * Replies whose JSON a domain wrote into a buffer, and the form that every
 * list has: {"data":[…],"next_cursor":…}.
 *
 * Thread: the request's.
 */
#ifndef API_PAGE_H
#define API_PAGE_H

#include "base/errors.h"

struct buf;
struct reply;
struct request;

/*
 * Answers `status` with the buffer, which is freed here; or, unless `e` is
 * OK, frees it and gives `e` back.
 */
enum err page_reply(struct request *req, struct reply *rep, enum err e,
    int status, struct buf *body) MUST_CHECK;

/* Begins a list: the rows, a JSON array, are to be appended next. */
void page_open(struct buf *body);

/*
 * Ends a list with the cursor after its last row, `keys` as cursor_make takes
 * them, keys[0] NULL when no more rows follow.
 */
enum err page_close(struct request *req, struct buf *body, const char *list,
    const char *const *keys) MUST_CHECK;

#endif
