/*
 * The command parser against its table of phrases, said at one moment in
 * Berlin. Every field that a row does not name must be empty.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/zone.h"
#include "task/command.h"

#define ZONE "Europe/Berlin"
#define NOW  "2026-03-11T09:20:00Z"

struct phrase {
	const char *text;
	enum command_intent intent;
	const char *title, *due, *priority, *target, *status, *query;
	const char *from, *until;
	int number;
	bool clears_due;
	enum command_problem problem;
};

#define PHRASE(text_, intent_, ...) \
	{.text = (text_), .intent = INTENT_##intent_, ##__VA_ARGS__},
static const struct phrase phrases[] = {
#include "unit/data/phrases.def"
};
static const struct phrase unseen[] = {
#include "unit/data/phrases_unseen.def"
};
#undef PHRASE

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static int64_t
now_s(void)
{
	int64_t ms = 0;
	cr_assert(clock_parse(NOW, &ms));
	return ms / 1000;
}

/* As a row names it. */
static const char *
text_of(const struct command_time *t, char out[static 32])
{
	const struct civil *c = &t->local;
	if (!t->is_set)
		return "";
	int n = snprintf(out, 32, "%04d-%02d-%02d", c->year, c->month, c->day);
	if (t->has_hour)
		(void)snprintf(
		    out + n, 32 - (size_t)n, " %02d:%02d", c->hour, c->minute);
	return out;
}

/* A day alone is its midnight where a list begins or ends. */
static bool
is_range_end(const struct command_time *t, const char *want)
{
	char got[32], whole[32];
	if (!want)
		return !t->is_set;
	(void)snprintf(whole, sizeof(whole), "%s%s", want,
	    strlen(want) == 10 ? " 00:00" : "");
	return !strcmp(text_of(t, got), whole);
}

static bool
is_text(const char *got, const char *want)
{
	return !strcmp(got ? got : "", want ? want : "");
}

static bool
does(const struct phrase *p, struct command *c)
{
	char due[32];
	command_parse(p->text, strlen(p->text), now_s(), zone_find(ZONE), c);
	return c->intent == p->intent && c->problem == p->problem &&
	       c->number == p->number && c->clears_due == p->clears_due &&
	       is_text(c->title, p->title) && is_text(c->target, p->target) &&
	       is_text(c->query, p->query) &&
	       is_text(c->priority, p->priority) &&
	       is_text(c->status, p->status) &&
	       is_text(text_of(&c->due, due), p->due) &&
	       is_range_end(&c->from, p->from) &&
	       is_range_end(&c->until, p->until);
}

static void
tell(const struct phrase *p, const struct command *c)
{
	char due[32], from[32], until[32];
	fprintf(stderr,
	    "  %s\n    got %s problem %d number %d title '%s' target '%s' "
	    "query '%s' priority %s status %s due '%s' from '%s' until '%s'\n",
	    p->text, command_intent_name(c->intent), c->problem, c->number,
	    c->title, c->target, c->query, c->priority ? c->priority : "-",
	    c->status ? c->status : "-", text_of(&c->due, due),
	    text_of(&c->from, from), text_of(&c->until, until));
}

Test(command, does_what_the_table_says)
{
	static struct command c;
	size_t good = 0;
	for (size_t i = 0; i < COUNT(phrases); i++) {
		if (does(&phrases[i], &c))
			good++;
		else
			tell(&phrases[i], &c);
	}
	fprintf(stderr, "phrases: %zu of %zu\n", good, COUNT(phrases));
	cr_assert_eq(COUNT(phrases), 150);
	cr_expect_eq(good, COUNT(phrases));
	zones_forget();
}

/* No promise: what the parser was not written for, told as it is. */
Test(command, what_it_does_with_unseen_phrases_is_told)
{
	static struct command c;
	size_t good = 0;
	for (size_t i = 0; i < COUNT(unseen); i++) {
		if (does(&unseen[i], &c))
			good++;
		else
			tell(&unseen[i], &c);
	}
	fprintf(stderr, "unseen phrases: %zu of %zu\n", good, COUNT(unseen));
	cr_assert_eq(COUNT(unseen), 30);
	zones_forget();
}
