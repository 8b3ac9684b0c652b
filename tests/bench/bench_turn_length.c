/*
 * What a turn costs in a long conversation, beside one of 20 messages: the
 * pipeline that begins it and the transaction that ends it, and the whole turn
 * over HTTP with an instant model, each shape in turn. All have the same 20
 * messages of context. Medians; the ratio is what counts. What the statements
 * touch, test_chat_plans says. Needs the environment of a demo.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat/turn.h"
#include "tests/support/servers.h"
#include "tests/support/stack.h"
#include "tests/support/world.h"

#define ROUNDS  200
#define WARM    20
#define CONTEXT 20

/* A conversation: so many messages of so many bytes; `fan` of them are below
 * one, the others a path. */
struct shape {
	const char *name;
	int messages;
	int bytes;
	int fan;
};

static const struct shape shapes[] = {
    {"20 messages", 20, 400, 0},
    {"10,000 messages", 10000, 400, 0},
    {"1,000 siblings and 20", 1020, 400, 1000},
    {"2,000 of 16 KiB", 2000, 16384, 0},
    {"20 of 16 KiB", 20, 16384, 0},
};
#define N_SHAPES (sizeof(shapes) / sizeof(*shapes))

/* What each is compared with. */
static const size_t base_of[N_SHAPES] = {0, 0, 0, 4, 4};

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double
median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

/* Fills a conversation by SQL, `run` as superuser. */
static void
fill(void (*run)(const char *sql), const char *user, const char *conversation,
    const struct shape *shape)
{
	char sql[2048];
	(void)snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.messages (user_id, id, conversation_id,"
	    " parent_id, position, role, content, status, completed_at)"
	    " SELECT '%s', ('%.24s' || to_char(n, 'FM000000000000'))::uuid,"
	    " '%s', CASE WHEN n > 1 THEN ('%.24s' || to_char("
	    "CASE WHEN n <= %d THEN 1 ELSE n - 1 END,"
	    " 'FM000000000000'))::uuid END, n,"
	    " CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,"
	    " left(repeat(md5(n::text) || ' ', %d), %d), 'complete', now()"
	    " FROM generate_series(1, %d) n",
	    user, conversation, conversation, conversation, shape->fan,
	    shape->bytes / 32 + 1, shape->bytes, shape->messages);
	run(sql);
	(void)snprintf(sql, sizeof(sql),
	    "UPDATE chat.conversations SET message_count = %d,"
	    " next_position = %d, leaf_id = ('%.24s' || to_char(%d,"
	    " 'FM000000000000'))::uuid WHERE id = '%s'",
	    shape->messages, shape->messages + 1, conversation, shape->messages,
	    conversation);
	run(sql);
}

/* The last message of a conversation: each turn comes after it, so that all of
 * them have the same context. */
static void
leaf_of(const char *conversation, const struct shape *shape,
    char out[static ID_TEXT])
{
	(void)snprintf(
	    out, ID_TEXT, "%.24s%012d", conversation, shape->messages);
}

static void
run_in_world(const char *sql)
{
	world_sql("%s", sql);
}

static void
run_in_demo(const char *sql)
{
	server_sql(getenv("SUPERUSER_DATABASE_URL"), sql);
}

/* Begins and ends a turn; *out_begun is the first part. Microseconds. */
static double
turn_in_world(struct world *w, const char *conversation, const char *leaf,
    double *out_begun)
{
	struct turn *t = NULL;
	uint64_t began = clock_mono_us();
	if (world_begin(w, conversation, leaf, "How are you?", &t) != OK)
		abort();
	*out_begun = (double)(clock_mono_us() - began);
	if (world_finish(w, t, "Fine.") != OK)
		abort();
	turn_free(t);
	return (double)(clock_mono_us() - began);
}

