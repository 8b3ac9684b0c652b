/*
 * Runs what is to be asked of a model after a reply is stored
 * (chat/afterwork.h): a few requests at a time, a short line of others, and
 * whatever does not fit, fails or comes while the worker drains is dropped.
 * Nobody waits for any of it.
 *
 * Thread: relay.
 */
#ifndef SERVER_AFTERWORK_H
#define SERVER_AFTERWORK_H

#include <stdbool.h>

#include "model/model_server.h"

struct afterworks;
struct relay;
struct turn;

/* Makes r->afterworks, and takes it down: its handle while the loop runs, the
 * rest after that. */
bool afterwork_open(struct relay *r);
void afterwork_close(struct relay *r);
void afterwork_free(struct relay *r);

/* Takes the turn's works, whose last try went to the server at `place`. The
 * turn has been stored, and is still the caller's. */
void afterwork_begin(struct relay *r, struct turn *t, enum model_place place);

/* The worker drains: all of it is dropped, and whatever comes later. */
void afterwork_drop(struct relay *r);

#endif
