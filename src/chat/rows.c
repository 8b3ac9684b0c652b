/*
 * From results to JSON by a table of columns. Owns no state. Must not know any
 * table of the database.
 */
#include <string.h>

#include "base/arena.h"
#include "base/json_write.h"
#include "chat/queries.h"
#include "chat/rows.h"
#include "http/request.h"

void
rows_write(
    struct buf *out, const struct row_shape *shape, const PGresult *r, int row)
{
	json_write_open(out, NULL, '{');
	for (size_t i = 0; i < shape->n; i++) {
		const char *name = shape->columns[i].name;
		const char *text = pg_text(r, row, (int)i);
		switch (shape->columns[i].kind) {
		case ROW_TEXT:
			json_write_text(out, name, text);
			break;
		case ROW_RAW:
			json_write_raw(out, name, text);
			break;
		case ROW_FLAG:
			json_write_flag(out, name, pg_flag(r, row, (int)i));
			break;
		case ROW_TIME:
			json_write_time(out, name, text);
			break;
		case ROW_SKIP:
			break;
		}
	}
	json_write_close(out, '}');
}

static void
write_first(
    struct buf *out, const struct row_shape *shape, const PGresult *r, int n)
{
	json_write_open(out, NULL, '[');
	for (int i = 0; i < n; i++)
		rows_write(out, shape, r, i);
	json_write_close(out, ']');
}

void
rows_write_all(
    struct buf *out, const struct row_shape *shape, const PGresult *r)
{
	write_first(out, shape, r, pg_rows(r));
}

enum err
rows_one(struct request *req, const struct row_shape *shape,
    struct pg_call *call, struct buf *out)
{
	enum err e = chat_run(req, call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call->result) == 0)
		e = ERR_NOT_FOUND;
	else
		rows_write(out, shape, call->result, 0);
	pg_calls_clear(call, 1);
	return e;
}

/* The keys of row `row`; ERR_TOO_LARGE beyond the arena. */
static enum err
read_keys(struct request *req, const struct row_shape *shape, const PGresult *r,
    int row, const char **out_keys)
{
	const char *keys[ROW_KEYS_MAX] = {NULL};
	size_t n = 0;
	for (; n < ROW_KEYS_MAX && shape->keys[n] >= 0; n++) {
		keys[n] =
		    arena_strdup(req->arena, pg_text(r, row, shape->keys[n]));
		if (!keys[n])
			return ERR_TOO_LARGE;
	}
	memcpy(out_keys, keys, n * sizeof(*keys));
	return OK;
}

enum err
rows_page(struct request *req, const struct row_shape *shape,
    struct pg_call *call, long limit, struct buf *out, const char **out_next)
{
	enum err e = chat_run(req, call, 1);
	if (e != OK)
		return e;
	int n = pg_rows(call->result);
	if (n > limit) {
		n = (int)limit;
		e = read_keys(req, shape, call->result, n - 1, out_next);
	}
	if (e == OK)
		write_first(out, shape, call->result, n);
	pg_calls_clear(call, 1);
	return e;
}

enum err
rows_change(struct request *req, struct pg_call *call)
{
	enum err e = chat_run(req, call, 1);
	if (e != OK)
		return e;
	if (pg_rows(call->result) == 0)
		e = ERR_NOT_FOUND;
	pg_calls_clear(call, 1);
	return e;
}
