/*
 * Replies that somebody reads elsewhere: only theirs are hinted at (PUBLISH)
 * with every event; nobody hears the others. A reader says what it follows once
 * it is subscribed, so that whatever it missed before comes with the first hint
 * after.
 */
#include <string.h>

#include "chat/turn.h"
#include "server/relay_priv.h"
#include "server/relay_redis.h"
#include "server/reply_log.h"

/* NULL: words may have been missed, so all replies of now are taken for read.
 */
static void
followed(void *arg, const char *message_id)
{
	struct relay *r = arg;

	for (struct stream *s = r->streams; s != NULL; s = s->next) {
		if (message_id != NULL &&
		    strcmp(s->turn->message_id, message_id) != 0)
			continue;
		s->log.is_followed = true;
		if (s->log.state == LOG_WHOLE)
			stream_log_hint(s);
	}
}

void
relay_follow_listen(struct relay *r)
{
	(void)!relay_redis_listen(r->redis, REPLY_LOG_FOLLOWED, followed, r);
}
