/*
 * The bill at Redis: arguments and answers of charge.lua and give_back.lua.
 * Owns no state but the scripts' hashes. Must not know policies or sessions.
 */
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/arena.h"
#include "http/request.h"
#include "limit/limit.h"
#include "limit/limit_inside.h"
#include "limit/lua.h"
#include "limit/quotas.h"
#include "store/redis.h"

/* Overrides hold after this long at the latest; spread, so that the numbers of
 * many do not run out at once. */
#define NUMBERS_MIN_MS 10000
#define NUMBERS_MAX_MS 15000

/* As charge.lua has them. */
#define N_KEYS        4
#define N_ARGS        7
#define POLICY_ARGS   4
#define ANSWER        4
#define ANSWER_ITEMS  5
#define ANSWER_TOKENS 3

_Static_assert(
    N_KEYS + N_ARGS + (1 + POLICY_ARGS) * POLICY__MAX <= REDIS_SCRIPT_ARGS_MAX,
    "a bill fits into one call");
_Static_assert(QUOTA__MAX == 9 && QUOTA_TOKENS_PER_DAY == 5,
    "N_QUOTAS and TOKENS_PER_DAY of charge.lua");
_Static_assert(QUOTA_TURNS_PER_MINUTE == 0 && QUOTA_TURNS_PER_DAY == 1,
    "the first two may be a store's: charge.lua, auth.rate_charge");

static struct redis_script charge_script = {.text = limit_charge_lua};
static struct redis_script give_back_script = {.text = limit_give_back_lua};

static const char *
number_text(struct arena *a, int64_t n)
{
	return n == 0 ? "0" : arena_printf(a, "%" PRId64, n);
}

/* The words of the call; how many, or 0 beyond the arena's cap. */
static int
write_words(struct request *req, const struct limit_bill *bill,
    const struct limit_door *door, const struct limit_told *told,
    const char *words[static REDIS_SCRIPT_ARGS_MAX])
{
	static const struct limit_told nothing = {.numbers = "", .today = ""};
	struct arena *a = req->arena;
	const struct limit_told *t = told ? told : &nothing;
	int n = 0;
	words[n++] = door ? door->gone : "";
	words[n++] = door ? door->entry : "";
	words[n++] = door ? door->distrust : "";
	words[n++] = bill->numbers_key;
	for (size_t i = 0; i < bill->n; i++)
		words[n++] = bill->items[i].key;
	words[n++] = door && !told ? "1" : "0";
	words[n++] = door ? door->begins : "";
	words[n++] = t->entry ? t->entry->text : "";
	words[n++] = number_text(a, t->entry ? t->entry->ttl_s : 0);
	words[n++] = t->numbers;
	words[n++] = number_text(
	    a, NUMBERS_MIN_MS +
		   randombytes_uniform(NUMBERS_MAX_MS - NUMBERS_MIN_MS));
	words[n++] = t->today;
	for (size_t i = 0; i < bill->n; i++) {
		const struct policy_row *p =
		    &policy_rows[bill->items[i].policy];
		words[n++] = number_text(a, p->quota);
		words[n++] = number_text(a, bill->items[i].limit);
		words[n++] = number_text(a, p->window_us);
		words[n++] = number_text(a, p->burst);
	}
	for (int i = 0; i < n; i++) {
		if (!words[i])
			return 0;
	}
	return n;
}

static const char *
copy_text(struct arena *a, const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING ? arena_strndup(a, r->str, r->len)
					     : NULL;
}

/* The values of the three keys, from `r` on. */
static void
read_door(struct arena *a, redisReply *const *r, struct limit_door *door)
{
	door->gone_value = copy_text(a, r[0]);
	door->entry_value = copy_text(a, r[1]);
	door->distrust_value = copy_text(a, r[2]);
}

/* What an item is given by the script. */
static void
read_item(struct arena *a, redisReply *const *r, struct limit_item *item)
{
	const char *key = copy_text(a, r[4]);
	item->limit = r[0]->integer;
	item->remaining = r[1]->integer;
	item->reset_us = r[2]->integer;
	item->retry_us = r[3]->integer;
	if (key)
		item->key = key;
}

/* What is known of the day's tokens. */
static void
read_tokens(redisReply *const *r, struct limit_bill *bill)
{
	bill->tokens = (struct limit_tokens){
	    .is_known = true,
	    .limit = r[0]->integer,
	    .used = r[1]->integer,
	    .reset_s = r[2]->integer,
	};
}

enum err
limit_redis_charge(struct request *req, struct limit_bill *bill,
    struct limit_door *door, const struct limit_told *told,
    enum limit_word *out_word)
{
	const char *words[REDIS_SCRIPT_ARGS_MAX];
	AUTO_REPLY redisReply *reply = NULL;
	int n = write_words(req, bill, door, told, words);
	if (n == 0)
		return ERR_TOO_LARGE;
	enum err e = redis_script_run(req->services->redis, &charge_script,
	    N_KEYS + (int)bill->n, n, words, &reply);
	if (e)
		return ERR_UNAVAILABLE;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < ANSWER)
		return ERR_UNAVAILABLE;
	enum limit_word word = (enum limit_word)reply->element[0]->integer;
	if (door && !told)
		read_door(req->arena, reply->element + 1, door);
	if (word == CHARGED || word == REFUSED) {
		size_t n_items = ANSWER + ANSWER_ITEMS * bill->n;
		if (reply->elements == n_items + ANSWER_TOKENS)
			read_tokens(reply->element + n_items, bill);
		else if (reply->elements != n_items)
			return ERR_UNAVAILABLE;
		for (size_t i = 0; i < bill->n; i++)
			read_item(req->arena,
			    reply->element + ANSWER + ANSWER_ITEMS * i,
			    &bill->items[i]);
	}
	*out_word = word;
	return OK;
}

enum err
limit_redis_look(struct request *req, struct limit_door *door)
{
	const char *argv[] = {"MGET", door->gone, door->entry, door->distrust};
	AUTO_REPLY redisReply *values = NULL;
	if (redis_command(req->services->redis, 4, argv, NULL, &values) != OK ||
	    values->type != REDIS_REPLY_ARRAY || values->elements != 3)
		return ERR_UNAVAILABLE;
	read_door(req->arena, values->element, door);
	return OK;
}

void
limit_redis_give_back(struct request *req, const struct limit_charged *charged)
{
	const char *words[2 * POLICY__MAX];
	AUTO_REPLY redisReply *reply = NULL;
	for (size_t i = 0; i < charged->n; i++) {
		words[i] = charged->items[i].key;
		words[charged->n + i] = charged->items[i].step;
	}
	if (redis_script_run(req->services->redis, &give_back_script,
		(int)charged->n, 2 * (int)charged->n, words, &reply) != OK)
		return; /* it fills again by itself */
}
