/*
 * The way from a cache into a reply. Knows neither what is kept nor for how
 * long.
 */
#include "api/cached.h"
#include "api/page.h"
#include "base/buf.h"
#include "http/reply.h"
#include "http/request.h"
#include "store/cache.h"

static enum err
answer_kept(struct reply *rep, const struct cache_slot *slot)
{
	rep->status = 200;
	rep->content_type = "application/json";
	rep->body = slot->payload;
	rep->body_len = slot->payload_len;
	return OK;
}

enum err
cached_reply(struct request *req, struct reply *rep, struct cache_slot *slot,
    cached_build_fn build, void *arg)
{
	struct cache *cache = req->services->cache;
	struct buf body = {0};
	int64_t life_ms = -1;
	slot->user_id = req->who.user_id;
	enum cache_found found = cache_look(cache, req->arena, slot);
	if (found == CACHE_HIT)
		return answer_kept(rep, slot);
	enum err e = build(req, arg, &body, &life_ms);
	if (found == CACHE_BUILD)
		cache_keep(cache, req->arena, slot, body.p,
		    e == OK && !body.failed ? body.n : 0, life_ms);
	return page_reply(req, rep, e, 200, &body);
}
