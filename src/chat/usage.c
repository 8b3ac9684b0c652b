/*
 * Reading what was used. The only file that knows the order of the columns of
 * queries_usage.def.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/csv.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "chat/usage.h"
#include "http/reply.h"
#include "http/request.h"

#define CSV_PAGE 2000

#define TEXT_OF_(n) #n
#define TEXT_OF(n)  TEXT_OF_(n)

#define SUMS                                                            \
	{"replies", ROW_RAW}, {"estimated_replies", ROW_RAW},           \
	    {"unpriced_replies", ROW_RAW}, {"prompt_tokens", ROW_RAW},  \
	    {"cached_tokens", ROW_RAW}, {"completion_tokens", ROW_RAW}, \
	    {"total_tokens", ROW_RAW}, {"cost", ROW_RAW},               \
	{                                                               \
		"currency", ROW_TEXT                                    \
	}
#define N_SUMS 9

static const struct row_column by_day[] = {{"day", ROW_TEXT}, SUMS};
static const struct row_column by_model[] = {{"model", ROW_TEXT}, SUMS};
static const struct row_column by_conversation[] = {
    {"conversation_id", ROW_TEXT}, {"title", ROW_TEXT}, SUMS};

static const struct own {
	const char *by;
	enum chat_query query;
	struct row_shape shape;
	const char *first; /* the key before the first row */
} owns[] = {
    {"day", CHAT_ME_USAGE_DAY, ROW_SHAPE(by_day, 0), "infinity"},
    {"model", CHAT_ME_USAGE_MODEL, ROW_SHAPE(by_model, 1 + N_SUMS), NULL},
    {"conversation", CHAT_ME_USAGE_CONVERSATION,
	ROW_SHAPE(by_conversation, 2 + N_SUMS), ROWS_ID_LAST},
};

/* Of everybody's; shown where the word stands in `by`. */
static const struct row_column all_columns[] = {{"day", ROW_TEXT},
    {"user_id", ROW_TEXT}, {"username", ROW_TEXT}, {"store_id", ROW_TEXT},
    {"store", ROW_TEXT}, {"model", ROW_TEXT}, SUMS};
static const char *const all_by[] = {
    "day", "user", "user", "store", "store", "model"};

enum {
	N_BY = sizeof(all_by) / sizeof(*all_by),
	N_ALL = sizeof(all_columns) / sizeof(*all_columns),
};

bool
usage_by_is_known(const char *by)
{
	static const char *const words[] = {"day", "user", "store", "model"};
	size_t n = 0, length = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const char *p = strstr(by, words[i]);
		if (p && (p == by || p[-1] == ',')) {
			length += strlen(words[i]);
			n++;
		}
	}
	return n >= 1 && n <= USAGE_KEYS && strlen(by) == length + n - 1;
}

enum err
usage_own(struct request *req, const struct usage_ask *ask, struct buf *out,
    const char **out_next)
{
	const struct own *own = owns;
	while (strcmp(own->by, ask->by) != 0)
		own++;
	struct pg_call call = {
	    .query = chat_query(own->query),
	    .params = {req->who.user_id, ask->from, ask->to,
		ask->after[0] ? ask->after[0] : own->first, ask->limit_text},
	};
	return rows_page(req, &own->shape, &call, ask->limit, out, out_next);
}

/* The columns that `by` asks for. */
static void
choose(const char *by, struct row_column columns[static N_ALL])
{
	memcpy(columns, all_columns, sizeof(all_columns));
	for (size_t i = 0; i < N_BY; i++)
		if (!strstr(by, all_by[i]))
			columns[i].kind = ROW_SKIP;
}

static struct pg_call
call_of(const struct usage_ask *ask)
{
	return (struct pg_call){
	    .query = chat_query(CHAT_ADMIN_USAGE),
	    .params = {ask->by, ask->from, ask->to, ask->user, ask->store,
		ask->model, ask->after[0], ask->after[1], ask->limit_text},
	};
}

