/*
 * One JSON object per line on stderr, written with one write(2) so that lines
 * of several processes do not mix (they are cut at 4,000 bytes: PIPE_BUF is
 * 4,096). Only code that decides logs; libraries return an error.
 *
 * Never logged: passwords, tokens, message text, keys. Thread: any.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

#include "base/errors.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERROR };

/* A field of a log line: text, or a number where `text` is NULL. */
struct log_field {
	const char *key;
	const char *text;
	int64_t number;
};

/* A field of text; NULL becomes "". */
static inline struct log_field
log_field_text(const char *key, const char *text)
{
	return (struct log_field){key, text ? text : "", 0};
}

#define LOG_TEXT(k, t)   log_field_text((k), (t))
#define LOG_NUMBER(k, v) ((struct log_field){(k), NULL, (int64_t)(v)})

/* Lines below `min` are dropped. Call before threads are made. */
void log_init(const char *process, enum log_level min);

/* The level named `name` ("debug".."error"), or -1. */
int log_level_named(const char *name);

/* Writes one line: time, level, process, pid, `msg`, then the fields. */
void log_line(enum log_level level, const char *msg, int n_fields,
    const struct log_field *fields);

#define log_with(level, msg, ...)                             \
	log_line((level), (msg),                              \
	    (int)(sizeof((struct log_field[]){__VA_ARGS__}) / \
		  sizeof(struct log_field)),                  \
	    (struct log_field[]){__VA_ARGS__})

/* Writes one line whose message is formatted; no fields. */
void log_text(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
