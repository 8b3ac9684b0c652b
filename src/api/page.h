/*
 * The form that every list has: {"data":[…],"next_cursor":…}.
 *
 * Thread: the request's.
 */
#ifndef API_PAGE_H
#define API_PAGE_H

#include "base/errors.h"

struct json_object;
struct reply;
struct request;

/*
 * Answers 200 with the rows, which are put (freed) here, and the cursor after
 * the last of them: `keys` as cursor_make takes them, keys[0] NULL when no
 * more rows follow.
 */
enum err page_reply(struct request *req, struct reply *rep,
    struct json_object *data, const char *list,
    const char *const *keys) MUST_CHECK;

#endif
