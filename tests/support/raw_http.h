/*
 * HTTP by hand, for what a well-behaved client would not send: the bytes go
 * out as they are, the answer comes back as the other tests know it. Also for
 * clients that do not read. A request says "Connection: close" itself.
 *
 * Thread: any, one call at a time per connection.
 */
#ifndef TESTS_RAW_HTTP_H
#define TESTS_RAW_HTTP_H

#include <stddef.h>

#include "http_client.h"

/* A connection to 127.0.0.1:port; `receive` bytes of window, 0: the usual. */
int raw_open(int port, int receive);

/* Sends everything; a server that has hung up already is no failure. */
void raw_send(int fd, const char *p, size_t n);

/*
 * Reads to the end, closes, and fills `a` (status 0: no HTTP came), which the
 * caller clears. CURLE_OPERATION_TIMEDOUT in a->code when nothing more came
 * for `timeout_ms`. A chunked body stays as it is.
 */
void raw_answer(int fd, int timeout_ms, struct answer *a);

/* All three: one request, its answer. */
void raw_ask(int port, const char *p, size_t n, struct answer *a);

#endif
