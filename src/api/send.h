/*
 * What every route does that begins a turn: admission, the Idempotency-Key,
 * and for a request that was answered before, that answer once more.
 *
 * Thread: front.
 */
#ifndef API_SEND_H
#define API_SEND_H

#include "base/errors.h"

struct reply;
struct request;
struct turn_ask;

/* The header of an answer that no new turn led to. */
#define SEND_REPLAYED "Idempotent-Replayed"

/*
 * Begins the turn that `ask` describes: the reply carries it to the relay.
 * ERR_BUSY: this worker has CHAT_STREAMS_MAX replies; else see turn_begin.
 * Fills ask->key.
 */
enum err send_turn(
    struct request *req, struct reply *rep, struct turn_ask *ask) MUST_CHECK;

#endif
