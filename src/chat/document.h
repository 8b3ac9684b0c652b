/*
 * Documents: texts that answers may rest on, stored with the passages they are
 * cut into, in one transaction and one round trip. A document of a store is
 * read by its members and written by its managers, whoever brought it; any
 * other document is its owner's alone, and ERR_NOT_FOUND for everybody else.
 *
 * What is read is appended to a buffer as JSON. Thread: front and bulk;
 * cutting is the latter's.
 */
#ifndef CHAT_DOCUMENT_H
#define CHAT_DOCUMENT_H

#include <stdbool.h>

#include "base/errors.h"
#include "base/id.h"

struct buf;
struct request;

#define DOCUMENT_TITLE_MAX    500 /* characters */
#define DOCUMENT_FILENAME_MAX 255
#define DOCUMENT_METADATA_MAX (16 * 1024)
#define DOCUMENT_CHUNKS_MAX   20000 /* more take longer than a request may */
#define DOCUMENT_QUESTION_MAX 500   /* characters of a search */

/* What to store or change; NULL leaves it or takes the default. */
struct document_change {
	const char *store_id; /* UUID; at creation only, as the next two */
	const char *filename;
	const char *mime_type;
	const char *title;
	const char *content;
	const char *metadata; /* a JSON object; of a change, a merge patch */
	const char *language; /* ISO 639 */
	bool has_language;    /* of a change: NULL counts */
	/* At creation: what was uploaded, of which `content` is the text. */
	const char *raw;
	size_t raw_len;
	const char *charset; /* as the upload named it; NULL: it did not */
};

struct documents_ask {
	const char *store; /* slug or id; NULL: the caller's own */
	const char *q;     /* part of the title */
	const char *metadata;
	long limit;
	const char *limit_text; /* of limit + 1 */
	const char *after[2];   /* created_at and id of the row before */
};

/*
 * Stores and cuts one. The same content again in the same place is the
 * document that is there, unchanged: *out_is_new is false then. ERR_FORBIDDEN:
 * a member of the store who is no manager; ERR_INVALID_FIELD: no such store.
 */
enum err document_create(struct request *req, const struct document_change *c,
    struct buf *out, char out_id[static ID_TEXT], bool *out_is_new) MUST_CHECK;

/* With its content. */
enum err
document_get(struct request *req, const char *id, struct buf *out) MUST_CHECK;

enum err documents_list(struct request *req, const struct documents_ask *ask,
    struct buf *out, const char *out_next[static 2]) MUST_CHECK;

/*
 * Changes one; a new content or language cuts it anew, which takes one more
 * round trip. ERR_FORBIDDEN: the caller may only read it; ERR_CONFLICT:
 * another document there has this content.
 */
enum err document_update(struct request *req, const char *id,
    const struct document_change *c, struct buf *out) MUST_CHECK;

/* ERR_FORBIDDEN as above. */
enum err document_delete(struct request *req, const char *id) MUST_CHECK;

/* Its passages by position, after the one at `after` ("0": all). */
enum err document_chunks(struct request *req, const char *id, const char *after,
    long limit, struct buf *out, const char *out_next[static 2]) MUST_CHECK;

struct documents_question {
	const char *q;
	const char *store;    /* slug or id; NULL: all that one may read */
	const char *language; /* of the question; NULL: not known */
	const char *limit;
};

/*
 * The passages that fit best, as a JSON array. *out_embedding says what became
 * of the question's vector: off, there is no model; none, no passage has one;
 * used; failed, the words decided alone. Waits for its server.
 */
enum err documents_search(struct request *req,
    const struct documents_question *ask, struct buf *out,
    const char **out_embedding) MUST_CHECK;

#endif
