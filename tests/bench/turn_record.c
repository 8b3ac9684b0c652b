/*
 * Writes a turn as a script for pgbench: it begins and ends one turn with the
 * functions that natterd calls, notes every statement on its way to Postgres
 * with its parameters and its transactions (the linker puts the functions
 * below in front of pg_trip.c's), and prints them. So the script is what the
 * source does today, to the last parameter.
 *
 * Ids become expressions of pgbench's client and of a count of its turns; the
 * same id the same expression, so that a reply that was begun is ended. User
 * and conversation are those of tests/bench/crowd.sql.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/id.h"
#include "chat/queries.h"
#include "chat/turn.h"
#include "http/request.h"
#include "store/pg_inside.h"

#define ARENA_BYTES ((size_t)4 << 20)
#define IDS_MAX     16

/* Ids made by the turn, in the order of their first use. */
static char made[IDS_MAX][ID_TEXT];
static size_t n_made;

static const char *user, *conversation, *worker;
static bool is_recording, is_in_pipeline;

enum err __real_pg_trip_send_prepared(
    struct pg_trip *t, const struct pg_query *query, const char *const *params);
enum err __real_pg_trip_send_text(
    struct pg_trip *t, const struct pg_query *query, const char *const *params);
enum err __real_pg_trip_sync(struct pg_trip *t);

enum err __wrap_pg_trip_send_prepared(
    struct pg_trip *t, const struct pg_query *query, const char *const *params);
enum err __wrap_pg_trip_send_text(
    struct pg_trip *t, const struct pg_query *query, const char *const *params);
enum err __wrap_pg_trip_sync(struct pg_trip *t);

/* The number of an id that the turn made. */
static size_t
number_of(const char *id)
{
	size_t i = 0;

	while (i < n_made && strcmp(made[i], id) != 0)
		i++;
	assert(i < IDS_MAX);
	if (i == n_made)
		memcpy(made[n_made++], id, ID_TEXT);
	return i;
}

/* A string that pgbench finds no variable in. */
static void
print_literal(const char *p)
{
	printf("E'");
	for (; *p != '\0'; p++) {
		if (*p == '\'' || *p == '\\' || *p == ':' || *p < ' ')
			printf("\\x%02X", (unsigned char)*p);
		else
			putchar(*p);
	}
	putchar('\'');
}

static void
print_param(const char *value)
{
	if (value == NULL)
		printf("NULL");
	else if (strcmp(value, user) == 0)
		printf(":user");
	else if (strcmp(value, conversation) == 0)
		printf(":conversation");
	else if (id_is_uuid(value) && strcmp(value, worker) != 0)
		printf("(:id%zu::text || lpad(:turn::text, 12, '0'))",
		    number_of(value));
	else
		print_literal(value);
}

/* The `n`th of the types, from 1, with its length. */
static const char *
type_of(const char *types, long n, int *out_len)
{
	while (--n > 0)
		types = strchr(types, ' ') + 1;
	*out_len = (int)strcspn(types, " ");
	return types;
}

/* The statement with each $n as its value, cast to what it is declared as. */
static void
print_statement(const struct pg_query *query, const char *const *params)
{
	for (const char *p = query->sql; *p != '\0';) {
		const char *type;
		char *end;
		long n;
		int len;

		if (*p != '$') {
			putchar(*p++);
			continue;
		}
		n = strtol(p + 1, &end, 10);
		type = type_of(query->types, n, &len);
		putchar('('); /* an array's elements are asked for behind it */
		print_param(params[n - 1]);
		printf("::%.*s)", len, type);
		p = end;
	}
	puts(";");
}

static void
record(const struct pg_query *query, const char *const *params)
{
	if (!is_recording)
		return;
	if (!is_in_pipeline)
		puts("\\startpipeline");
	is_in_pipeline = true;
	print_statement(query, params);
}

