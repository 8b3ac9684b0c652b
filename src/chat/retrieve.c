/*
 * Finding the passages that an answer rests on. Knows the order of RETRIEVE's
 * columns; must not know how passages are ranked.
 */
#include <stdlib.h>
#include <string.h>

#include "chat/queries.h"
#include "chat/retrieve.h"
#include "knowledge/language.h"

enum column {
	CHUNK_ID,
	DOCUMENT_ID,
	TITLE,
	HEADING,
	CONTENT,
	START,
	END,
	SCORE,
	MATCH,
};

void
retrieve_call(const struct retrieve_ask *ask, struct pg_call *out_call)
{
	const char *q = ask->question;
	*out_call = (struct pg_call){
	    .query = chat_query(CHAT_RETRIEVE),
	    .params = {ask->user_id, ask->question, ask->message_id, ask->store,
		ask->language ? ask->language : language_guess(q, strlen(q)),
		ask->documents},
	};
}

void
retrieve_call_fused(const struct retrieve_ask *ask,
    const struct retrieve_near *near, struct pg_call *out_call)
{
	retrieve_call(ask, out_call);
	out_call->query = chat_query(CHAT_RETRIEVE_FUSED);
	out_call->params[6] = near->model;
	out_call->params[7] = near->vector;
	out_call->params[8] = near->least;
}

static size_t
length(const PGresult *r, int row, enum column c)
{
	return (size_t)PQgetlength(r, row, (int)c) + 1;
}

/* Copies a column's value to *at and moves on. */
static const char *
copy(const PGresult *r, int row, enum column c, char **at)
{
	const char *value = PQgetvalue(r, row, (int)c);
	char *begin = *at;
	size_t n = length(r, row, c);
	memcpy(begin, value, n);
	*at += n;
	return begin;
}

static void
read_passage(const PGresult *r, int row, struct passage *p, char **at)
{
	memcpy(p->chunk_id, PQgetvalue(r, row, CHUNK_ID), ID_TEXT);
	memcpy(p->document_id, PQgetvalue(r, row, DOCUMENT_ID), ID_TEXT);
	p->title = copy(r, row, TITLE, at);
	p->heading = copy(r, row, HEADING, at);
	p->content = copy(r, row, CONTENT, at);
	p->start = pg_number(r, row, START);
	p->end = pg_number(r, row, END);
	p->score = strtod(PQgetvalue(r, row, SCORE), NULL);
	p->match = copy(r, row, MATCH, at);
}

enum err
retrieve_read(const PGresult *r, struct passages_found **out_found)
{
	struct passages_found *found;
	int n = pg_rows(r);
	size_t texts = 0;

	*out_found = NULL;
	if (n == 0)
		return OK;
	for (int i = 0; i < n; i++)
		texts += length(r, i, TITLE) + length(r, i, HEADING) +
			 length(r, i, CONTENT) + length(r, i, MATCH);
	size_t head = sizeof(*found) + (size_t)n * sizeof(*found->passages);
	found = calloc(1, head + texts);
	if (!found)
		return ERR_BUSY;
	char *at = (char *)found + head;
	for (int i = 0; i < n; i++)
		read_passage(r, i, &found->passages[found->n++], &at);
	*out_found = found;
	return OK;
}

void
passages_found_free(struct passages_found *found)
{
	free(found);
}
