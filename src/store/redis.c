/*
 * Redis as its users see it: commands and scripts behind a breaker. Owns the
 * decision when to connect, which error replies mean that Redis is not usable
 * now, and the scripts' hashes; the protocol is redis_wire.c's.
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "store/redis.h"
#include "store/redis_wire.h"

#define FAILURES_MAX 3    /* in a row; then the breaker opens */
#define OPEN_MS      1000 /* how long it stays open */

/* What redis_tell waits for an answer while the breaker is open, in ms. */
#define TELL_MS 10

struct redis {
	struct redis_address address;
	struct redis_wire wire;
	long timeout_ms;
	int failures;           /* in a row */
	uint64_t open_until_ms; /* the breaker is open before this */
	bool has_opened;        /* and Redis has not answered since */
	uint64_t round_trips;
	_Atomic uint64_t *troubles; /* borrowed; NULL: nobody counts */
};

/*
 * Error replies that speak of the server and not of the command. After some
 * of them the connection is not worth keeping either: a server that became a
 * replica may have left its address to another one.
 */
static const struct fault {
	const char *word;
	bool is_closing;
} faults[] = {
    {"BUSY", false}, /* a script runs for too long */
    {"CLUSTERDOWN", false},
    {"LOADING", false},
    {"MASTERDOWN", true},
    {"MISCONF", false}, /* cannot write its snapshot */
    {"NOAUTH", true},
    {"NOREPLICAS", false},
    {"OOM", false},
    {"READONLY", true},
    {"TRYAGAIN", false},
    {"UNBLOCKED", true},
};

/*
 * Guards every script's sha: a script is a static of its domain and may be
 * run by several threads, each with its own connection.
 */
static pthread_mutex_t sha_lock = PTHREAD_MUTEX_INITIALIZER;

void
redis_reply_cleanup(redisReply **r)
{
	if (*r != NULL)
		freeReplyObject(*r);
	*r = NULL;
}

struct redis *
redis_new(const char *url, long timeout_ms)
{
	struct redis *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	if (redis_address_parse(url, &r->address) != OK) {
		free(r);
		return NULL;
	}
	r->wire.fd = -1;
	r->timeout_ms = timeout_ms;
	return r;
}

/* For the metrics. */
static void
note_breaker(struct redis *r, bool has_opened)
{
	if (r->has_opened == has_opened)
		return;
	r->has_opened = has_opened;
	metrics_move(GAUGE_BREAKERS_OPEN, has_opened ? 1 : -1);
}

void
redis_free(struct redis *r)
{
	if (r == NULL)
		return;
	note_breaker(r, false);
	redis_wire_close(&r->wire);
	redis_address_clear(&r->address);
	free(r);
}

static bool
begins_with_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	return strncmp(text, word, n) == 0 &&
	       (text[n] == ' ' || text[n] == '\0');
}

/* Notes an error reply, without the arguments that Redis may quote. */
static void
note_error_reply(struct redis *r, const redisReply *reply)
{
	const char *args = strstr(reply->str, ", with args");
	size_t n = args == NULL ? reply->len : (size_t)(args - reply->str);

	snprintf(r->wire.why, sizeof(r->wire.why), "%.*s", (int)n, reply->str);
}

static bool
is_error(const redisReply *reply, const char *word)
{
	return reply->type == REDIS_REPLY_ERROR &&
	       (word == NULL || begins_with_word(reply->str, word));
}

/* What the reply says of the server; NULL: nothing. */
static const struct fault *
find_fault(const redisReply *reply)
{
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		if (is_error(reply, faults[i].word))
			return &faults[i];
	return NULL;
}

bool
redis_reply_is_fault(const redisReply *reply)
{
	return find_fault(reply) != NULL;
}

/* Does the reply say that the server cannot serve anybody now? */
static bool
is_fault(struct redis *r, const redisReply *reply)
{
	const struct fault *f = find_fault(reply);

	if (f == NULL)
		return false;
	note_error_reply(r, reply);
	if (f->is_closing)
		redis_wire_close(&r->wire);
	return true;
}

static void
count_trouble(struct redis *r)
{
	if (r->troubles != NULL)
		atomic_fetch_add(r->troubles, 1);
}

static enum err
ask(struct redis *r, struct redis_words words, long timeout_ms,
    redisReply **out_reply)
{
	uint64_t deadline_ms = clock_mono_ms() + (uint64_t)timeout_ms;
	redisReply *reply = NULL;
	enum err e = OK;

	if (!redis_wire_is_fit(&r->wire)) {
		count_trouble(r);
		e = redis_wire_open(&r->wire, &r->address, deadline_ms);
	}
	if (e == OK) {
		r->round_trips++;
		metrics_count(METRIC_REDIS_TRIPS);
		e = redis_wire_ask(&r->wire, words, deadline_ms, &reply);
	}
	if (e == OK && is_fault(r, reply)) {
		redis_reply_cleanup(&reply);
		e = ERR_UNAVAILABLE;
	}
	if (e == OK)
		*out_reply = reply;
	return e;
}