enum err
usage_all(struct request *req, const struct usage_ask *ask, struct buf *out,
    const char **out_next)
{
	struct row_column columns[N_ALL];
	struct pg_call call = call_of(ask);
	const struct row_shape shape = ROW_SHAPE(columns, N_ALL, N_ALL + 1);
	choose(ask->by, columns);
	return rows_page(req, &shape, &call, ask->limit, out, out_next);
}

struct csv {
	struct reply_source source; /* first: it is what others hold */
	struct usage_ask ask;
	struct row_column columns[N_ALL];
	struct pg_call page; /* the rows to be written next */
	struct buf keys[USAGE_KEYS];
	int64_t n;
	bool has_begun, has_ended;
};

static void
write_row(struct csv *x, struct buf *out, int row)
{
	for (int c = 0; c < N_ALL; c++)
		if (x->columns[c].kind != ROW_SKIP)
			csv_cell(out, row < 0
					  ? x->columns[c].name
					  : pg_text(x->page.result, row, c));
	csv_end(out);
}

/* As many cells as every record has. */
static void
write_end(struct csv *x, struct buf *out)
{
	struct buf text = {0};
	buf_printf(&text, "end: %" PRId64 " rows", x->n);
	csv_cell(out, buf_text(&text));
	buf_free(&text);
	bool is_first = true;
	for (int c = 0; c < N_ALL; c++) {
		if (x->columns[c].kind != ROW_SKIP && !is_first)
			csv_cell(out, NULL);
		is_first &= x->columns[c].kind == ROW_SKIP;
	}
	csv_end(out);
	x->has_ended = true;
}

/* Keeps the last row's keys and drops the page; false: it was the last. */
static bool
turn_page(struct csv *x)
{
	int n = pg_rows(x->page.result);
	for (int k = 0; n > 0 && k < USAGE_KEYS; k++) {
		buf_clear(&x->keys[k]);
		buf_puts(
		    &x->keys[k], pg_text(x->page.result, n - 1, N_ALL + k));
		x->ask.after[k] = buf_text(&x->keys[k]);
	}
	pg_calls_clear(&x->page, 1);
	return n == CSV_PAGE;
}

static enum err
read_more(struct reply_source *source, struct request *req, struct buf *out)
{
	struct csv *x = (struct csv *)source;
	if (x->has_ended)
		return OK;
	if (!x->page.result) {
		x->page = call_of(&x->ask);
		enum err e = chat_run(req, &x->page, 1);
		if (e != OK)
			return e;
	}
	if (!x->has_begun)
		write_row(x, out, -1);
	x->has_begun = true;
	int n = pg_rows(x->page.result);
	for (int i = 0; i < n; i++)
		write_row(x, out, i);
	x->n += n;
	if (!turn_page(x))
		write_end(x, out);
	return out->failed ? ERR_BUSY : OK;
}

static void
close_csv(struct reply_source *source)
{
	struct csv *x = (struct csv *)source;
	PQclear(x->page.result);
	for (int k = 0; k < USAGE_KEYS; k++)
		buf_free(&x->keys[k]);
}

/* The first page is read at once, so that a refusal can still be told. */
enum err
usage_csv(struct request *req, const struct usage_ask *ask,
    struct reply_source **out_source)
{
	struct csv *x = arena_alloc(req->arena, sizeof(*x));
	if (!x)
		return ERR_TOO_LARGE;
	*x = (struct csv){.source = {read_more, close_csv}, .ask = *ask};
	memset(x->ask.after, 0, sizeof(x->ask.after));
	x->ask.limit_text = TEXT_OF(CSV_PAGE);
	choose(ask->by, x->columns);
	x->page = call_of(&x->ask);
	enum err e = chat_run(req, &x->page, 1);
	if (e == OK)
		*out_source = &x->source;
	return e;
}
