/*
 * Who listens to which channel. A listener that goes while listeners are called
 * is only marked, and freed after: the list is walked then.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/relay_listen.h"

struct listener {
	struct listener *next;  /* in its bucket */
	relay_redis_hint_fn fn; /* NULL: gone */
	void *arg;
	uint64_t waits_for; /* the answer that says it is subscribed; 0: said */
	char channel[];
};

/* FNV-1a. */
static struct listener **
bucket(struct listeners *ls, const char *channel)
{
	uint32_t hash = 2166136261u;

	for (const char *p = channel; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	return &ls->buckets[hash % LISTEN_BUCKETS];
}

static void
sweep(struct listener **at)
{
	while (*at != NULL) {
		struct listener *l = *at;

		if (l->fn != NULL) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		free(l);
	}
}

static void
sweep_all(struct listeners *ls)
{
	for (size_t i = 0; i < LISTEN_BUCKETS; i++)
		sweep(&ls->buckets[i]);
	ls->has_dead = false;
}

/* The number of the answer; while there is no connection, of none. */
static uint64_t
ask(struct listeners *ls, const char *word, const char *channel)
{
	if (!ls->is_open || !relay_line_put(&ls->line, 2,
				(const char *[]){word, channel}, NULL))
		return UINT64_MAX;
	if (ls->asked == ls->confirmed)
		relay_line_expect(&ls->line, ls->line.looks);
	return ++ls->asked;
}

/* Is there a listener on the channel? */
static bool
is_heard(struct listeners *ls, const char *channel)
{
	for (const struct listener *l = *bucket(ls, channel); l; l = l->next)
		if (l->fn != NULL && strcmp(l->channel, channel) == 0)
			return true;
	return false;
}

bool
listeners_add(struct listeners *ls, const char *channel, relay_redis_hint_fn fn,
    void *arg)
{
	size_t n = strlen(channel) + 1;
	struct listener *l = malloc(sizeof(*l) + n);
	struct listener **at = bucket(ls, channel);

	if (l == NULL)
		return false;
	*l = (struct listener){.next = *at, .fn = fn, .arg = arg};
	memcpy(l->channel, channel, n);
	*at = l;
	if (!ls->has_line)
		relay_line_start(&ls->line);
	ls->has_line = true;
	/* Whoever is not the first on it hears by the answer when to look. */
	l->waits_for = ask(ls, "SUBSCRIBE", channel);
	return true;
}

void
listeners_drop(struct listeners *ls, const char *channel, const void *arg)
{
	bool was_found = false;

	for (struct listener *l = *bucket(ls, channel); l; l = l->next) {
		if (l->arg != arg || l->fn == NULL ||
		    strcmp(l->channel, channel) != 0)
			continue;
		l->fn = NULL;
		was_found = true;
	}
	if (!was_found)
		return;
	if (!is_heard(ls, channel))
		(void)ask(ls, "UNSUBSCRIBE", channel);
	if (ls->is_calling)
		ls->has_dead = true;
	else
		sweep(bucket(ls, channel));
}

/* Tells the channel's listeners; NULL: those that are subscribed by now and do
 * not know. */
static void
call(struct listeners *ls, const char *channel, const char *payload)
{
	ls->is_calling = true;
	for (struct listener *l = *bucket(ls, channel); l; l = l->next) {
		if (l->fn == NULL || strcmp(l->channel, channel) != 0)
			continue;
		if (payload == NULL &&
		    (l->waits_for == 0 || l->waits_for > ls->confirmed))
			continue;
		if (payload == NULL)
			l->waits_for = 0;
		l->fn(l->arg, payload);
	}
	ls->is_calling = false;
	if (ls->has_dead)
		sweep_all(ls);
}

void
listeners_opened(struct relay_line *line)
{
	struct listeners *ls = line->owner;

	ls->is_open = true;
	for (size_t i = 0; i < LISTEN_BUCKETS; i++)
		for (struct listener *l = ls->buckets[i]; l; l = l->next)
			l->waits_for = ask(ls, "SUBSCRIBE", l->channel);
	relay_line_flush(line);
}

/* [word, channel, count or payload] */
void
listeners_replied(struct relay_line *line, redisReply *reply)
{
	struct listeners *ls = line->owner;
	const char *word, *channel;

	if (reply->type == REDIS_REPLY_ERROR) /* the time-out drops the line */
		log_with(LOG_ERROR, "Redis refuses to tell of replies",
		    LOG_TEXT("why", reply->str));
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[1]->type != REDIS_REPLY_STRING)
		return;
	word = reply->element[0]->str;
	channel = reply->element[1]->str;
	if (strcmp(word, "message") == 0) {
		call(ls, channel, reply->element[2]->str);
		return;
	}
	ls->confirmed++;
	relay_line_expect(line, ls->confirmed == ls->asked ? 0 : line->looks);
	if (strcmp(word, "subscribe") == 0)
		call(ls, channel, NULL);
}

void
listeners_dropped(struct relay_line *line, const char *why)
{
	struct listeners *ls = line->owner;

	(void)why; /* the line of commands says it */
	ls->is_open = false;
	ls->asked = ls->confirmed = 0;
}

void
listeners_doubt(struct listeners *ls)
{
	if (ls->is_open)
		relay_line_drop(&ls->line, "");
}

void
listeners_clear(struct listeners *ls)
{
	for (size_t i = 0; i < LISTEN_BUCKETS; i++)
		for (struct listener *l = ls->buckets[i]; l; l = l->next)
			l->fn = NULL;
	sweep_all(ls);
}
