/*
 * Errors as clients of OpenAI's protocol expect them: their shape, and the
 * status by which their libraries choose what to throw and whether to try
 * again. What happened is errors.def's; here is only how it is said there.
 *
 * Thread: any; pure.
 */
#ifndef HTTP_OPENAI_ERROR_H
#define HTTP_OPENAI_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct buf;
struct reply;
struct request;

/* The version of the protocol, as OpenAI's own header says it. */
#define OPENAI_VERSION "2020-10-01"

/* Was this asked by a path of that protocol? */
bool openai_is_asked(const struct request *req);

/* Adds the headers that every answer there has. */
void openai_headers(struct request *req, struct reply *rep);

/* The HTTP status of `e` there. */
int openai_error_status(enum err e);

/* One error. Borrowed strings; `type` and `code` NULL: those of `e`. */
struct openai_error {
	enum err e;
	const char *detail;  /* a sentence more, or NULL */
	const char *message; /* instead of e's sentence, or NULL */
	const char *type, *code;
	const char *param; /* what it is about, or NULL */
};

/* Appends {"error":{…}}. */
void openai_error_write(struct buf *out, const struct openai_error *error);

/* Makes the reply of a request that failed: status, body, and the headers that
 * tell a client not to try again. False: the arena is full. */
bool openai_error_reply(struct request *req, struct reply *rep, enum err e);

#endif
