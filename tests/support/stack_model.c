/*
 * What a test asks a stand-in model itself: to open its gates, and how often it
 * was asked. Owns nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack.h"

/* Asks one of the stand-in's own pages, which always answers. */
static void
ask_page(
    const char *base, const char *method, const char *path, struct answer *a)
{
	const struct ask ask = {.method = method, .base = base, .path = path};

	http_ask(&ask, a);
	if (a->status == 200)
		return;
	fprintf(
	    stderr, "stack: %s of the stand-in model: %ld\n", path, a->status);
	abort();
}

static void
post(const char *base, const char *path)
{
	struct answer a;

	ask_page(base, "POST", path, &a);
	answer_clear(&a);
}

void
stack_model_open(const struct stack *s)
{
	post(s->model, "/_open");
}

void
stack_model_step(void *stack, int n)
{
	(void)n;
	stack_model_open(stack);
}

long
standin_count(const char *base, const char *name)
{
	struct answer a;
	long n;

	ask_page(base, "GET", "/_stats", &a);
	n = strtol(answer_text(&a, name), NULL, 10);
	answer_clear(&a);
	return n;
}

long
stack_model_count(const struct stack *s, const char *name)
{
	return standin_count(s->model, name);
}

/* Of a line of /proc/net/tcp: "0: 0100007F:1F90 0100007F:A2B4 01 TX:RX". */
static bool
is_under_way(const char *line, unsigned port)
{
	unsigned local, remote, state, tx, rx;

	return sscanf(line, " %*u: %*x:%x %*x:%x %x %x:%x", &local, &remote,
		   &state, &tx, &rx) == 5 &&
	       state == 1 && (local == port || remote == port) && tx + rx > 0;
}

bool
stack_model_is_heard(void *stack)
{
	const struct stack *s = stack;
	unsigned port = (unsigned)strtoul(strrchr(s->model, ':') + 1, NULL, 10);
	char line[512];
	bool is_heard = true;
	FILE *f;

	/* Who answers this has said before what there was to say. */
	(void)stack_model_count(s, "chat_requests");
	f = fopen("/proc/net/tcp", "r");
	if (f == NULL)
		abort();
	while (fgets(line, sizeof(line), f) != NULL)
		is_heard = is_heard && !is_under_way(line, port);
	fclose(f);
	return is_heard;
}

void
standin_reset(const char *base)
{
	post(base, "/_reset");
}

void
stack_model_reset(const struct stack *s)
{
	standin_reset(s->model);
}
