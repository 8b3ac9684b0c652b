/*
 * A document as it comes: a file as the body, with its own media type; a file
 * in a form (multipart/form-data); or text in JSON. In each case what becomes
 * of it is text (knowledge/extract.h), and what is wrong with it is said by
 * the field's name.
 *
 * Thread: bulk.
 */
#ifndef API_UPLOAD_H
#define API_UPLOAD_H

#include <stdbool.h>

#include "base/errors.h"

struct document_change;
struct request;

/* Does the route take bodies that are no JSON? */
bool upload_is_taken(const struct request *req);

/* Reads the body: a file, or a form with one. */
enum err
upload_read(struct request *req, struct document_change *out) MUST_CHECK;

/* Makes c->content of the file's bytes (c->raw); `field` is what is refused. */
enum err upload_extract(struct request *req, struct document_change *c,
    const char *field) MUST_CHECK;

#endif
