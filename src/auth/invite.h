/*
 * Invitations: random codes with which an account may be made while
 * CHAT_REGISTRATION is invite. Only their SHA-256 is stored; a code has more
 * than 90 random bits, so that nobody finds one in a dump.
 *
 * Thread: any.
 */
#ifndef AUTH_INVITE_H
#define AUTH_INVITE_H

#include "base/errors.h"

struct request;

#define INVITE_HASH 32
#define INVITE_CODE 64 /* bytes of a code as typed */

/*
 * The hash of a code as typed: without regard to case, to blanks around it and
 * to dashes.
 */
void invite_hash(const char *code, unsigned char out_hash[static INVITE_HASH]);

/*
 * ERR_INVITE_INVALID unless an account may be made with `code` (NULL: none was
 * given); otherwise its hash as SQL takes it, in the arena. One round trip to
 * Postgres, none without a code.
 */
enum err invite_check(
    struct request *req, const char *code, const char **out_hash) MUST_CHECK;

#endif
