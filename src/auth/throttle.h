/*
 * The throttle of sign-ins. A try is charged before its password is verified
 * and given back when it was right, so that parallel guesses cannot slip
 * through. What is charged:
 *
 *   the device   where the user signed in from it before: five failures at
 *                once, then one after 30 s, doubling to an hour; 100 in a row
 *                stop it
 *   the account  the same, for all other devices together
 *   the address  of other devices: CHAT_LOGIN_ADDRESS_RATE failures a minute
 *                (IPv6 by /64)
 *
 * so that nobody who guesses, from wherever, locks an owner out of a known
 * device. A
 * name that nobody has is throttled as any other. The counting is Postgres's
 * (migration 006): every sign-in needs it anyway, and Redis may forget.
 *
 * Names, devices and addresses go there as HMACs under the key ring. The
 * device is looked for under every key of the ring, so that a new key forgets
 * nobody; addresses and unknown names, which are kept for minutes and days,
 * begin anew.
 *
 * Thread: any.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "base/errors.h"

struct request;

/* What a sign-in is charged to, as parameters of SQL, in the arena. */
struct throttle_keys {
	const char *name;    /* for a name that nobody has */
	const char *device;  /* to be known from now on; NULL: none told */
	const char *devices; /* the same under every key; NULL likewise */
	const char *address; /* NULL: not known */
	const char *rate;    /* tries a minute from an address */
};

/* Makes the keys for a username as text_username writes it. */
enum err throttle_keys_make(struct request *req, const char *username,
    struct throttle_keys *out_keys) MUST_CHECK;

/*
 * What an exchange is charged to: NULL as *out_key where no address is known.
 * Failures count there (CHAT_EXCHANGE_ADDRESS_RATE), apart from those of
 * passwords.
 */
enum err
throttle_exchange_key(struct request *req, const char **out_key) MUST_CHECK;

/* Refuses with ERR_LOGIN_THROTTLED and a Retry-After of `wait_s` seconds. */
enum err throttle_refuse(struct request *req, long wait_s);

/*
 * Gives back the try that `bucket` was charged for, because it was never
 * verified. One round trip; that it fails is no failure of the request.
 */
void throttle_undo(struct request *req, const char *bucket);

#endif
