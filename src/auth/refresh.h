/*
 * Refresh tokens as text: 72 characters, the base64url of 54 bytes
 *
 *     form 1 | kid 1 | session 16 | generation 4, big endian
 *     | macA 16 | macB 16
 *
 * which has no spare bits, so that a token has one spelling. Pure: the state
 * machine behind it is auth.session_refresh in Postgres.
 *
 *     K    = the ring's key `kid`, derived for refresh tokens
 *     macA = HMAC-SHA256(K, "a" | first 22 bytes), cut to 16 bytes
 *     T    = HMAC-SHA256(K, "b" | first 22 bytes)
 *     macB = SHA-256(T | S), cut to 16 bytes
 *
 * S is the session's secret: 32 random bytes which Postgres makes, keeps in the
 * session's row and never sends. macA is checked here, so that garbage costs
 * no statement. macB is checked and made in Postgres, to which this file gives
 * T: K stays here, S stays there, and one round trip does.
 *
 * Neither half alone forges a token. A database dump has S, but no T: that
 * takes K (and so does macA). The key file gives K, hence T and macA, but macB
 * is 128 bits of a hash over S, which it does not hold. T serves one session
 * and generation only: whoever reads the statements' parameters learns nothing
 * of other tokens, and of this one not its macA. SHA-256 needs no HMAC around
 * it here, because both inputs have a fixed length and the result is cut:
 * there is nothing to extend. Nothing from which a token could be made is
 * stored: not it, not its hash, not its MAC.
 *
 * form, 1 to 3, is the maker's to choose; what it means is session.h's matter.
 * Both MACs cover it, so that a token of one form never becomes another's.
 *
 * kid is the first byte of SHA-256 of the key's name: it picks which keys to
 * try, macA decides.
 *
 * Thread: any; pure.
 */
#ifndef AUTH_REFRESH_H
#define AUTH_REFRESH_H

#include <stdint.h>

#include "base/errors.h"
#include "base/id.h"

struct keyring;

#define REFRESH_TEXT  73 /* the token with its NUL */
#define REFRESH_MAC   16
#define REFRESH_KEY   32
#define REFRESH_FIRST 0 /* the generation that a session begins with */
#define REFRESH_FORMS 3

/* A token that some key of the ring made. Wipe it after use. */
struct refresh_token {
	unsigned char form; /* 1 to REFRESH_FORMS */
	char session_id[ID_TEXT];
	uint32_t
	    generation; /* below 2^31 - 1: Postgres's int and a successor */
	unsigned char mac[REFRESH_MAC]; /* macB, for Postgres to check */
	unsigned char key[REFRESH_KEY]; /* T, the key material of macB */
};

/*
 * Reads a token and checks macA. ERR_REFRESH_INVALID for everything that no
 * key of the ring made.
 */
enum err refresh_parse(const struct keyring *ring, const char *text,
    struct refresh_token *out_token) MUST_CHECK;

/*
 * Writes T of the token of that form, session and generation that the ring's
 * current key would make.
 */
void refresh_key(const struct keyring *ring, const struct refresh_token *token,
    unsigned char out_key[static REFRESH_KEY]);

/* Writes the token, given the macB that Postgres made of its T. */
void refresh_make(const struct keyring *ring, const struct refresh_token *token,
    char out_text[static REFRESH_TEXT]);

#endif
