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

/* A batch's time in those of a question. */
#define BATCH_QUESTIONS 40

#define BATCH_LEAST_MS 60000

/* A lease has this besides, in ms, and all the tries to store. */
#define LEASE_MORE_MS 40000

enum column { USER_ID, DOCUMENT_ID, CHUNK_ID, TITLE, HEADING, CONTENT };

static const char *
name_of(const struct config *config, struct arena *a)
{
	char name[EMBEDDING_NAME];

	embedding_name(config, name);
	return arena_strdup(a, name);
}

long
embedding_batch_ms(const struct config *config)
{
	long ms = BATCH_QUESTIONS * config->embedding_timeout_ms;

	return ms > BATCH_LEAST_MS ? ms : BATCH_LEAST_MS;
}

static long
lease_s(const struct config *config)
{
	return (embedding_batch_ms(config) + LEASE_MORE_MS +
		   EMBEDDING_STORES_MAX * config->pg_timeout_ms) /
	       1000;
}

void
embedding_claim(const struct config *config,
    const struct embedding_claim *claim, struct arena *a,
    struct pg_call *out_call)
{
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_EMBEDDINGS_CLAIM),
	    .params = {name_of(config, a), claim->worker_id, claim->lease,
		arena_printf(a, "%ld", lease_s(config)),
		arena_printf(a, "%zu", claim->most),
		claim->is_steady ? "t" : "f"},
	};
}

/* They stand before the batch. */
const char *
embedding_abandoned(const PGresult *r, int n)
{
	return n < pg_rows(r) && PQgetisnull(r, n, CHUNK_ID)
		   ? PQgetvalue(r, n, DOCUMENT_ID)
		   : NULL;
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
	int first = 0, end = pg_rows(r);
	size_t texts = 0, rows;

	*out_batch = NULL;
	while (embedding_abandoned(r, first))
		first++;
	if (first == end)
		return OK;
	rows = (size_t)(end - first);
	for (int i = first; i < end; i++)
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
	memcpy(b->user_id, PQgetvalue(r, first, USER_ID), ID_TEXT);
	memcpy(b->document_id, PQgetvalue(r, first, DOCUMENT_ID), ID_TEXT);
	char *at = b->ids[rows];
	for (size_t i = 0; i < rows; i++) {
		int row = first + (int)i;
		memcpy(b->ids[i], PQgetvalue(r, row, CHUNK_ID), ID_TEXT);
		b->texts[i] = at;
		at = write_text(r, row, at);
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

static bool
says_yes(const PGresult *r)
{
	return pg_rows(r) > 0 && pg_flag(r, 0, 0);
}

bool
embedding_is_stored(const PGresult *r)
{
	return says_yes(r);
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
	return says_yes(r);
}

void
embedding_batch_free(struct embedding_batch *b)
{
	free(b);
}
