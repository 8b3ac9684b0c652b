/*
 * What a key looks like, what makes two requests the same, and the two
 * statements about it. When they run is turn_begin.c's to decide.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "chat/queries.h"
#include "chat/send_key.h"
#include "chat/turn.h"
#include "http/request.h"
#include "http/route.h"
#include "store/pg.h"

#define HASH_BYTES 32

/* What SEND_FIND gives. */
enum { FIND_MESSAGE, FIND_IS_SAME, FIND_IS_RUNNING };

/* The key itself, without quotes; false where it is none. */
static bool
unquote(const char *p, char out[static SEND_KEY_MAX + 1])
{
	bool is_quoted = *p == '"';
	size_t n = 0;
	if (is_quoted)
		p++;
	for (; *p && !(is_quoted && *p == '"'); p++) {
		if (is_quoted && *p == '\\' && *++p != '"' && *p != '\\')
			return false;
		if (*p <= ' ' || *p > '~' || n == SEND_KEY_MAX)
			return false;
		out[n++] = *p;
	}
	out[n] = '\0';
	return n > 0 && (!is_quoted || !strcmp(p, "\""));
}

/* Its length goes first, so that no two lists of parts are the same bytes. */
static void
add(crypto_generichash_state *state, const char *part)
{
	uint64_t n = part ? strlen(part) : UINT64_MAX;
	(void)crypto_generichash_update(
	    state, (const unsigned char *)&n, sizeof(n));
	if (part)
		(void)crypto_generichash_update(
		    state, (const unsigned char *)part, strlen(part));
}

static void
finish(crypto_generichash_state *state, char out[static SEND_HASH_TEXT])
{
	unsigned char hash[HASH_BYTES];
	(void)crypto_generichash_final(state, hash, sizeof(hash));
	out[0] = '\\';
	out[1] = 'x';
	sodium_bin2hex(out + 2, SEND_HASH_TEXT - 2, hash, sizeof(hash));
}

static void
hash_key(const char *key, char out[static SEND_HASH_TEXT])
{
	crypto_generichash_state state;
	(void)crypto_generichash_init(&state, NULL, 0, HASH_BYTES);
	add(&state, key);
	finish(&state, out);
}

/* How the answer is wanted (`stream`) is no part of what is asked for. */
static void
hash_request(const struct request *req, const struct turn_ask *ask,
    char out[static SEND_HASH_TEXT])
{
	char numbers[64];
	(void)snprintf(numbers, sizeof(numbers), "%lld %d",
	    (long long)ask->max_tokens, (int)ask->cache);
	const char *const parts[] = {
	    req->route ? req->route->pattern : NULL,
	    req->ids[0],
	    ask->conversation_id,
	    ask->content,
	    ask->parent_id,
	    ask->model,
	    ask->metadata,
	    numbers,
	};
	crypto_generichash_state state;
	(void)crypto_generichash_init(&state, NULL, 0, HASH_BYTES);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		add(&state, parts[i]);
	finish(&state, out);
}

enum err
send_key_read(
    struct request *req, const struct turn_ask *ask, struct send_key **out)
{
	char key[SEND_KEY_MAX + 1];
	struct send_key *k;
	*out = NULL;
	if (!req->idempotency_key || !*req->idempotency_key)
		return OK;
	if (!unquote(req->idempotency_key, key))
		return request_refuse(req, SEND_KEY_HEADER,
		    "It takes 1 to 255 visible ASCII characters.");
	k = arena_alloc(req->arena, sizeof(*k));
	if (!k)
		return ERR_TOO_LARGE;
	memset(k, 0, sizeof(*k));
	hash_key(key, k->key);
	hash_request(req, ask, k->request);
	*out = k;
	return OK;
}

static enum err
read_found(struct request *req, const PGresult *r, struct send_key *k)
{
	if (pg_rows(r) == 0)
		return OK;
	if (!pg_flag(r, 0, FIND_IS_SAME)) {
		req->bad_field = SEND_KEY_HEADER;
		return ERR_KEY_REUSED;
	}
	if (!pg_text(r, 0, FIND_IS_RUNNING))
		return ERR_NOT_FOUND;
	(void)snprintf(k->message_id, sizeof(k->message_id), "%s",
	    pg_text(r, 0, FIND_MESSAGE));
	k->is_running = pg_flag(r, 0, FIND_IS_RUNNING);
	return OK;
}

enum err
send_key_find(struct request *req, struct send_key *k)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_SEND_FIND),
	    .params = {req->who.user_id, k->key, k->request},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	e = read_found(req, call.result, k);
	pg_calls_clear(&call, 1);
	return e;
}

void
send_key_claim(const struct send_key *k, const char *user_id,
    const char *message_id, struct pg_call *out_call)
{
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_SEND_CLAIM),
	    .params = {user_id, k->key, k->request, message_id},
	};
}
