/*
 * The log line of a served request. Thread: front and chores. (A reply that
 * went to the relay is logged by the relay when it ends.)
 */
#ifndef SERVER_SERVE_LOG_H
#define SERVER_SERVE_LOG_H

struct reply;
struct request;

/* Writes the line: request id, route template, status, phase timings. */
void serve_log(const struct request *req, const struct reply *rep);

#endif
