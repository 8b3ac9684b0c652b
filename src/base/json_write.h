/*
 * Writing JSON straight into a buffer: for rows, of which a page has up to 200
 * with 15 members each. For 50 messages json-c's objects took 380 us of CPU,
 * this takes 130.
 *
 * Commas come by themselves: what follows anything but an opening bracket is
 * separated from it. The buffer must therefore be empty, or end inside of a
 * container, when something is written. Text must be valid UTF-8. A buffer
 * that ran full is `failed`, as with every append.
 *
 * Thread: any; pure.
 */
#ifndef BASE_JSON_WRITE_H
#define BASE_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Opens an object ('{') or an array ('['); `key` NULL outside of objects. */
void json_write_open(struct buf *b, const char *key, char bracket);

/* Closes what was opened last with '}' or ']'. */
void json_write_close(struct buf *b, char bracket);

/* A member that is a string, or null for NULL. */
void json_write_text(struct buf *b, const char *key, const char *text);

/* A member that is a string of `n` bytes. */
void json_write_bytes(struct buf *b, const char *key, const char *p, size_t n);

/* A member that is a number. */
void json_write_number(struct buf *b, const char *key, int64_t number);

/* A member that is true or false. */
void json_write_flag(struct buf *b, const char *key, bool flag);

/*
 * A member that is a time: RFC 3339 in UTC with microseconds, made of what
 * Postgres writes for a timestamptz in a UTC and ISO session
 * ("2026-01-31 23:59:59.5+00"). Anything else (infinity) stays as it is; null
 * for NULL.
 */
void json_write_time(struct buf *b, const char *key, const char *time);

/* A member whose value is valid JSON text (a JSONB column); null for NULL. */
void json_write_raw(struct buf *b, const char *key, const char *json);

#endif
