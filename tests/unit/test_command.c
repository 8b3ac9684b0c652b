/*
 * The command parser against its table of phrases, said at one moment in
 * Berlin. Every field that a row does not name must be empty.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
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
static const struct phrase development[] = {
#include "unit/data/phrases_development.def"
};
static const struct phrase unseen[] = {
#include "unit/data/phrases_unseen.def"
};
static const struct phrase held_out[] = {
#include "unit/data/phrases_held_out.def"
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

typedef void (*tell_fn)(const struct phrase *p, const struct command *c);

/* Rows of the table that come out as they say; of the others, it is told. */
static size_t
count_good(const struct phrase *rows, size_t n, tell_fn tell_of)
{
	static struct command c;
	size_t good = 0;

	for (size_t i = 0; i < n; i++) {
		if (does(&rows[i], &c))
			good++;
		else if (tell_of)
			tell_of(&rows[i], &c);
	}
	return good;
}

/* Rows that want nothing of tasks, and would have got something done. */
static size_t
count_false(const struct phrase *rows, size_t n)
{
	static struct command c;
	size_t bad = 0;

	for (size_t i = 0; i < n; i++) {
		if (rows[i].intent <= INTENT_DELETE_TASK)
			continue;
		command_parse(rows[i].text, strlen(rows[i].text), now_s(),
		    zone_find(ZONE), &c);
		if (command_is_operation(&c)) {
			bad++;
			tell(&rows[i], &c);
		}
	}
	return bad;
}

Test(command, does_what_the_table_says)
{
	size_t good = count_good(phrases, COUNT(phrases), tell);

	fprintf(stderr, "phrases: %zu of %zu\n", good, COUNT(phrases));
	cr_assert_eq(COUNT(phrases), 150);
	cr_expect_eq(good, COUNT(phrases));
	zones_forget();
}

Test(command, does_what_it_was_developed_with)
{
	size_t n = COUNT(development);
	size_t good = count_good(development, n, tell);

	fprintf(stderr, "development: %zu of %zu\n", good, n);
	cr_assert_eq(n, 200);
	cr_expect_geq(good, 200);
	cr_expect_eq(count_false(development, n), 0);
	zones_forget();
}

/* No promise: what the parser was not written for, told as it is. */
Test(command, what_it_does_with_unseen_phrases_is_told)
{
	size_t good = count_good(unseen, COUNT(unseen), tell);

	fprintf(stderr, "unseen phrases: %zu of %zu\n", good, COUNT(unseen));
	cr_assert_eq(COUNT(unseen), 30);
	cr_expect_eq(count_false(unseen, COUNT(unseen)), 0);
	zones_forget();
}

/* Only their number is told, unless somebody wants to see them. */
Test(command, what_was_held_out_is_counted)
{
	size_t n = COUNT(held_out);
	tell_fn tell_of = getenv("PHRASES_TELL") ? tell : NULL;

	fprintf(stderr, "held out: %zu of %zu\n",
	    count_good(held_out, n, tell_of), n);
	cr_assert_eq(n, 60);
	cr_expect_eq(count_false(held_out, n), 0);
	zones_forget();
}