static void
print(const char *what, double v[N_SHAPES][ROUNDS])
{
	double m[N_SHAPES];
	for (size_t k = 0; k < N_SHAPES; k++)
		m[k] = median(v[k], ROUNDS);
	for (size_t k = 0; k < N_SHAPES; k++)
		printf("%-10s %-24s %8.0f us   ratio %5.2f\n", what,
		    shapes[k].name, m[k], m[k] / m[base_of[k]]);
}

static void
measure_world(void)
{
	static double begun[N_SHAPES][ROUNDS], whole[N_SHAPES][ROUNDS];
	static char ids[N_SHAPES][ID_TEXT], leaves[N_SHAPES][ID_TEXT];
	struct world w;
	world_open(&w, NULL);
	w.config.context_messages = CONTEXT;
	for (size_t k = 0; k < N_SHAPES; k++) {
		world_conversation(&w, ids[k]);
		fill(run_in_world, w.user, ids[k], &shapes[k]);
		leaf_of(ids[k], &shapes[k], leaves[k]);
	}
	world_sql("VACUUM ANALYZE chat.messages, chat.conversations");
	for (int i = -WARM; i < ROUNDS; i++) {
		for (size_t k = 0; k < N_SHAPES; k++) {
			double b;
			double t = turn_in_world(&w, ids[k], leaves[k], &b);
			begun[k][i < 0 ? 0 : i] = b;
			whole[k][i < 0 ? 0 : i] = t;
		}
	}
	world_close(&w);
	print("begin", begun);
	print("turn", whole);
}

/* One turn over HTTP, in microseconds. */
static double
turn_in_stack(const struct stack *s, const struct person *p,
    const char *conversation, const char *leaf)
{
	char path[128], body[256];
	struct answer a;
	(void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    conversation);
	(void)snprintf(body, sizeof(body),
	    "{\"content\":\"[[text=5]] How are you?\",\"parent_id\":\"%s\"}",
	    leaf);
	const struct ask ask = {.method = "POST",
	    .base = s->base,
	    .path = path,
	    .token = p->token,
	    .json = body};
	uint64_t began = clock_mono_us();
	http_ask(&ask, &a);
	double took = (double)(clock_mono_us() - began);
	if (a.status != 201) {
		fprintf(stderr, "%ld %s\n", a.status, a.body.p);
		abort();
	}
	answer_clear(&a);
	return took;
}

static void
measure_stack(void)
{
	static double whole[N_SHAPES][ROUNDS];
	static char ids[N_SHAPES][ID_TEXT], leaves[N_SHAPES][ID_TEXT];
	static const struct stack_options options = {
	    .settings = {"CHAT_WORKERS=1", "CHAT_REGISTRATION=open",
		"CHAT_CONTEXT_MESSAGES=20", "CHAT_RATE_LIMIT_PER_MINUTE=0",
		"CHAT_RATE_LIMIT_PER_DAY=0", "CHAT_MAX_TOKENS_PER_DAY=0",
		"CHAT_ADDRESS_RATE_PER_MINUTE=0"},
	    .has_model = true,
	};
	struct stack s;
	struct person p;
	stack_start(&s, &options);
	person_make(&s, &p);
	for (size_t k = 0; k < N_SHAPES; k++) {
		person_converse(&s, &p, ids[k]);
		fill(run_in_demo, p.user_id, ids[k], &shapes[k]);
		leaf_of(ids[k], &shapes[k], leaves[k]);
	}
	run_in_demo("VACUUM ANALYZE chat.messages, chat.conversations");
	for (int i = -WARM; i < ROUNDS; i++) {
		for (size_t k = 0; k < N_SHAPES; k++)
			whole[k][i < 0 ? 0 : i] =
			    turn_in_stack(&s, &p, ids[k], leaves[k]);
	}
	stack_stop(&s);
	print("HTTP", whole);
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!world_provide("bench_turn_length"))
		return 1;
	measure_world();
	if (getenv("DATABASE_URL"))
		measure_stack();
	return 0;
}
