/*
 * What GET /conversations/{id}/messages does with ?leaf=.
 *
 * Thread: the request's.
 */
#ifndef API_BRANCHES_H
#define API_BRANCHES_H

#include "base/errors.h"

struct path_ask;
struct reply;
struct request;

/*
 * Answers a page of the path to a leaf: `leaf` is a message's id or "current".
 * The ask comes with conversation, order and limit.
 */
enum err branches_answer_path(struct request *req, struct reply *rep,
    const char *leaf, struct path_ask *ask) MUST_CHECK;

#endif
