/*
 * Decides when a JWKS is read, and finds keys in what was read. Owns the keys.
 * Must not know tokens.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/jwks.h"
#include "auth/site_keys.h"
#include "base/buf.h"

struct site_keys {
	const char *source;
	struct jwks set;
	uint64_t reads;
	uint64_t read_ms;  /* when `set` was read, if it has any */
	uint64_t tried_ms; /* the last attempt, if there was one */
	uint64_t asked_ms; /* the last one for an unknown kid, if any */
	bool was_asked;
	char why[SITE_WHY];
};

struct site_keys *
site_keys_new(const char *source)
{
	struct site_keys *k = calloc(1, sizeof *k);
	if (k)
		k->source = source;
	return k;
}

void
site_keys_free(struct site_keys *k)
{
	if (!k)
		return;
	jwks_clear(&k->set);
	free(k);
}

/* Replaces the keys; keeps the old ones when there are no new ones. */
static enum err
read_source(struct site_keys *k, unsigned algs, uint64_t now_ms)
{
	struct buf text = {0};
	struct jwks set = {0};
	k->reads++;
	k->tried_ms = now_ms;
	k->why[0] = '\0';
	enum err e = jwks_fetch(k->source, &text, k->why);
	if (!e) {
		e = jwks_read(text.p ? text.p : "", text.n, algs, &set);
		memcpy(k->why, set.why, sizeof k->why);
	}
	buf_free(&text);
	if (e)
		return e;
	jwks_clear(&k->set);
	k->set = set;
	k->read_ms = now_ms;
	return OK;
}

/* Reads the source when it is time to. */
static void
keep_fresh(struct site_keys *k, unsigned algs, uint64_t now_ms)
{
	bool has_keys = k->set.n > 0;
	uint64_t pause = has_keys ? SITE_KEYS_RETRY_MS : SITE_KEYS_HURRY_MS;
	if (has_keys && now_ms - k->read_ms < SITE_KEYS_FRESH_MS)
		return;
	if (k->reads > 0 && now_ms - k->tried_ms < pause)
		return;
	if (read_source(k, algs, now_ms) != OK && has_keys &&
	    now_ms - k->read_ms >= SITE_KEYS_STALE_MS)
		jwks_clear(&k->set);
}

/* The key, or NULL; a token without a kid must leave no choice. */
static const struct site_key *
look(const struct site_keys *k, const struct site_key_ask *ask)
{
	const struct site_key *found = NULL;
	for (size_t i = 0; i < k->set.n; i++) {
		const struct site_key *key = &k->set.keys[i];
		if (key->alg != ask->alg)
			continue;
		if (ask->kid && strcmp(key->kid, ask->kid) == 0)
			return key;
		if (!ask->kid && found)
			return NULL;
		if (!ask->kid)
			found = key;
	}
	return found;
}

enum err
site_keys_find(struct site_keys *k, const struct site_rules *rules,
    const struct site_key_ask *ask, uint64_t now_ms,
    const struct site_key **out_key)
{
	keep_fresh(k, rules->algs, now_ms);
	if (k->set.n == 0)
		return ERR_UNAVAILABLE;
	const struct site_key *key = look(k, ask);
	if (!key && ask->kid && k->read_ms != now_ms &&
	    (!k->was_asked || now_ms - k->asked_ms >= SITE_KEYS_ASKING_MS)) {
		k->was_asked = true;
		k->asked_ms = now_ms;
		if (read_source(k, rules->algs, now_ms) != OK)
			return ERR_UNAVAILABLE;
		key = look(k, ask);
	}
	if (!key)
		return ERR_IDENTITY_INVALID;
	*out_key = key;
	return OK;
}

const char *
site_keys_why(const struct site_keys *k)
{
	return k->why;
}

uint64_t
site_keys_reads(const struct site_keys *k)
{
	return k->reads;
}
