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

struct relay;
struct turn;

/* Takes the turn's works; those that were admitted are run. The turn is stored,
 * and still the caller's. */
void afterwork_begin(struct relay *r, struct turn *t);

/* The worker drains: all of it is dropped, and whatever comes later. */
void afterwork_drop(struct relay *r);

#endif
