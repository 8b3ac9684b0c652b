/*
 * How far a reply has come: so many events, and so many bytes of text. Events
 * carry it as their SSE id, `<n>-<bytes>`, and the entries of the reply's log
 * as theirs (server/reply_log.h).
 *
 * Thread: any; pure.
 */
#ifndef CHAT_REPLY_POSITION_H
#define CHAT_REPLY_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0-0: nothing yet. */
struct reply_position {
	uint64_t n;     /* events */
	uint64_t bytes; /* of the reply's text, all of those events' */
};

#define REPLY_POSITION_TEXT 42

void reply_position_print(
    struct reply_position at, char out_text[static REPLY_POSITION_TEXT]);

/* Reads what reply_position_print wrote, and nothing else. */
bool
reply_position_parse(const char *text, size_t n, struct reply_position *out_at);

#endif
