/*
 * Finding messages by their words, and counting: what the caller said and what
 * it cost. Thread: front.
 */
#ifndef CHAT_SEARCH_H
#define CHAT_SEARCH_H

#include <stdbool.h>

#include <stdint.h>

#include "base/errors.h"

struct buf;
struct request;

#define SEARCH_QUERY_MAX 500 /* characters */
#define SEARCH_WORDS_MAX 32
#define SEARCH_LIMIT_MAX 50

/* What to search for; NULL: any. */
struct search_ask {
	const char *words;           /* as typed into a search field */
	const char *conversation_id; /* UUID or short id */
	const char *role;
	const char *intent;
	const char *since; /* when it was said */
	const char *until;
	long limit;           /* 1..SEARCH_LIMIT_MAX */
	const char *after[3]; /* as `next` of the page before */
};

/*
 * Appends a page as a JSON array, each message with a passage cut into pieces
 * that are words searched for or not: nobody has to trust markup in it. The
 * newest 200 that fit come first, ranked, then the next 200. `out_next`
 * (NULL-ended) stays empty on the last page.
 */
enum err messages_search(struct request *req, const struct search_ask *ask,
    struct buf *out, const char *out_next[static 4]) MUST_CHECK;

/*
 * Appends one conversation's statistics; ERR_NOT_FOUND. *out_life_ms: they
 * change after so long, whether or not anybody writes; negative: they do not.
 */
enum err conversation_stats(struct request *req, const char *name,
    struct buf *out, int64_t *out_life_ms) MUST_CHECK;

/* Appends the caller's. */
enum err
me_stats(struct request *req, struct buf *out, int64_t *out_life_ms) MUST_CHECK;

#endif
