/*
 * The calls of embeddings_claim, _store and _fail. The only file that knows the
 * order of their columns.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "chat/embedding.h"
#include "chat/queries.h"
#include "model/embedding.h"

enum column { USER_ID, DOCUMENT_ID, CHUNK_ID, TITLE, HEADING, CONTENT };

static const char *
name_of(const struct config *config, struct arena *a)
{
	char name[EMBEDDING_NAME];

	embedding_name(config, name);
	return arena_strdup(a, name);
}

void
embedding_claim(const struct config *config, const char *worker_id,
    const char *lease, struct arena *a, struct pg_call *out_call)
{
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_EMBEDDINGS_CLAIM),
	    .params = {name_of(config, a), worker_id, lease,
		arena_printf(a, "%d", EMBEDDING_LEASE_S),
		arena_printf(a, "%ld", config->embedding_batch)},
	};
}

static size_t
length(const PGresult *r, int row, enum column c)
{
	return (size_t)PQgetlength(r, row, (int)c);
}

/* Title, headings, passage, a line each; its end. */
static char *
write_text(const PGresult *r, int row, char *at)
{
	for (enum column c = TITLE; c <= CONTENT; c++) {
		size_t n = length(r, row, c);
		if (n == 0)
			continue;
		memcpy(at, PQgetvalue(r, row, (int)c), n);
		at += n;
		*at++ = c == CONTENT ? '\0' : '\n';
	}
	return at;
}

enum err
embedding_claimed(
    const PGresult *r, const char *lease, struct embedding_batch **out_batch)
{
	struct embedding_batch *b;
	int n = pg_rows(r);
	size_t texts = 0, rows = (size_t)n;

	*out_batch = NULL;
	if (n == 0)
		return OK;
	for (int i = 0; i < n; i++)
		for (enum column c = TITLE; c <= CONTENT; c++)
			texts += length(r, i, c) + 1;
	b = calloc(
	    1, sizeof(*b) + rows * (sizeof(*b->texts) + ID_TEXT) + texts);
	if (!b)
		return ERR_BUSY;
	b->n = rows;
	b->texts = (const char **)(b + 1);
	b->ids = (char(*)[ID_TEXT])(b->texts + rows);
	memcpy(b->lease, lease, ID_TEXT);
	memcpy(b->user_id, PQgetvalue(r, 0, USER_ID), ID_TEXT);
	memcpy(b->document_id, PQgetvalue(r, 0, DOCUMENT_ID), ID_TEXT);
	char *at = b->ids[rows];
	for (int i = 0; i < n; i++) {
		memcpy(b->ids[i], PQgetvalue(r, i, CHUNK_ID), ID_TEXT);
		b->texts[i] = at;
		at = write_text(r, i, at);
	}
	*out_batch = b;
	return OK;
}

/* As Postgres reads an array of ids. */
static const char *
ids_of(const struct embedding_batch *b, struct arena *a)
{
	char *text = arena_alloc(a, b->n * ID_TEXT + 2), *at = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < b->n; i++) {
		*at++ = i == 0 ? '{' : ',';
		memcpy(at, b->ids[i], ID_TEXT - 1);
		at += ID_TEXT - 1;
	}
	*at++ = '}';
	*at = '\0';
	return text;
}

enum err
embedding_store(const struct config *config, const struct embedding_batch *b,
    const struct embeddings *e, struct arena *a, struct pg_call *out_call)
{
	struct buf vectors = {0};

	embeddings_write(e, &vectors);
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_EMBEDDINGS_STORE),
	    .params = {b->user_id, b->document_id, b->lease, name_of(config, a),
		ids_of(b, a),
		vectors.failed ? NULL : arena_strndup(a, vectors.p, vectors.n)},
	};
	buf_free(&vectors);
	return out_call->params[4] && out_call->params[5] ? OK : ERR_TOO_LARGE;
}

void
embedding_give_back(const struct config *config,
    const struct embedding_batch *b, const char *why, const char *is_refused,
    struct arena *a, struct pg_call *out_call)
{
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_EMBEDDINGS_FAIL),
	    .params = {b->user_id, b->document_id, b->lease, name_of(config, a),
		why, is_refused},
	};
}

bool
embedding_is_given_up(const PGresult *r)
{
	return pg_rows(r) > 0 && pg_flag(r, 0, 0);
}

void
embedding_batch_free(struct embedding_batch *b)
{
	free(b);
}
