/*
 * Text as the inside of a JSON string. Thread: any.
 */
#ifndef TESTS_JSON_ESCAPE_H
#define TESTS_JSON_ESCAPE_H

#include <stddef.h>

#include "base/buf.h"

/* Appends `n` bytes escaped; bytes over 0x7f stay as they are. */
void json_escape(struct buf *b, const char *bytes, size_t n);

#endif
