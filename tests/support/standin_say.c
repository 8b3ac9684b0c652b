/*
 * Answers of the stand-in that no script of a chat request makes.
 */
#include <string.h>

#include "standin.h"
#include "base/buf.h"

void
standin_say(struct conn *c, int32_t status, const char *json)
{
	struct buf body = {0};

	buf_puts(&body, json);
	http_answer(c, status, &body);
	buf_free(&body);
}

void
standin_hang(struct conn *c)
{
	static const char ask[] = "{\"model\":\"m\",\"messages\":[{\"role\":"
				  "\"user\",\"content\":\"[[hang=1]]\"}]}";
	struct reply *r;

	if (reply_read(ask, strlen(ask), &r) == STANDIN_OK) {
		r->status = 200;
		http_begin(c, r);
	}
}
