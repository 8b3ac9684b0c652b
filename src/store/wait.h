/*
 * The one place where the stores wait: poll on a socket until a deadline of
 * the monotonic clock. Both libraries are used without blocking, because
 * neither bounds a whole exchange by itself (libpq has no time-out for a
 * query, hiredis one per read).
 *
 * Thread: any.
 */
#ifndef STORE_WAIT_H
#define STORE_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Waits until one of `events` (POLLIN, POLLOUT) or a hang-up is seen on `fd`.
 * Returns 0 and what is ready, or an errno: ETIMEDOUT at the deadline, a
 * value of clock_mono_ms. What came in time counts, even when the thread itself
 * is late (a full core, a stopped machine): for 5 s past the deadline it still
 * looks, without waiting.
 */
int wait_ready(int fd, short events, uint64_t deadline_ms, short *out_ready);

/* Can `fd` be read from (or has it hung up) at this moment? */
bool wait_has_input(int fd);

#endif
