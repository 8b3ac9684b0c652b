/*
 * Reads the breakers for a turn that begins. Decides nothing about order: that
 * is the settings'.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "chat/queries.h"
#include "chat/turn_fallback.h"
#include "http/request.h"
#include "model/breaker.h"
#include "model/fallback.h"
#include "model/model.h"
#include "store/pg.h"

/* How long until this model may be asked, in ms; 0: now. */
static uint64_t
wait_ms(const struct config *config, enum model_place place, const char *model)
{
	const char *base_url = model_server(config, place).base_url;

	return breaker_wait_ms(breaker_key(base_url, model), clock_mono_ms());
}

/* The same of the first that may be asked, of all that this turn has. */
static uint64_t
shortest_wait_ms(const struct config *config, const char *model)
{
	uint64_t shortest = wait_ms(config, MODEL_AT_MAIN, model);
	struct fallback f;

	for (size_t i = 0; shortest > 0 && fallback_at(config, i, &f); i++) {
		uint64_t wait =
		    f.is_local ? 0 : wait_ms(config, f.place, f.model);
		if (wait < shortest)
			shortest = wait;
	}
	return shortest;
}

/* The model of the conversation, its store, or the settings. */
static enum err
find_model(struct request *req, const char *const conversation[2],
    const char **out_model)
{
	const char *own = req->services->config->model;
	struct pg_call call = {
	    .query = chat_query(CHAT_TURN_MODEL),
	    .params = {req->who.user_id, conversation[0], conversation[1], own},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	/* No such conversation: turn_begin will say so. */
	*out_model = pg_rows(call.result) > 0
			 ? arena_strdup(req->arena, pg_text(call.result, 0, 0))
			 : LOCAL_MODEL;
	pg_calls_clear(&call, 1);
	return *out_model ? OK : ERR_TOO_LARGE;
}

enum err
turn_fallback_admit(
    struct request *req, const char *model, const char *const conversation[2])
{
	enum err e = OK;
	if (breaker_count_open() == 0)
		return OK;
	if (!model)
		e = find_model(req, conversation, &model);
	if (e != OK || !strcmp(model, LOCAL_MODEL))
		return e;
	uint64_t wait = shortest_wait_ms(req->services->config, model);
	if (wait == 0)
		return OK;
	req->retry_after_s = (int)((wait + 999) / 1000);
	return request_fail(
	    req, ERR_MODEL_UNAVAILABLE, "the model's breaker is open");
}

const char *
turn_fallback_names(struct request *req)
{
	const char *text = NULL;
	struct buf names = {0};
	struct fallback f;

	for (size_t i = 0; fallback_at(req->services->config, i, &f); i++)
		buf_printf(&names, "%s%s", i > 0 ? " " : "", f.model);
	if (names.n > 0 && !names.failed)
		text = arena_strndup(req->arena, names.p, names.n);
	buf_free(&names);
	return text;
}
