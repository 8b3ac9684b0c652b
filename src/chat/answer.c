/*
 * What makes two prompts the same, and which answers are worth keeping. Owns
 * the form of a kept answer: the model's name for itself, a newline, the text.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "chat/answer.h"
#include "chat/turn.h"
#include "http/request.h"
#include "store/cache.h"

/* Whose answers these are goes into the hash: nobody finds another's. */
static void
hash_prompt(const char *scope, const char *id, const struct buf *prompt,
    char out[static 65])
{
	unsigned char hash[32];
	crypto_generichash_state state;
	(void)crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	(void)crypto_generichash_update(
	    &state, (const unsigned char *)scope, strlen(scope) + 1);
	(void)crypto_generichash_update(
	    &state, (const unsigned char *)id, strlen(id) + 1);
	(void)crypto_generichash_update(
	    &state, (const unsigned char *)prompt->p, prompt->n);
	(void)crypto_generichash_final(&state, hash, sizeof(hash));
	sodium_bin2hex(out, 65, hash, sizeof(hash));
}

/* Puts a kept answer in the prompt's place. */
static void
take(struct turn *t, const char *answer, size_t n)
{
	const char *text = memchr(answer, '\n', n);
	if (!text)
		return;
	(void)snprintf(t->answered_by, sizeof(t->answered_by), "%.*s",
	    (int)(text - answer), answer);
	text++;
	buf_free(&t->prompt);
	buf_add(&t->prompt, text, n - (size_t)(text - answer));
	t->is_cached = true;
}

static void
note_key(struct turn *t, struct cache *cache, const char *hash,
    const struct cache_slot *slot)
{
	struct answer_key *key = calloc(1, sizeof(*key));
	if (!key)
		return;
	(void)snprintf(key->hash, sizeof(key->hash), "%s", hash);
	(void)snprintf(key->stamp, sizeof(key->stamp), "%s",
	    slot->stamp ? slot->stamp : "");
	(void)snprintf(key->token, sizeof(key->token), "%s", slot->token);
	key->is_waiting = !slot->stamp;
	key->shared = cache_shared(cache);
	t->answer = key;
}

void
answer_find(struct request *req, struct turn *t, enum answer_wish wish,
    const char *store_id)
{
	struct cache_slot slot = {.kind = CACHE_ANSWER};
	struct cache *cache = req->services->cache;
	char hash[65];
	if (wish == ANSWER_FRESH || (wish == ANSWER_AS_STORE && !store_id))
		return;
	hash_prompt(store_id ? "store" : "user",
	    store_id ? store_id : t->user_id, &t->prompt, hash);
	switch (cache_answer_look(cache, req->arena, t->user_id, hash, &slot)) {
	case CACHE_HIT:
		take(t, slot.payload, slot.payload_len);
		break;
	case CACHE_BUILD:
	case CACHE_WAIT:
		note_key(t, cache, hash, &slot);
		break;
	case CACHE_PASS:
		break;
	}
}

static struct cache_answer_place
place_of(const struct turn *t)
{
	return (struct cache_answer_place){.user_id = t->user_id,
	    .hash = t->answer->hash,
	    .stamp = t->answer->stamp,
	    .token = t->answer->token};
}

void
answer_ask(const struct turn *t, struct cache_ask *out)
{
	struct cache_answer_place at = place_of(t);
	cache_answer_ask(out, &at);
}

void
answer_renew(const struct turn *t, struct cache_ask *out)
{
	struct cache_answer_place at = place_of(t);
	cache_answer_renew(out, &at);
}

enum cache_found
answer_told(struct turn *t, const redisReply *reply)
{
	const char *text = NULL;
	size_t n = 0;
	enum cache_found found =
	    cache_answer_told(t->answer->shared, reply, &text, &n);
	if (found == CACHE_HIT) {
		take(t, text, n);
		return t->is_cached ? CACHE_HIT : CACHE_PASS;
	}
	t->answer->is_waiting = found != CACHE_BUILD;
	if (found == CACHE_BUILD)
		(void)snprintf(t->answer->stamp, sizeof(t->answer->stamp),
		    "%.*s", (int)n, text);
	return found;
}

/* Is it an answer for others? What was done for it was done for one. Theirs is
 * kept under the model asked for. */
static bool
is_whole(const struct turn *t)
{
	return t->is_stored && !t->is_cached && t->status == TURN_COMPLETE &&
	       !t->fallback_from && t->finish == MODEL_FINISH_STOP &&
	       t->error == OK && t->text.n > 0 && !t->uses;
}

void
answer_keep(struct cache *cache, struct arena *a, const struct turn *t)
{
	struct buf value = {0};
	if (!t->answer || t->answer->is_waiting)
		return;
	if (is_whole(t)) {
		buf_puts(&value, *t->answered_by ? t->answered_by : t->model);
		buf_puts(&value, "\n");
		buf_add(&value, t->text.p, t->text.n);
	}
	const struct cache_answer_place at = place_of(t);
	cache_answer_keep(cache, a, &at, value.p, value.failed ? 0 : value.n);
	buf_free(&value);
}