enum err
__wrap_pg_trip_send_prepared(
    struct pg_trip *t, const struct pg_query *query, const char *const *params)
{
	record(query, params);
	return __real_pg_trip_send_prepared(t, query, params);
}

/* While connecting: the session's settings, and a look at the role's rights. */
enum err
__wrap_pg_trip_send_text(
    struct pg_trip *t, const struct pg_query *query, const char *const *params)
{
	if (strcmp(query->name, "session settings") == 0)
		print_statement(query, params);
	return __real_pg_trip_send_text(t, query, params);
}

enum err
__wrap_pg_trip_sync(struct pg_trip *t)
{
	if (is_in_pipeline)
		puts("\\endpipeline");
	is_in_pipeline = false;
	return __real_pg_trip_sync(t);
}

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "turn_record: %s: %s\n", what, why);
	exit(1);
}

/* What each connection of pgbench does once, before its first turn. */
static void
print_once(void)
{
	uint64_t ms = clock_wall_ms();

	printf("SELECT '00000000-0001-7000-8000-' || n AS user,"
	       " '00000000-0004-7000-8000-' || n AS conversation");
	for (int i = 0; i < IDS_MAX; i++)
		printf(", '%08lx-%04lx-7%x' || lpad(:client_id::text, 2, '0')"
		       " || '-8000-' AS id%d",
		    (unsigned long)(ms >> 16), (unsigned long)(ms & 0xffff), i,
		    i);
	printf(" FROM lpad((:first::int + :client_id::int)::text, 12, '0') "
	       "n\n\\gset\n");
}

static void
run_turn(struct request *req)
{
	const struct turn_ask ask = {.conversation_id = conversation,
	    .content = "go",
	    .wants_stream = true};
	struct pg_call calls[TURN_FINISH_CALLS];
	struct turn *t = NULL;
	size_t n;

	if (turn_begin(req, &ask, &t) != OK)
		die("the turn does not begin", pg_why(req->services->pg));
	buf_puts(&t->text, "An answer of two hundred bytes, as long as that of "
			   "the model's server of the benchmark is: padding "
			   "follows up to its end, which comes soon enough, "
			   "and so on and on until it is there, about here.");
	t->first_us = clock_mono_us();
	t->status = TURN_COMPLETE;
	t->finish = MODEL_FINISH_STOP;
	t->usage = (struct model_usage){10, 1, 0};
	n = turn_finish(t, req->arena, calls);
	if (pg_run(req->services->pg, t->user_id, calls, n) != OK)
		die("the turn does not end", pg_why(req->services->pg));
	pg_calls_clear(calls, n);
	turn_free(t);
}

int
main(int argc, char **argv)
{
	struct config *config = NULL;
	char why[CONFIG_WHY] = "";
	struct services services = {0};
	struct request req = {.services = &services, .request_id = "bench"};
	struct pg_options options = {.application = "bench",
	    .timeout_ms = 5000,
	    .prepare = true,
	    .domains = &chat_domain,
	    .n_domains = 1};

	if (argc != 5) {
		fputs("usage: turn_record CONFIG USER CONVERSATION WORKER\n",
		    stderr);
		return 2;
	}
	user = argv[2];
	conversation = argv[3];
	worker = argv[4];
	if (config_load(argv[1], &config, why) != OK)
		die(argv[1], why);
	options.url = config->database_url;
	puts("\\if :turn = 0");
	print_once();
	services = (struct services){
	    .config = config, .pg = pg_new(&options), .worker_id = worker};
	if (pg_connect(services.pg) != OK)
		die("Postgres", pg_why(services.pg));
	puts("\\endif\n\\set turn :turn + 1");
	is_recording = true;
	req.arena = arena_new(ARENA_BYTES);
	req.who = (struct identity){.user_id = user, .session_id = user};
	run_turn(&req);
	arena_free(req.arena);
	pg_free(services.pg);
	config_free(config);
	return fflush(stdout) == 0 ? 0 : 1;
}
