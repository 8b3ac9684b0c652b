/*
 * Commands from any clean text: what is read lies within the text, is clean
 * itself, and is the same when it is read again; entities are JSON. The first
 * four bytes of an input choose the moment and the zone.
 */
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "base/zone.h"
#include "fuzz.h"
#include "task/command.h"

#define CONTROL 4

/* From 1970 to 2106. */
static int64_t
moment(const uint8_t *data)
{
	return (int64_t)((uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
			 (uint32_t)data[2] << 8 | data[3]);
}

static void
check_time(const struct command_time *t)
{
	if (t->is_set) {
		FUZZ_PROMISE(t->local.month >= 1 && t->local.month <= 12);
		FUZZ_PROMISE(t->local.day >= 1 && t->local.day <= 31);
		FUZZ_PROMISE(t->local.hour >= 0 && t->local.hour <= 23);
	}
}

static void
check_text(const char *text)
{
	FUZZ_PROMISE(strnlen(text, COMMAND_TEXT) < COMMAND_TEXT);
	FUZZ_PROMISE(text_is_clean(text, strlen(text)));
}

static void
check(const struct command *c, const char *text, size_t n)
{
	FUZZ_PROMISE(c->intent < INTENT__MAX);
	FUZZ_PROMISE(c->n_dates <= COMMAND_DATES);
	check_text(c->title);
	check_text(c->target);
	check_text(c->query);
	check_time(&c->due);
	check_time(&c->from);
	check_time(&c->until);
	for (size_t i = 0; i < c->n_dates; i++) {
		const struct command_date *d = &c->dates[i];
		FUZZ_PROMISE(d->start < d->end && d->end <= n);
		FUZZ_PROMISE(text_is_clean(text + d->start, d->end - d->start));
		check_time(&d->time);
	}
	if (c->problem != COMMAND_IS_FIT)
		FUZZ_PROMISE(!command_is_operation(c) && *c->title == '\0');
	if (c->intent == INTENT_CREATE_TASK && command_is_operation(c))
		FUZZ_PROMISE(*c->title != '\0');
}

/* All that was found, as JSON. */
static struct buf
entities(const struct command *c, const char *text, const struct zone *zone)
{
	struct buf out = {0};
	struct json_object *o;

	command_write_entities(c, text, zone, &out);
	FUZZ_PROMISE(!out.failed);
	FUZZ_PROMISE(json_parse_object(out.p, out.n, &o) == OK);
	json_object_put(o);
	return out;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const zones[] = {
	    "UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"};
	static struct command c;
	struct buf first, again;
	enum command_intent intent;
	const struct zone *zone;
	char *text;
	size_t n;

	if (size < CONTROL ||
	    !text_is_clean((const char *)data + CONTROL, size - CONTROL))
		return 0;
	n = size - CONTROL;
	text = malloc(n + 1); /* of its very size: a byte too far is seen */
	if (!text)
		return 0;
	memcpy(text, data + CONTROL, n);
	text[n] = '\0';
	zone = zone_find(zones[data[3] % 4]);
	zone = zone ? zone : zone_find("UTC");
	command_parse(text, n, moment(data), zone, &c);
	check(&c, text, n);
	first = entities(&c, text, zone);
	intent = c.intent;
	command_parse(text, n, moment(data), zone, &c);
	again = entities(&c, text, zone);
	FUZZ_PROMISE(c.intent == intent && first.n == again.n);
	FUZZ_PROMISE(memcmp(first.p, again.p, again.n) == 0);
	buf_free(&first);
	buf_free(&again);
	free(text);
	return 0;
}
