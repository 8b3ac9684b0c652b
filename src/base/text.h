/*
 * Text from outside: UTF-8 checks, usernames, base64url. Unicode work is
 * libunistring's, encodings are libsodium's.
 *
 * Thread: any.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct arena;
struct buf;

/* Is the text valid UTF-8 (RFC 3629) without a NUL? */
bool text_is_clean(const char *p, size_t n);

/* Characters (code points) of valid UTF-8. */
size_t text_length(const char *p, size_t n);

/*
 * Appends `p` to `out` with NULs dropped and each invalid UTF-8 sequence
 * replaced by U+FFFD: what a model sends must always be storable.
 */
void text_append_clean(struct buf *out, const char *p, size_t n);

/* Takes out of a string what is no valid UTF-8: the rest of characters that
 * were cut when it was made of clean ones. */
void text_mend(char *s);

/*
 * The longest prefix of the `n` bytes at `p`, at most `max` bytes, that does
 * not cut a UTF-8 sequence.
 */
size_t text_prefix(const char *p, size_t n, size_t max);

/* Bytes at the end of `p` that begin a UTF-8 sequence not yet complete (0-3).
 */
size_t text_incomplete_tail(const char *p, size_t n);

/*
 * A username as it is stored and compared: white space stripped at both ends,
 * NFC, case-folded (full folding), NFC again. ERR_INVALID_FIELD when it is
 * empty, longer than 64 characters, or holds a control, format, surrogate,
 * private or unassigned character or a space. The result lives in `a`.
 */
enum err
text_username(struct arena *a, const char *s, const char **out_name) MUST_CHECK;

/* Encodes as base64url without padding; NULL beyond the arena's cap. */
char *text_base64url(struct arena *a, const unsigned char *p, size_t n);

/*
 * Decodes canonical base64url without padding into `out`; false unless it
 * gives exactly `n` bytes.
 */
bool
text_from_base64url(const char *s, size_t len, unsigned char *out, size_t n);

/* Reads `n` digits; -1 where there is anything else. */
int text_digits(const char *s, int n);

/* How long the month of a day such as "2026-01-31" is, in days; 0: none from
 * the year 1 on begins `s`. */
int text_month_days(const char *s);

/* Is it a day that the calendar has, such as "2026-01-31"? */
bool text_is_day(const char *s);

/* 0 when equal; the time does not depend on where they differ. */
int text_compare_secret(const char *a, const char *b);

#endif
