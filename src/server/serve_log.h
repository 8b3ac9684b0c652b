/*
 * The log line of a served request. Thread: front and chores. (A reply that
 * went to the relay is logged by the relay when it ends; it counts it here.)
 */
#ifndef SERVER_SERVE_LOG_H
#define SERVER_SERVE_LOG_H

#include <stdint.h>

struct reply;
struct request;
struct route;

/* Counts an answer for GET /metrics; `route` NULL: there was none. */
void serve_count(const struct route *route, int status, uint64_t total_us);

/* Writes the line (request id, route template, status, phase timings), and
 * counts. */
void serve_log(const struct request *req, const struct reply *rep);

#endif
