/*
 * The line of afterwork and what of it runs.
 */
#include <stddef.h>

#include "chat/afterwork.h"
#include "chat/turn.h"
#include "server/afterwork.h"
#include "server/relay_priv.h"

void
afterwork_begin(struct relay *r, struct turn *t)
{
	(void)r; /* there is no kind yet */
	afterworks_free(t->works);
	t->works = NULL;
}

void
afterwork_drop(struct relay *r)
{
	(void)r;
}
