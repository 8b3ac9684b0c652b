/*
 * Calls one tool of a store for a reply: what the model wants of it goes to the
 * site as a signed request, what the site answers becomes the use's result. A
 * site that does not answer, or not with what a model can read, gives a result
 * that says so to the model; the log has the cause.
 *
 * A call that nothing was sent of is made again, once. The site sees the same
 * Natter-Delivery then: the id of this very use.
 *
 * Ownership: the call is the stream's from site_tool_start until fn was called
 * or site_tool_stop returned. Thread: relay.
 */
#ifndef SERVER_SITE_TOOL_H
#define SERVER_SITE_TOOL_H

#include <stddef.h>

struct site_call;
struct stream;

/* The use has ended: s->turn->uses->list[use]. */
typedef void (*site_tool_fn)(struct stream *s, size_t use);

/*
 * Begins the call of a use whose tool is a TOOL_SITE and whose arguments fit
 * its schema. NULL: there will be none, the use has ended with an error
 * already. fn is never called from inside.
 */
struct site_call *
site_tool_start(struct stream *s, size_t use, site_tool_fn fn);

/* Breaks it off; the use stays as it is and fn is not called. NULL is fine. */
void site_tool_stop(struct site_call *c);

#endif
