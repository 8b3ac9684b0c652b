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
take(struct turn *t, const struct cache_slot *slot)
{
	const char *text = strchr(slot->payload, '\n');
	if (!text)
		return;
	int n = (int)(text - slot->payload);
	(void)snprintf(
	    t->answered_by, sizeof(t->answered_by), "%.*s", n, slot->payload);
	text++;
	buf_free(&t->prompt);
	buf_add(&t->prompt, text, strlen(text));
	t->is_cached = true;
}

static void
note_key(struct turn *t, const char *hash, const char *stamp)
{
	struct answer_key *key = calloc(1, sizeof(*key));
	if (!key)
		return;
	(void)snprintf(key->hash, sizeof(key->hash), "%s", hash);
	(void)snprintf(key->stamp, sizeof(key->stamp), "%s", stamp);
	t->answer = key;
}

void
answer_find(struct request *req, struct turn *t, enum answer_wish wish,
    const char *store_id)
{
	struct cache_slot slot = {.kind = CACHE_ANSWER};
	char hash[65];
	if (wish == ANSWER_FRESH || (wish == ANSWER_AS_STORE && !store_id))
		return;
	hash_prompt(store_id ? "store" : "user",
	    store_id ? store_id : t->user_id, &t->prompt, hash);
	switch (cache_answer_look(
	    req->services->cache, req->arena, t->user_id, hash, &slot)) {
	case CACHE_HIT:
		take(t, &slot);
		break;
	case CACHE_BUILD:
		note_key(t, hash, slot.stamp);
		break;
	case CACHE_PASS:
		break;
	}
}

void
answer_keep(struct cache *cache, struct arena *a, const struct turn *t)
{
	struct buf value = {0};
	if (!t->answer || !t->is_stored || t->status != TURN_COMPLETE ||
	    t->finish != MODEL_FINISH_STOP || t->error != OK || t->text.n == 0)
		return;
	buf_puts(&value, *t->answered_by ? t->answered_by : t->model);
	buf_puts(&value, "\n");
	buf_add(&value, t->text.p, t->text.n);
	if (!value.failed)
		cache_answer_keep(cache, a, t->user_id, t->answer->hash,
		    t->answer->stamp, value.p, value.n);
	buf_free(&value);
}
