/*
 * What the files of limit.h share: a request's bill, and the three places that
 * can settle it.
 */
#ifndef LIMIT_LIMIT_INSIDE_H
#define LIMIT_LIMIT_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct limit_door;
struct limit_entry;
struct pg_call;
struct pg_result;
struct request;

enum policy {
#define POLICY(name, ...) POLICY_##name,
#include "limit/policies.def"
#undef POLICY
	POLICY__MAX
};

/* A row of policies.def, as far as a store has to know it. */
struct policy_row {
	const char *name;
	int quota;         /* 1 + enum quota; 0: nothing overrides it */
	int64_t window_us; /* 0: a day of UTC */
	int64_t burst;     /* 0: as the limit */
};

extern const struct policy_row policy_rows[POLICY__MAX];

/* A policy of one request: whose bucket, and what holds without overrides. */
struct limit_item {
	enum policy policy;
	const char *key;
	int64_t limit;
	/* What came of it. */
	int64_t remaining;
	int64_t reset_us;
	int64_t retry_us; /* 0: it may pass */
};

/* The day's tokens: not charged here, but told. */
struct limit_tokens {
	bool is_known;
	int64_t limit; /* that overrides the setting; -1: nothing does */
	int64_t used;  /* those reserved are among them; up to 15 s ago */
	int64_t reset_s;
};

/* All of them. */
struct limit_bill {
	const char *user_id;      /* NULL: nobody */
	const char *conversation; /* of a turn; "-": none of ours; or NULL */
	const char *numbers_key;  /* of Redis; "": nobody */
	struct limit_tokens tokens;
	size_t n;
	struct limit_item items[POLICY__MAX];
};

/* What a settled bill was charged to, so that it can be given back. */
enum limit_store { IN_REDIS, IN_POSTGRES, IN_SHARE };

struct limit_charged {
	enum limit_store store;
	size_t n;
	struct {
		enum policy policy;
		const char *key;
		const char *step; /* what giving back takes off */
	} items[POLICY__MAX];
};

/* What charge.lua says first. */
enum limit_word { NOT_KNOWN, NO_NUMBERS, CHARGED, REFUSED };

/* What Redis is told before it charges. */
struct limit_told {
	const char *numbers; /* as charge.lua reads them; "": none */
	const char *today;   /* turns; "": not known */
	const struct limit_entry *entry; /* NULL: none */
};

/*
 * Runs charge.lua: with a door, which it fills, only for who is let in; `told`
 * NULL: nothing is told. The items of the bill are filled when it was charged
 * or refused. ERR_UNAVAILABLE.
 */
enum err limit_redis_charge(struct request *req, struct limit_bill *bill,
    struct limit_door *door, const struct limit_told *told,
    enum limit_word *out_word) MUST_CHECK;

/* The values of the door's keys alone, which costs Redis least. */
enum err
limit_redis_look(struct request *req, struct limit_door *door) MUST_CHECK;

/* Gives back the `n` first of `charged`; what cannot be stays charged. */
void
limit_redis_give_back(struct request *req, const struct limit_charged *charged);
void
limit_pg_give_back(struct request *req, const struct limit_charged *charged);

/* RATE_NUMBERS, and what it gave. */
void limit_pg_ask(const struct limit_bill *bill, struct pg_call *out_call);
enum err limit_pg_told(struct request *req, const struct pg_result *r,
    struct limit_told *out) MUST_CHECK;

/* The charge itself: `door` NULL, or who is charged if they are let in. */
enum err limit_pg_call(struct request *req, const struct limit_bill *bill,
    const struct limit_door *door, struct pg_call *out_call) MUST_CHECK;

/* Its rows, into the items. ERR_SESSION_REVOKED: they were not let in. */
enum err limit_pg_read(struct request *req, const struct pg_result *r,
    struct limit_bill *bill) MUST_CHECK;

/* Charges this worker's share; see limit_share.c. */
void limit_share_charge(struct limit_bill *bill, long workers, int64_t now_us);

/* What one charge of an item takes of its bucket. */
int64_t limit_step(const struct limit_item *item);

#endif
