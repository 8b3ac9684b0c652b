/*
 * The relay's Redis: commands and subscriptions on its loop, each over a
 * connection of its own (relay_line.h). Nothing here waits: a command's answer
 * comes by a callback, and one that is not answered within CHAT_REDIS_TIMEOUT
 * makes Redis away for everybody at once, so that no reply waits longer than
 * that, and each but once. Only Redis's time counts: a loop that is late itself
 * looks first at what has come meanwhile.
 *
 * Away begins when the connection breaks, a command is not answered in time,
 * or Redis says that it serves nobody (LOADING, READONLY, OOM…); it ends when a
 * new connection has been proved to take writes. Until the first connection
 * was tried it is not away: what is sent waits for it.
 *
 * Scripts are the caller's: EVALSHA with the text's own SHA-1, EVAL after
 * NOSCRIPT. Thread: relay.
 */
#ifndef SERVER_RELAY_REDIS_H
#define SERVER_RELAY_REDIS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct config;
struct relay_redis;

/*
 * An answer; NULL: unknown, Redis went away, and the command may or may not
 * have been carried out. Never an error that speaks of the server (then all
 * are NULL), but it may be another error reply. Called from the loop, never
 * from inside relay_redis_send; may send and forget.
 */
typedef void (*relay_redis_fn)(void *arg, const redisReply *reply);

/*
 * Makes it; it connects as soon as the loop runs. Its prepare handle writes
 * what was sent since the loop waited last, in one write(2): libuv runs the
 * handle first that was started last, so a prepare handle that sends is to be
 * started after this. NULL without memory.
 */
struct relay_redis *
relay_redis_new(uv_loop_t *loop, const struct config *config);

/* Calls every callback with NULL, closes, and frees itself once the loop has
 * run. Not from inside a callback of its own. */
void relay_redis_close(struct relay_redis *r);

bool relay_redis_is_away(const struct relay_redis *r);

/*
 * Appends one command; `lens` NULL means NUL-terminated words, which are
 * copied. `fn` NULL: nobody waits for the answer. False: away (or too much
 * waits), nothing is sent, fn is not called.
 */
bool relay_redis_send(struct relay_redis *r, int argc, const char **argv,
    const size_t *lens, relay_redis_fn fn, void *arg);

/* No callback with this arg any more; answers are dropped. The commands are
 * carried out nevertheless. */
void relay_redis_forget(struct relay_redis *r, const void *arg);

/*
 * A message on a channel, NUL-terminated; or NULL: subscribed from now on, and
 * messages before now may have been missed (the first time, and after each
 * loss of the connection), so look yourself. May listen and unlisten.
 */
typedef void (*relay_redis_hint_fn)(void *arg, const char *payload);

/* Subscribes fn and arg; while Redis is away, once it is back. False: no
 * memory. */
bool relay_redis_listen(struct relay_redis *r, const char *channel,
    relay_redis_hint_fn fn, void *arg);

/* Ends that; what was not subscribed is ignored. */
void relay_redis_unlisten(
    struct relay_redis *r, const char *channel, const void *arg);

/* Calls fn when Redis becomes away, after the callbacks, and when it is back.
 * For at most RELAY_REDIS_WATCHERS of them. */
#define RELAY_REDIS_WATCHERS 4
void relay_redis_on_change(
    struct relay_redis *r, void (*fn)(void *arg, bool is_away), void *arg);

#endif
