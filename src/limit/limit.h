/*
 * Request limits: what one request is charged to, all of its policies
 * (policies.def) or none, in the same round trip that says whether its session
 * or API key is good.
 *
 * Warm, that is one script in Redis (charge.lua) and nothing else. What Redis
 * does not know is asked of Postgres, once, and told to Redis with the charge
 * in a second script. While Redis is away Postgres says who asks and charges
 * them in one pipeline (auth.rate_charge), as exactly. When Postgres is away
 * and Redis still vouches for who asks, but cannot charge them, a GET is
 * charged to this worker's share of the settings' limits; all else is
 * ERR_UNAVAILABLE. Nothing is ever let through uncounted.
 *
 * A bucket lets the limit's number pass at once and fills again evenly (GCRA);
 * its clock is that of the store that holds it. Overrides (auth.limits) hold
 * within 15 s: what Redis remembers of them (`limits:{user}`, for turns
 * `limits:{user}:<conversation>`) lives no longer.
 *
 *     rate:{user}:turns[:<store>]       turns a minute
 *     rate:{user}:day:<date>[:<store>]  turns of a day of UTC: a count, which
 *                                       Postgres rebuilds
 *     rate:{user}:api, rate:{user}:<network>, rate:<network>,
 *     rate:failed:<network>, rate:refresh:<session>
 *
 * Every charge leaves a line in req->limits. Thread: any, with its own
 * services.
 */
#ifndef LIMIT_LIMIT_H
#define LIMIT_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

struct limit_bill;
struct pg_call;
struct pg_query;
struct pg_result; /* libpq's PGresult */
struct request;

/* What is known of the charge so far. */
enum limit_state {
	LIMIT_UNDECIDED, /* Redis answers, but it did not charge */
	LIMIT_AWAY,      /* Redis does not answer */
	LIMIT_DECIDED,   /* charged or refused */
};

/*
 * How somebody is known who wants in. Session and API key fill the first part;
 * all strings live as long as the request.
 */
struct limit_door {
	const char *user_id;
	const char *gone;     /* keys of Redis: present, it refuses; "": none */
	const char *entry;    /* says who is let in, or "-" */
	const char *distrust; /* present: believe no entry */
	const char *begins;   /* with what an entry must begin */
	/* RATE_CHARGE of those who are let in, and its last parameters. */
	const struct pg_query *charge;
	const char *proof[2];

	/* What limit_knock made and found. */
	struct limit_bill *bill;
	enum limit_state state;
	enum err verdict; /* of LIMIT_DECIDED: OK or ERR_RATE_LIMITED */
	const char *gone_value, *entry_value, *distrust_value; /* NULL: none */
};

/* What Redis is to remember of somebody whom Postgres let in. */
struct limit_entry {
	const char *text;
	long ttl_s;
};

/*
 * Asks Redis, in one round trip, for the values of the door's keys, and where
 * they let in charges the request, unless `in_doubt`: then it only looks.
 */
void limit_knock(struct request *req, struct limit_door *door, bool in_doubt);

/*
 * The statement, if any, that the charge takes of Postgres, to go with those
 * that ask who it is (`is_known`: there are none, Redis was believed). Returns
 * how many: 0 or 1.
 */
size_t limit_calls(struct request *req, const struct limit_door *door,
    bool is_known, struct pg_call *out_call);

/*
 * Charges who was let in, given what limit_calls's statement gave (NULL: there
 * was none), and lets Redis remember `entry` (NULL: nothing). ERR_RATE_LIMITED
 * with req->retry_after_s; ERR_UNAVAILABLE when no store can charge. No round
 * trip when limit_knock charged already.
 */
enum err limit_enter(struct request *req, struct limit_door *door,
    const struct pg_result *given, const struct limit_entry *entry) MUST_CHECK;

/*
 * Instead, when Postgres did not answer about one whom Redis lets in. Errors
 * as above.
 */
enum err
limit_enter_alone(struct request *req, struct limit_door *door) MUST_CHECK;

/* Charges a request that anybody may send. Errors as above. One round trip. */
enum err limit_open(struct request *req) MUST_CHECK;

/*
 * Charges the address of somebody about whom Postgres is to be asked on the
 * word of a credential that anybody can make up. Errors as above. One round
 * trip.
 */
enum err limit_stranger(struct request *req) MUST_CHECK;

/* The conversation with these ids is in another store now. One round trip. */
void limit_forget(struct request *req, const char *id, const char *short_id);

/* Charges a refresh to its session, once that is known to be one of ours. */
enum err limit_refresh(struct request *req, const char *session_id) MUST_CHECK;

/*
 * Gives back what a request that ended with `e` is not to be charged for:
 * everything after 503; after 409, and where req->is_replay, all but the
 * addresses' charges; a turn after any error; the charge of a failed refresh
 * after any end that is none. At most one round trip; what cannot be given back
 * stays charged. A second call gives nothing twice.
 */
void limit_give_back(struct request *req, enum err e);

#endif
