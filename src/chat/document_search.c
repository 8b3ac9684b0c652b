/*
 * A search in documents: by words and, where there are vectors, by the
 * question's, for which its server is waited for. What cannot be had of that
 * is said, and the words decide alone. Knows the order of DOCUMENTS_SEARCH's
 * columns.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "chat/document.h"
#include "chat/queries.h"
#include "chat/retrieve.h"
#include "chat/rows.h"
#include "http/request.h"
#include "knowledge/language.h"
#include "model/embedding_fetch.h"

static const struct row_column columns[] = {
    {"chunk_id", ROW_TEXT},
    {"document_id", ROW_TEXT},
    {"title", ROW_TEXT},
    {"store_id", ROW_TEXT},
    {"position", ROW_RAW},
    {"heading", ROW_TEXT},
    {"content", ROW_TEXT},
    {"start_offset", ROW_RAW},
    {"end_offset", ROW_RAW},
    {"score", ROW_RAW},
    {"match", ROW_TEXT},
    {"ranking", ROW_RAW},
};
static const struct row_shape shape = ROW_SHAPE(columns, -1, -1);

/* Has any passage that the caller may read a vector? */
static enum err
has_vectors(struct request *req, const char *model, bool *out_has)
{
	struct pg_call call = {
	    .query = chat_query(CHAT_EMBEDDED),
	    .params = {req->who.user_id, model},
	};
	enum err e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	*out_has = pg_flag(call.result, 0, 0);
	pg_calls_clear(&call, 1);
	return OK;
}

/* The question's vector as Postgres reads it; NULL: there is none. */
static const char *
fetch(struct request *req, const char *question)
{
	struct embeddings vector;
	struct buf text = {0};
	const char *why = "", *copy;
	enum err e =
	    embedding_fetch(req->services->config, question, &vector, &why);
	if (e != OK) {
		metrics_count(METRIC_EMBEDDINGS_QUESTIONS_FAILED);
		log_with(LOG_NOTICE, "a question was not embedded",
		    LOG_TEXT("request_id", req->request_id),
		    LOG_TEXT("why", why));
		return NULL;
	}
	metrics_count(METRIC_EMBEDDINGS_QUESTIONS_DONE);
	if (vector.tokens > 0)
		metrics_add(METRIC_EMBEDDING_TOKENS_QUESTIONS, vector.tokens);
	embeddings_write(&vector, &text);
	embeddings_free(&vector);
	copy = text.failed ? NULL : arena_strndup(req->arena, text.p, text.n);
	buf_free(&text);
	return copy;
}

/* Fills `out` where there is a vector; *out_outcome says what became of it. */
static enum err
embed(struct request *req, const char *question, struct retrieve_near *out,
    const char **out_outcome)
{
	const struct config *config = req->services->config;
	char model[EMBEDDING_NAME];
	bool has = false;
	*out_outcome = "off";
	if (!embedding_is_on(config))
		return OK;
	embedding_name(config, model);
	out->model = arena_strdup(req->arena, model);
	out->least = arena_printf(req->arena, "%ld", config->embedding_least);
	if (!out->model || !out->least)
		return ERR_TOO_LARGE;
	enum err e = has_vectors(req, model, &has);
	*out_outcome = "none";
	if (e != OK || !has)
		return e;
	out->vector = fetch(req, question);
	*out_outcome = out->vector ? "used" : "failed";
	return OK;
}

enum err
documents_search(struct request *req, const struct documents_question *ask,
    struct buf *out, const char **out_embedding)
{
	struct retrieve_near near = {0};
	enum err e = embed(req, ask->q, &near, out_embedding);
	if (e != OK)
		return e;
	struct pg_call call = {
	    .query = chat_query(CHAT_DOCUMENTS_SEARCH),
	    .params = {req->who.user_id, ask->q, ask->store,
		ask->language ? ask->language
			      : language_guess(ask->q, strlen(ask->q)),
		ask->limit, near.model, near.vector, near.least},
	};
	e = chat_run(req, &call, 1);
	if (e != OK)
		return e;
	rows_write_all(out, &shape, call.result);
	pg_calls_clear(&call, 1);
	return OK;
}