/* Asks through the breaker; OK may still be an error reply. */
static enum err
ask_guarded(struct redis *r, struct redis_words words, redisReply **out_reply)
{
	bool is_away = redis_is_away(r);
	enum err e =
	    is_away ? ERR_UNAVAILABLE : ask(r, words, r->timeout_ms, out_reply);

	if (e == OK) {
		r->failures = 0;
		note_breaker(r, false);
		return OK;
	}
	count_trouble(r);
	metrics_count(METRIC_REDIS_FAILURES);
	if (!is_away && ++r->failures >= FAILURES_MAX) {
		r->open_until_ms = clock_mono_ms() + OPEN_MS;
		note_breaker(r, true);
	}
	return e;
}

/* An error reply never reaches a caller, who might take it for a value. */
static enum err
refuse_error(struct redis *r, redisReply **reply, redisReply **out_reply)
{
	if (is_error(*reply, NULL)) {
		note_error_reply(r, *reply);
		redis_reply_cleanup(reply);
		return ERR_INTERNAL;
	}
	*out_reply = *reply;
	return OK;
}

enum err
redis_command(struct redis *r, int argc, const char **argv, const size_t *lens,
    redisReply **out_reply)
{
	redisReply *reply = NULL;
	enum err e =
	    ask_guarded(r, (struct redis_words){argc, argv, lens}, &reply);

	return e == OK ? refuse_error(r, &reply, out_reply) : e;
}

enum err
redis_tell(struct redis *r, int argc, const char **argv)
{
	struct redis_words words = {argc, argv, NULL};
	AUTO_REPLY redisReply *reply = NULL, *answer = NULL;
	enum err e;

	if (!redis_is_away(r))
		return redis_command(r, argc, argv, NULL, &reply);
	e = ask(r, words, TELL_MS, &reply);
	if (e != OK) {
		count_trouble(r);
		return e;
	}
	r->failures = 0;
	r->open_until_ms = 0;
	return refuse_error(r, &reply, &answer);
}

/* Copies the script's hash; an empty one when it is not known yet. */
static void
sha_read(const struct redis_script *script, char out[static REDIS_SHA])
{
	pthread_mutex_lock(&sha_lock);
	memcpy(out, script->sha, REDIS_SHA);
	pthread_mutex_unlock(&sha_lock);
}

static void
sha_write(struct redis_script *script, const char *sha)
{
	pthread_mutex_lock(&sha_lock);
	memcpy(script->sha, sha, REDIS_SHA);
	pthread_mutex_unlock(&sha_lock);
}

/* Lets Redis tell the script's hash. */
static enum err
load(struct redis *r, struct redis_script *script, char out[static REDIS_SHA])
{
	AUTO_REPLY redisReply *reply = NULL;
	const char *words[] = {"SCRIPT", "LOAD", script->text};
	enum err e = redis_command(r, 3, words, NULL, &reply);

	if (e != OK)
		return e;
	if (reply->type != REDIS_REPLY_STRING || reply->len != REDIS_SHA - 1)
		return ERR_INTERNAL;
	memcpy(out, reply->str, REDIS_SHA);
	sha_write(script, out);
	return OK;
}

enum err
redis_script_run(struct redis *r, struct redis_script *script, int n_keys,
    int argc, const char **argv, redisReply **out_reply)
{
	const char *words[3 + REDIS_SCRIPT_ARGS_MAX];
	char sha[REDIS_SHA], keys[16];
	redisReply *reply = NULL;
	enum err e = OK;

	assert(argc >= n_keys && argc <= REDIS_SCRIPT_ARGS_MAX);
	sha_read(script, sha);
	if (sha[0] == '\0')
		e = load(r, script, sha);
	if (e != OK)
		return e;
	snprintf(keys, sizeof(keys), "%d", n_keys);
	words[0] = "EVALSHA";
	words[1] = sha;
	words[2] = keys;
	for (int i = 0; i < argc; i++)
		words[3 + i] = argv[i];
	e = ask_guarded(r, (struct redis_words){3 + argc, words, NULL}, &reply);
	if (e == OK && is_error(reply, "NOSCRIPT")) {
		redis_reply_cleanup(&reply);
		words[0] = "EVAL";
		words[1] = script->text;
		e = ask_guarded(
		    r, (struct redis_words){3 + argc, words, NULL}, &reply);
	}
	return e == OK ? refuse_error(r, &reply, out_reply) : e;
}

void
redis_count_troubles(struct redis *r, _Atomic uint64_t *counter)
{
	r->troubles = counter;
}

bool
redis_is_away(const struct redis *r)
{
	return clock_mono_ms() < r->open_until_ms;
}

uint64_t
redis_round_trips(const struct redis *r)
{
	return r->round_trips;
}

const char *
redis_why(const struct redis *r)
{
	return r->wire.why;
}
