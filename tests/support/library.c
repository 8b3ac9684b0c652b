/*
 * A reader's documents and what became of them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include <criterion/criterion.h>

#include "library.h"

/* Workers make the vectors of all documents of a database, those of a test
 * beside this one among them, whose model may be another: one at a time. The
 * lock goes with the process. */
static void
wait_for_others(void)
{
	int fd = open(getenv("NATTER_KEYS_FILE"), O_RDONLY | O_CLOEXEC);

	cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
}

void
library_open(struct library *l, const char *const *settings)
{
	struct stack_options o = {.has_model = true,
	    .settings = {
		"CHAT_EMBEDDING_MODEL=" LIBRARY_MODEL, "CHAT_WORKERS=2"}};

	for (size_t i = 0; settings != NULL && settings[i] != NULL; i++)
		o.settings[2 + i] = settings[i];
	wait_for_others();
	stack_start(&l->stack, &o);
	person_make(&l->stack, &l->reader);
}

void
library_close(struct library *l)
{
	stack_stop(&l->stack);
}

void
library_ask(const struct library *l, const struct person *p,
    const struct ask *ask, long status, struct answer *a)
{
	struct ask whole = *ask;

	whole.base = l->stack.base;
	whole.token = p->token;
	http_ask(&whole, a);
	cr_assert_eq(
	    a->status, status, "%s: %ld %s", ask->path, a->status, a->body.p);
}

void
library_bring(const struct library *l, const struct person *p, const char *json,
    char out_id[40])
{
	const struct ask ask = {
	    .method = "POST", .path = "/api/v1/documents", .json = json};
	struct answer a;

	library_ask(l, p, &ask, 201, &a);
	if (out_id != NULL)
		snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

const char *
library_value(const struct person *p, const char *sql)
{
	static _Thread_local char value[4096];

	db_value(sql, p->user_id, value, sizeof(value));
	return value;
}

struct wait {
	const struct person *p;
	const char *model;
};

static bool
has_vectors(void *arg)
{
	const struct wait *w = arg;
	char sql[512];

	snprintf(sql, sizeof(sql),
	    "SELECT count(*) FROM chat.document_chunks c"
	    " WHERE c.user_id = $1::text::uuid AND NOT EXISTS (SELECT FROM"
	    " chat.chunk_embeddings v WHERE v.user_id = c.user_id"
	    " AND v.chunk_id = c.id AND v.model = '%s')",
	    w->model);
	return strcmp(library_value(w->p, sql), "0") == 0;
}

void
library_wait(const struct person *p, const char *model)
{
	struct wait w = {p, model};

	cr_assert(wait_until(has_vectors, &w, 60000), "no vectors of %s: %s",
	    model,
	    library_value(p, "SELECT jsonb_agg(to_jsonb(e)) FROM"
			     " chat.document_embeddings e WHERE"
			     " e.user_id = $1::text::uuid"));
}

void
library_search(const struct library *l, const struct person *p,
    const char *query, struct answer *a)
{
	char path[512];
	const struct ask ask = {.path = path};

	snprintf(path, sizeof(path), "/api/v1/documents/search?%s", query);
	library_ask(l, p, &ask, 200, a);
}

bool
library_sent(const struct library *l, const char *page, const char *text)
{
	const struct ask ask = {.base = l->stack.model, .path = page};
	struct answer a;
	bool was;

	http_ask(&ask, &a);
	was = a.body.n > 0 && strstr(a.body.p, text) != NULL;
	answer_clear(&a);
	return was;
}
