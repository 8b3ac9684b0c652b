/*
 * A list that grows by doubling. Must not know what the events are about.
 */
#include <stdlib.h>

#include "base/buf.h"
#include "chat/turn_events.h"

/* Room for one more; the list has room for the next power of two. */
static bool
make_room(struct turn_events *e)
{
	if (e->n == TURN_EVENTS_MAX)
		return false;
	if ((e->n & (e->n - 1)) != 0)
		return true;
	size_t room = e->n == 0 ? 1 : e->n * 2;
	struct turn_event *p = realloc(e->p, room * sizeof(*p));
	if (!p)
		return false;
	e->p = p;
	return true;
}

bool
turn_events_add(
    struct turn_events *events, const char *name, uint64_t at, struct buf *data)
{
	size_t n = data->n;
	char *text = buf_take(data);

	if (!text || !make_room(events)) {
		free(text);
		return false;
	}
	if (events->n > 0 && events->p[events->n - 1].at > at)
		at = events->p[events->n - 1].at;
	events->p[events->n++] = (struct turn_event){name, text, n, at, 0};
	return true;
}

void
turn_events_free(struct turn_events *events)
{
	for (size_t i = 0; i < events->n; i++)
		free(events->p[i].data);
	free(events->p);
	*events = (struct turn_events){0};
}
