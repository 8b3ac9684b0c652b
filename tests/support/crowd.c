/*
 * Registers in a few threads, because one request after the other takes long;
 * streams through the program stream_load.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "crowd.h"

#define THREADS 4

struct registrar {
	pthread_t thread;
	struct crowd *crowd;
	_Atomic size_t *next;
};

_Noreturn static void
give_up(const char *what)
{
	fprintf(stderr, "crowd: %s\n", what);
	abort();
}

static void *
register_some(void *arg)
{
	struct registrar *r = arg;
	size_t i;

	while ((i = atomic_fetch_add(r->next, 1)) < r->crowd->n)
		person_make(r->crowd->stack, &r->crowd->people[i]);
	return NULL;
}

/* One line each: the token, the conversation. */
static void
write_tokens(struct crowd *c)
{
	FILE *f;

	snprintf(c->tokens, sizeof(c->tokens), "%s/tokens", c->stack->dir);
	f = fopen(c->tokens, "w");
	if (f == NULL)
		give_up(c->tokens);
	for (size_t i = 0; i < c->n; i++)
		fprintf(f, "%s %s\n", c->people[i].token,
		    c->people[i].conversation);
	fclose(f);
}

void
crowd_make(const struct stack *s, size_t n, struct crowd *out)
{
	struct registrar registrars[THREADS];
	_Atomic size_t next = 0;

	*out = (struct crowd){.stack = s, .n = n};
	out->people = calloc(n, sizeof(*out->people));
	if (out->people == NULL)
		give_up("no memory");
	for (int i = 0; i < THREADS; i++) {
		registrars[i] = (struct registrar){.crowd = out, .next = &next};
		if (pthread_create(&registrars[i].thread, NULL, register_some,
			&registrars[i]) != 0)
			give_up("no thread");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(registrars[i].thread, NULL);
	write_tokens(out);
}

void
crowd_free(struct crowd *c)
{
	free(c->people);
	c->people = NULL;
}

static long
number_in(const char *report, const char *name)
{
	struct json_object *o = json_tokener_parse(report), *value;
	long n = -1;

	if (json_object_object_get_ex(o, name, &value))
		n = (long)json_object_get_int64(value);
	json_object_put(o);
	return n;
}

void
crowd_stream(const struct crowd *c, size_t count, const char *body,
    int hangup_after, const char *dump, struct load_end *out)
{
	const char *program = getenv("STREAM_LOAD");
	char url[160], n[24], hangup[24];
	const char *argv[] = {program, "--url", url, "--tokens", c->tokens,
	    "--bodies", body, "--count", n, "--hangup-after", hangup,
	    dump != NULL ? "--dump" : NULL, dump, NULL};
	struct command_end end;

	if (program == NULL)
		give_up("STREAM_LOAD is not set: run scripts/check");
	snprintf(url, sizeof(url), "%s/api/v1/conversations/%%s/messages",
	    c->stack->base);
	snprintf(n, sizeof(n), "%zu", count);
	snprintf(hangup, sizeof(hangup), "%d", hangup_after);
	end = command_run(NULL, argv);
	*out = (struct load_end){
	    .code = end.code,
	    .completed = number_in(end.out, "completed"),
	    .hung_up = number_in(end.out, "hung_up"),
	};
	if (asprintf(&out->report, "%s%s", end.out, end.err) < 0)
		give_up("no memory");
	command_end_clear(&end);
}

void
load_end_clear(struct load_end *e)
{
	free(e->report);
	e->report = NULL;
}
