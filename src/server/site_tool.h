/*
 * Calls the tools of a store for a reply: what the model wants of one goes to
 * the site as a signed request, what the site answers becomes the use's result.
 * A site that does not answer, or not with what a model can read, gives a
 * result that says so to the model; the log has the cause.
 *
 * A call that nothing was sent of is made again, once. The site sees the same
 * Natter-Delivery then: the id of this very use.
 *
 * Ownership: the stream's. Thread: relay.
 */
#ifndef SERVER_SITE_TOOL_H
#define SERVER_SITE_TOOL_H

#include <stddef.h>

struct stream;

/*
 * Calls what the reply's uses from `from` on want of sites. Those that cannot
 * be called have ended when it returns; of each other one stream_tools_ended
 * hears later.
 */
void site_tools_begin(struct stream *s, size_t from);

/* Breaks all calls off; their uses stay as they are. */
void site_tools_stop(struct stream *s);

#endif
