/*
 * The front: libfcgi's accept loop, one short request at a time. The only file
 * pair that calls libfcgi. Slow requests go to the chores whole, replies that
 * go on go to the relay.
 *
 * The listening socket is non-blocking and waited for with ppoll: libfcgi's
 * own accept has a window in which a signal is lost, and its handlers cut
 * writes short (both measured), so that all signals stay blocked here and come
 * in through a signalfd.
 *
 * Thread: the worker's main thread.
 */
#ifndef SERVER_FRONT_H
#define SERVER_FRONT_H

#include <stdbool.h>

#include "base/errors.h"

struct chores;
struct front;
struct shared;

/* NULL without memory. FCGX_Init was called before. `beside` are the threads
 * for other routes than the front's own, by enum route_thread; borrowed. */
struct front *front_new(struct shared *shared, struct chores *const *beside);

/* Waits up to `timeout_ms` for a connection or for `wake_fd` to be readable. */
enum front_event { FRONT_NOTHING, FRONT_REQUEST, FRONT_WAKE };
enum front_event front_wait(struct front *f, int wake_fd, int timeout_ms);

/* Accepts and serves one request; false when there was none after all. */
bool front_serve(struct front *f);

/* Stops waiting for connections: others take them. */
void front_leave(struct front *f);

void front_free(struct front *f);

#endif
