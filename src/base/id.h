/*
 * Identifiers. A UUIDv7 (RFC 9562 section 5.7) is made here before the insert,
 * so that a whole turn goes to Postgres in one pipeline; its first 48 bits
 * are milliseconds, its last 74 random (libsodium). Within one thread ids
 * rise strictly even inside a millisecond: the 12 bits of rand_a count up.
 *
 * A short id is what stands in a URL instead of a UUID: 10 characters of
 * Crockford base32 without look-alikes, 50 random bits, unique per user.
 *
 * Thread: any; the counter is thread-local.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>

/* The size of a UUID's text with its NUL. */
#define ID_TEXT 37

/* The size of a short id's text with its NUL. */
#define ID_SHORT_TEXT 11

/* Writes a new UUIDv7 in lower case. */
void id_make(char out[static ID_TEXT]);

/* Writes a new random (version 4) UUID: for what must not tell its time. */
void id_make_random(char out[static ID_TEXT]);

/* Writes a new short id. */
void id_make_short(char out[static ID_SHORT_TEXT]);

/* A canonical UUID as its 16 bytes, and back. */
void id_to_bytes(const char *id, unsigned char out[static 16]);
void
id_from_bytes(const unsigned char bytes[static 16], char out[static ID_TEXT]);

/* Is `s` a UUID in the canonical lower-case form, of any version? NULL is not.
 */
bool id_is_uuid(const char *s);

/* Is `s` a short id as id_make_short writes them? NULL is not. */
bool id_is_short(const char *s);

#endif
