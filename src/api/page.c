/*
 * The envelope of lists. Knows nothing of what is listed.
 */
#include <assert.h>

#include "api/page.h"
#include "base/json.h"
#include "http/cursor.h"
#include "http/reply.h"
#include "http/request.h"

enum err
page_reply(struct request *req, struct reply *rep, struct json_object *data,
    const char *list, const char *const *keys)
{
	AUTO_JSON struct json_object *rows = data;
	const char *cursor = NULL;
	if (keys[0]) {
		cursor = cursor_make(req, list, keys);
		if (!cursor)
			return ERR_TOO_LARGE;
	}
	struct json_object *o = json_object_new_object();
	assert(o);
	json_object_object_add(o, "data", json_object_get(rows));
	json_put_text(o, "next_cursor", cursor);
	return reply_json(req, rep, 200, o);
}
