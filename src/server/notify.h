/*
 * systemd's readiness protocol (sd_notify(3)): one datagram to the socket
 * named in $NOTIFY_SOCKET. systemd documents the protocol as stable and fit
 * for own implementation; linking libsystemd for one datagram would bring
 * three compression libraries into every worker.
 *
 * Thread: master.
 */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

#include <stdint.h>

/* Sends "READY=1", "STOPPING=1"…; does nothing without $NOTIFY_SOCKET. */
void notify_send(const char *state);

/* Tells that a reload begins (RELOADING=1 with the monotonic time). */
void notify_reloading(void);

/* How often to send WATCHDOG=1, in ms (half of $WATCHDOG_USEC); 0 = never. */
uint64_t notify_watchdog_ms(void);

#endif
