/*
 * What a question finds in the documents that its user may read: the passages
 * that an answer rests on. One statement that fits the pipeline of a turn and
 * costs next to nothing where the user can read no document; natter-local, the
 * model's prompt and the tool search_documents all ask this way.
 *
 * Where the question belongs to a conversation of a store, the store's
 * documents and the user's own count; elsewhere all that the user may read.
 * Who is no member of a store any more finds nothing of it.
 *
 * The order is the number that a passage is cited by: the first is [1].
 *
 * Ownership: passages_found is one object of the heap that holds copies.
 * Thread: that of the connection; passages_found any.
 */
#ifndef CHAT_RETRIEVE_H
#define CHAT_RETRIEVE_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"
#include "base/id.h"

struct pg_call;

/* The most passages of an answer. */
#define RETRIEVE_MAX 8

/* And the bytes that they may take of a prompt. */
#define RETRIEVE_BYTES 16384

/* Only so many bytes of a question are looked at. */
#define RETRIEVE_QUESTION_BYTES 2000

/* Borrowed strings, which must live as long as the call. */
struct retrieve_ask {
	const char *user_id;
	const char *question;
	/* A message of the conversation (the call may follow, in one pipeline,
	 * the statement that stores it): nothing is found where it is not
	 * there. NULL: no conversation. */
	const char *message_id;
	const char *store;    /* slug or id: only this one's; NULL: as above */
	const char *language; /* ISO 639 of the question; NULL: it is guessed */
	/* Whether the request wants documents, "t" or "f"; NULL: as the
	 * conversation says, its store, or yes. */
	const char *documents;
};

/* The question's vector (model/embedding.h). Borrowed as well. */
struct retrieve_near {
	const char *model;  /* embedding_name */
	const char *vector; /* embeddings_write */
	const char *least;  /* CHAT_EMBEDDING_LEAST */
};

struct passage {
	char chunk_id[ID_TEXT];
	char document_id[ID_TEXT];
	const char *title;
	const char *heading; /* "Chapter > Section"; "" without one */
	const char *content;
	int64_t start; /* in the document's content, bytes */
	int64_t end;
	double score;
	const char *match; /* how it was found: all, any, similar, meaning */
};

struct passages_found {
	size_t n;
	struct passage passages[];
};

/* Fills the call. */
void retrieve_call(const struct retrieve_ask *ask, struct pg_call *out_call);

/* The same, fused with what is near to the vector. */
void retrieve_call_fused(const struct retrieve_ask *ask,
    const struct retrieve_near *near, struct pg_call *out_call);

/*
 * Copies what the calls gave; *out_found is NULL where that is nothing.
 * ERR_BUSY without memory.
 */
enum err
retrieve_read(const PGresult *r, struct passages_found **out_found) MUST_CHECK;

/* NULL is fine. */
void passages_found_free(struct passages_found *found);

#endif
