/*
 * What reading a message costs: prints nanoseconds per message for some that
 * are commands, ordinary ones, and a long one. Run it by hand; nothing depends
 * on its numbers.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/zone.h"
#include "task/command.h"

#define ROUNDS 2000
#define NOW    1773220800 /* 11 March 2026 */

static const char *const messages[] = {
    "remind me to send the invoice on Friday at 3pm",
    "complete the milk task",
    "yes",
    "Can you explain how TCP handles congestion in two paragraphs?",
    "I think that we should meet tomorrow to talk about the new budget.",
};

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void
bench(const char *what, const char *text)
{
	static struct command c;
	const struct zone *zone = zone_find("Europe/Berlin");
	double best = 1e18;
	struct buf out = {0};

	for (int round = 0; round < ROUNDS; round++) {
		double began = now_ns();
		command_parse(text, strlen(text), NOW, zone, &c);
		buf_clear(&out);
		command_write_entities(&c, text, zone, &out);
		double took = now_ns() - began;
		if (took < best)
			best = took;
	}
	printf(
	    "%8.0f ns  %-16s %s\n", best, command_intent_name(c.intent), what);
	buf_free(&out);
}

int
main(void)
{
	static char text[100 * 1024];

	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
		bench(messages[i], messages[i]);
	for (size_t n = 0; n + 8 < sizeof(text); n += 7)
		memcpy(text + n, "longish", 7);
	for (size_t n = 6; n < sizeof(text) - 8; n += 7)
		text[n] = ' ';
	bench("100 KiB of words", text);
	zones_forget();
	return 0;
}
