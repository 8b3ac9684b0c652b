/*
 * A document's passages as SQL takes them: where each stands in the text, its
 * heading, and an id made for it. What a passage is, chunker.h says.
 *
 * Thread: any; pure but for the ids.
 */
#ifndef CHAT_PASSAGES_H
#define CHAT_PASSAGES_H

#include <stddef.h>

struct buf;

/*
 * Appends the passages of a text as a JSON array of {"i": id, "h": heading,
 * "s": start, "e": end} (bytes), and returns how many there are; it stops at
 * the first beyond `max`.
 */
size_t passages_write(
    struct buf *out, const char *content, const char *mime_type, size_t max);

#endif
