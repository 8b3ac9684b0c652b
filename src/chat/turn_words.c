/*
 * Parses a question, once more where its user's time zone is another than the
 * server's.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/zone.h"
#include "chat/queries.h"
#include "chat/turn_words.h"
#include "http/request.h"

const struct zone *
turn_zone(const struct request *req, const char *name)
{
	const struct zone *z = name ? zone_find(name) : NULL;

	if (!z)
		z = zone_find(req->services->config->time_zone);
	return z ? z : zone_find("UTC");
}

static enum err
user_zone(struct request *req, const struct zone **out)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_USER_ZONE),
	    .params = {req->who.user_id},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	*out = turn_zone(
	    req, pg_rows(call.result) > 0 ? pg_text(call.result, 0, 0) : NULL);
	pg_calls_clear(&call, 1);
	return OK;
}

static void
parse(const struct request *req, const char *question, struct turn_words *w)
{
	int64_t now_s = (int64_t)(clock_agreed_ms(req->services->clock) / 1000);
	command_parse(question, strlen(question), now_s, w->zone, &w->command);
}

enum err
turn_words_read(struct request *req, const char *question,
    const struct turn_words **out_words)
{
	struct turn_words *w = arena_alloc(req->arena, sizeof(*w));
	const struct zone *own = NULL;
	struct buf entities = {0};
	if (!w)
		return ERR_TOO_LARGE;
	w->zone = turn_zone(req, NULL);
	parse(req, question, w);
	if (w->command.needs_zone) {
		enum err e = user_zone(req, &own);
		if (e != OK)
			return e;
		if (own != w->zone) {
			w->zone = own;
			parse(req, question, w);
		}
	}
	w->intent = command_intent_name(w->command.intent);
	command_write_entities(&w->command, question, w->zone, &entities);
	w->entities = entities.failed
			  ? NULL
			  : arena_strndup(req->arena, entities.p, entities.n);
	buf_free(&entities);
	*out_words = w;
	return w->entities ? OK : ERR_TOO_LARGE;
}
