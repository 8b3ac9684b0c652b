/*
 * Reads levels and Redis's clock. Owns no state but the script's hash.
 */
#include <assert.h>
#include <stdlib.h>

#include "http/request.h"
#include "limit/peek.h"
#include "store/redis.h"

/* The clock that the levels are of, and the levels. */
static struct redis_script script = {
    .text = "local t = redis.call('TIME')\n"
	    "return {t[1], t[2], unpack(redis.call('MGET', unpack(KEYS)))}\n",
};

/* What charge.lua would find. */
static void
read_level(struct bucket *b, const redisReply *r, int64_t now)
{
	bool is_there = r->type == REDIS_REPLY_STRING;
	int64_t level = is_there ? strtoll(r->str, NULL, 10) : 0;
	if (b->window_us == 0) {
		if (is_there)
			b->remaining = level < b->limit ? b->limit - level : 0;
		return;
	}
	int64_t step = (b->window_us + b->limit - 1) / b->limit;
	int64_t room = step * b->limit;
	if (level < now)
		level = now;
	if (level > now + room)
		level = now + room;
	b->remaining = (now + room - level) / step;
	b->reset_us = level - now;
}

enum err
limit_peek(struct request *req, struct bucket *buckets, size_t n)
{
	const char *keys[PEEK_MAX];
	AUTO_REPLY redisReply *reply = NULL;
	assert(n <= PEEK_MAX);
	for (size_t i = 0; i < n; i++)
		keys[i] = buckets[i].key;
	if (n == 0)
		return OK;
	enum err e = redis_script_run(
	    req->services->redis, &script, (int)n, (int)n, keys, &reply);
	if (e || reply->type != REDIS_REPLY_ARRAY || reply->elements != n + 2)
		return ERR_UNAVAILABLE;
	int64_t now = strtoll(reply->element[0]->str, NULL, 10) * 1000000 +
		      strtoll(reply->element[1]->str, NULL, 10);
	for (size_t i = 0; i < n; i++)
		read_level(&buckets[i], reply->element[i + 2], now);
	return OK;
}
