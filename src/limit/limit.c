/*
 * Which policies a request has, in which store they are charged, and what its
 * reply and its log say of them. Owns no state. Must not know sessions or keys.
 */
#include <inttypes.h>
#include <string.h>

#include "auth/client.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/id.h"
#include "base/metrics.h"
#include "http/request.h"
#include "http/route.h"
#include "limit/limit.h"
#include "limit/limit_inside.h"
#include "limit/quotas.h"
#include "store/pg.h"
#include "store/redis.h"

#define DAY_S 86400

/* A replay did nothing: what it owes is what one that came too early does. */
#define REPLAYED 409

/* Whose bucket it is. */
enum whose { OF_USER, OF_USER_ADDRESS, OF_ADDRESS, OF_SESSION };

#define BIT(class) (1U << (class))

const struct policy_row policy_rows[POLICY__MAX] = {
#define POLICY(row, name, classes, quota, setting, window, burst, whose, key) \
	[POLICY_##row] = {                                                    \
	    name, (quota) == QUOTA__MAX ? 0 : (quota) + 1, window, burst},
#include "limit/policies.def"
#undef POLICY
};

/* The rest of a row. */
static const struct {
	unsigned classes;
	enum whose whose;
	const char *bucket;
} rows[POLICY__MAX] = {
#define POLICY(row, name, classes, quota, setting, window, burst, whose, key) \
	[POLICY_##row] = {classes, whose, key},
#include "limit/policies.def"
#undef POLICY
};

static int64_t
setting_of(const struct config *config, enum policy p)
{
	const int64_t settings[POLICY__MAX] = {
#define POLICY(row, name, classes, quota, setting, window, burst, whose, key) \
	[POLICY_##row] = config->setting,
#include "limit/policies.def"
#undef POLICY
	};
	return settings[p];
}

int64_t
limit_step(const struct limit_item *item)
{
	const struct policy_row *p = &policy_rows[item->policy];
	if (p->window_us == 0)
		return 1;
	return (p->window_us + item->limit - 1) / item->limit;
}

/* Who a bill is for. */
struct payer {
	const char *user_id;
	const char *session_id;
};

/* The bucket's key; NULL where there is nobody to charge. */
static const char *
key_of(struct request *req, enum policy p, const struct payer *payer)
{
	struct arena *a = req->arena;
	const char *network = client_network(req), *bucket = rows[p].bucket;
	switch (rows[p].whose) {
	case OF_USER:
		return arena_printf(a, "rate:{%s}:%s", payer->user_id, bucket);
	case OF_USER_ADDRESS:
		return network ? arena_printf(
				     a, "rate:{%s}:%s", payer->user_id, network)
			       : NULL;
	case OF_ADDRESS:
		return network ? arena_printf(a, "rate:%s%s", bucket, network)
			       : NULL;
	case OF_SESSION:
		return arena_printf(a, "rate:%s%s", bucket, payer->session_id);
	}
	return NULL;
}

/* A limit that nothing sets and nothing overrides is not even asked for. */
static void
add(struct request *req, enum policy p, const struct payer *payer,
    struct limit_bill *bill)
{
	int64_t limit = setting_of(req->services->config, p);
	if (limit == 0 && policy_rows[p].quota == 0)
		return;
	const char *key = key_of(req, p, payer);
	if (key)
		bill->items[bill->n++] = (struct limit_item){
		    .policy = p, .key = key, .limit = limit};
}

/* The policies of the route's class, or with nobody known those of all. */
static void
make_bill(struct request *req, const char *user_id, struct limit_bill *out_bill)
{
	const struct payer payer = {.user_id = user_id};
	enum route_limit class = req->route->limit;
	*out_bill = (struct limit_bill){.user_id = user_id, .numbers_key = ""};
	for (enum policy p = 0; p < POLICY__MAX; p++) {
		if (rows[p].classes & BIT(class))
			add(req, p, &payer, out_bill);
	}
	if (!user_id)
		return;
	if (class == LIMIT_TURN) {
		const char *name = req->ids[0];
		out_bill->conversation =
		    id_is_uuid(name) || id_is_short(name) ? name : "-";
	}
	out_bill->numbers_key = arena_printf(req->arena, "limits:{%s}%s%s",
	    user_id, out_bill->conversation ? ":" : "",
	    out_bill->conversation ? out_bill->conversation : "");
}

static int64_t
seconds_of(int64_t us)
{
	return (us + 999999) / 1000000;
}

/* What the reply says of an item. */
static void
add_line(struct request *req, const struct limit_item *item)
{
	const struct policy_row *p = &policy_rows[item->policy];
	struct limit_line *line = limit_lines_add(&req->limits);
	if (!line)
		return;
	*line = (struct limit_line){
	    .name = p->name,
	    .unit = LIMIT_REQUESTS,
	    .limit = item->limit,
	    .remaining = item->remaining,
	    .window_s = p->window_us ? p->window_us / 1000000 : DAY_S,
	    .reset_s = seconds_of(item->reset_us),
	    .retry_s = seconds_of(item->retry_us),
	    .is_violated = item->retry_us > 0,
	};
}

/* What it says of the day's tokens, which a turn's reservation knows better. */
static void
add_tokens(struct request *req, const struct limit_tokens *t)
{
	int64_t limit = t->limit >= 0
			    ? t->limit
			    : req->services->config->max_tokens_per_day;
	struct limit_line *line =
	    t->is_known && limit > 0 ? limit_lines_add(&req->limits) : NULL;
	if (!line)
		return;
	*line = (struct limit_line){
	    .name = quota_name(QUOTA_TOKENS_PER_DAY),
	    .unit = LIMIT_TOKENS,
	    .limit = limit,
	    .remaining = t->used < limit ? limit - t->used : 0,
	    .window_s = DAY_S,
	    .reset_s = t->reset_s,
	};
}

/* Refuses, with what the log is to say. */
static enum err
refuse(struct request *req, const struct limit_bill *bill)
{
	const char *why = "over";
	int64_t wait_s = 1;
	for (size_t i = 0; i < bill->n; i++) {
		const struct limit_item *item = &bill->items[i];
		if (item->retry_us == 0)
			continue;
		if (seconds_of(item->retry_us) > wait_s)
			wait_s = seconds_of(item->retry_us);
		const char *more = arena_printf(req->arena, "%s %s of %" PRId64,
		    why, policy_rows[item->policy].name, item->limit);
		why = more ? more : why;
	}
	req->retry_after_s = (int)wait_s;
	return request_fail(req, ERR_RATE_LIMITED, why);
}

/* Notes what a charged item takes to be given back. */
static void
note_charge(
    struct request *req, const struct limit_item *item, enum limit_store store)
{
	struct limit_charged *c = req->charged;
	if (!c) {
		c = arena_alloc(req->arena, sizeof *c);
		if (!c)
			return;
		*c = (struct limit_charged){.store = store};
		req->charged = c;
	}
	const char *step =
	    arena_printf(req->arena, "%" PRId64, limit_step(item));
	if (!step || c->store != store || c->n == POLICY__MAX)
		return;
	c->items[c->n].policy = item->policy;
	c->items[c->n].key = item->key;
	c->items[c->n++].step = step;
}

/* Counts what was decided: of a refused bill, by which policies. */
static void
count(const struct limit_bill *bill, enum limit_store store, bool passes)
{
	static const enum metric allowed[] = {
#define POLICY(row, ...) [POLICY_##row] = METRIC_LIMIT_##row##_ALLOWED,
#include "limit/policies.def"
#undef POLICY
	};
	static const enum metric refused[] = {
#define POLICY(row, ...) [POLICY_##row] = METRIC_LIMIT_##row##_REFUSED,
#include "limit/policies.def"
#undef POLICY
	};
	static const enum metric by[] = {
	    [IN_REDIS] = METRIC_LIMITS_BY_REDIS,
	    [IN_POSTGRES] = METRIC_LIMITS_BY_POSTGRES,
	    [IN_SHARE] = METRIC_LIMITS_BY_SHARE,
	};
	metrics_count(by[store]);
	for (size_t i = 0; i < bill->n; i++) {
		const struct limit_item *item = &bill->items[i];
		if (item->limit > 0 && passes)
			metrics_count(allowed[item->policy]);
		else if (item->retry_us > 0)
			metrics_count(refused[item->policy]);
	}
}

/* Tells the request what came of its bill. */
static enum err
conclude(
    struct request *req, const struct limit_bill *bill, enum limit_store store)
{
	bool passes = true;
	for (size_t i = 0; i < bill->n; i++) {
		if (bill->items[i].limit == 0)
			continue;
		add_line(req, &bill->items[i]);
		passes = passes && bill->items[i].retry_us == 0;
	}
	add_tokens(req, &bill->tokens);
	count(bill, store, passes);
	if (!passes)
		return refuse(req, bill);
	for (size_t i = 0; i < bill->n; i++) {
		if (bill->items[i].limit > 0)
			note_charge(req, &bill->items[i], store);
	}
	return OK;
}

void
limit_knock(struct request *req, struct limit_door *door, bool in_doubt)
{
	enum limit_word word = NOT_KNOWN;
	bool only_looks = in_doubt || req->route->limit == LIMIT_NONE;
	enum err e;
	door->state = LIMIT_DECIDED;
	door->verdict = ERR_TOO_LARGE;
	door->bill = arena_alloc(req->arena, sizeof *door->bill);
	if (!door->bill)
		return;
	make_bill(req, door->user_id, door->bill);
	e = only_looks ? limit_redis_look(req, door)
		       : limit_redis_charge(req, door->bill, door, NULL, &word);
	door->state = e ? LIMIT_AWAY : LIMIT_UNDECIDED;
	if (word != CHARGED && word != REFUSED)
		return;
	door->state = LIMIT_DECIDED;
	door->verdict = conclude(req, door->bill, IN_REDIS);
}

/* Is there nothing left that could be charged, or told to Redis? */
static bool
is_free(const struct request *req, const struct limit_door *door, bool is_known)
{
	switch (door->state) {
	case LIMIT_DECIDED:
		return true;
	case LIMIT_AWAY:
		return door->bill->n == 0;
	case LIMIT_UNDECIDED:
		break;
	}
	return is_known && req->route->limit == LIMIT_NONE;
}

size_t
limit_calls(struct request *req, const struct limit_door *door, bool is_known,
    struct pg_call *out_call)
{
	if (is_free(req, door, is_known))
		return 0;
	if (door->state == LIMIT_UNDECIDED)
		limit_pg_ask(door->bill, out_call);
	else if (limit_pg_call(req, door->bill, door, out_call) != OK)
		return 0;
	return 1;
}

/* Charges in Postgres whom it knows already. */
static enum err
charge_in_postgres(struct request *req, struct limit_bill *bill)
{
	struct pg_call call;
	enum err e = limit_pg_call(req, bill, NULL, &call);
	if (!e)
		e = pg_run(req->services->pg, bill->user_id, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	e = limit_pg_read(req, call.result, bill);
	pg_calls_clear(&call, 1);
	return e ? e : conclude(req, bill, IN_POSTGRES);
}

/* Charges in Redis, told all that it did not know; else in Postgres. */
static enum err
charge(struct request *req, struct limit_bill *bill, struct limit_door *door,
    const struct limit_told *told)
{
	enum limit_word word = NOT_KNOWN;
	enum err e = limit_redis_charge(req, bill, door, told, &word);
	if (!e && (word == CHARGED || word == REFUSED))
		return conclude(req, bill, IN_REDIS);
	return bill->n > 0 ? charge_in_postgres(req, bill) : OK;
}

enum err
limit_enter(struct request *req, struct limit_door *door,
    const struct pg_result *given, const struct limit_entry *entry)
{
	struct limit_told told = {.entry = entry};
	enum err e;
	if (door->state == LIMIT_DECIDED)
		return door->verdict;
	if (!given)
		return is_free(req, door, true) ? OK : ERR_TOO_LARGE;
	if (door->state == LIMIT_AWAY) {
		e = limit_pg_read(req, given, door->bill);
		return e ? e : conclude(req, door->bill, IN_POSTGRES);
	}
	e = limit_pg_told(req, given, &told);
	return e ? e : charge(req, door->bill, door, &told);
}

enum err
limit_enter_alone(struct request *req, struct limit_door *door)
{
	if (door->state == LIMIT_DECIDED)
		return door->verdict;
	if (req->route->method != HTTP_GET)
		return ERR_UNAVAILABLE;
	limit_share_charge(door->bill, req->services->config->workers,
	    (int64_t)clock_mono_us());
	return conclude(req, door->bill, IN_SHARE);
}

enum err
limit_open(struct request *req)
{
	static const struct limit_told nothing = {.numbers = "", .today = ""};
	struct limit_bill bill;
	make_bill(req, NULL, &bill);
	return bill.n > 0 ? charge(req, &bill, NULL, &nothing) : OK;
}

enum err
limit_stranger(struct request *req)
{
	static const struct limit_told nothing = {.numbers = "", .today = ""};
	const struct payer nobody = {0};
	struct limit_bill bill = {.numbers_key = ""};
	enum err e;
	add(req, POLICY_ADDRESS, &nobody, &bill);
	e = bill.n > 0 ? charge(req, &bill, NULL, &nothing) : OK;
	if (e == OK)
		req->limits.n =
		    0; /* told with the others, when it is known who */
	return e;
}

enum err
limit_refresh(struct request *req, const char *session_id)
{
	static const struct limit_told nothing = {.numbers = "", .today = ""};
	const struct payer payer = {.session_id = session_id};
	struct limit_bill bill = {.numbers_key = ""};
	add(req, POLICY_REFRESH, &payer, &bill);
	return bill.n > 0 ? charge(req, &bill, NULL, &nothing) : OK;
}

/* Does a request that ended with this status still owe this? */
static bool
is_owed(enum policy p, int status)
{
	if (status == 503)
		return false;
	/* An address has asked, whatever came of it. */
	if (p == POLICY_ADDRESS || p == POLICY_USER_ADDRESS)
		return true;
	if (status == 409)
		return false;
	if (p == POLICY_TURNS_PER_MINUTE || p == POLICY_TURNS_PER_DAY)
		return status < 400;
	return p != POLICY_REFRESH_FAILURES || status == 401;
}

/* The reply is to say what is left after that. */
static void
tell_back(struct request *req, const struct limit_charged *back)
{
	for (size_t i = 0; i < back->n; i++) {
		struct limit_line *line = limit_lines_find(
		    &req->limits, policy_rows[back->items[i].policy].name);
		if (line && !line->is_violated && line->remaining < line->limit)
			line->remaining++;
	}
}

void
limit_forget(struct request *req, const char *id, const char *short_id)
{
	struct arena *a = req->arena;
	const char *user = req->who.user_id;
	const char *argv[] = {"DEL",
	    arena_printf(a, "limits:{%s}:%s", user, id),
	    arena_printf(a, "limits:{%s}:%s", user, short_id)};
	AUTO_REPLY redisReply *reply = NULL;
	if (argv[1] && argv[2] &&
	    redis_command(req->services->redis, 3, argv, NULL, &reply) != OK)
		return; /* it runs out within 15 s */
}

void
limit_give_back(struct request *req, enum err e)
{
	struct limit_charged *c = req->charged;
	if (!c || c->store == IN_SHARE)
		return;
	struct limit_charged back = {.store = c->store};
	int status = e ? err_status(e) : req->is_replay ? REPLAYED : 200;
	size_t kept = 0;
	for (size_t i = 0; i < c->n; i++) {
		if (is_owed(c->items[i].policy, status))
			c->items[kept++] = c->items[i];
		else
			back.items[back.n++] = c->items[i];
	}
	c->n = kept;
	if (back.n == 0)
		return;
	tell_back(req, &back);
	if (back.store == IN_REDIS)
		limit_redis_give_back(req, &back);
	else
		limit_pg_give_back(req, &back);
}
