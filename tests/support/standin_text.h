/*
 * The pseudo-random text of the model stand-in, alone in its file so that a
 * test links it and computes the very bytes that a `[[text=N seed=S]]` reply
 * must have carried.  Thread: any.
 */
#ifndef STANDIN_TEXT_H
#define STANDIN_TEXT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Fills out with exactly n bytes of valid UTF-8 that depend only on seed and
 * n: words, spaces, newlines, quotes, backslashes, characters of two to four
 * bytes.  Never a NUL, never a terminator; first and last byte are letters.
 */
void standin_text(uint64_t seed, size_t n, char *out);

#endif
