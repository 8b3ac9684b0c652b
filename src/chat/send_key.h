/*
 * Idempotent sends: whoever repeats a request with the same Idempotency-Key,
 * because its answer was lost, gets the reply that the first one led to. The
 * key is claimed in the transaction that stores the turn, so that exactly one
 * of any number of parallel requests makes one, and a turn that was refused
 * leaves no key behind. It is the user's for 24 hours, over all routes that
 * begin turns, and is stored and compared as a hash.
 *
 * Thread: front.
 */
#ifndef CHAT_SEND_KEY_H
#define CHAT_SEND_KEY_H

#include <stdbool.h>

#include "base/errors.h"
#include "base/id.h"

struct pg_call;
struct request;
struct turn_ask;

#define SEND_KEY_HEADER "Idempotency-Key"

/* The most characters of a key, without quotes. */
#define SEND_KEY_MAX 255

/* A hash as Postgres takes it: \x, 32 bytes in hex. */
#define SEND_HASH_TEXT 67

struct send_key {
	char key[SEND_HASH_TEXT];
	char request[SEND_HASH_TEXT]; /* what was asked for */

	/* What the key led to before, filled by send_key_find. */
	char message_id[ID_TEXT]; /* the reply; "": nothing */
	bool is_running;          /* it is still being written */
};

/*
 * The key of the request's header, in the arena; *out NULL where it has none.
 * 1 to 255 visible ASCII characters, as they are or as a quoted string (RFC
 * 8941, 3.3.3), which is the same key; else ERR_INVALID_FIELD naming the
 * header. What the route and `ask` say is what the key stands for from now on.
 */
enum err send_key_read(struct request *req, const struct turn_ask *ask,
    struct send_key **out) MUST_CHECK;

/*
 * Looks for what the key led to; one round trip. ERR_KEY_REUSED: another
 * request; ERR_NOT_FOUND: the reply has gone with its conversation.
 */
enum err send_key_find(struct request *req, struct send_key *k) MUST_CHECK;

/* Fills the call that claims the key for this reply, to follow TURN_BEGIN in
 * its transaction. ERR_CONFLICT then: it is somebody else's. */
void send_key_claim(const struct send_key *k, const char *user_id,
    const char *message_id, struct pg_call *out_call);

#endif
