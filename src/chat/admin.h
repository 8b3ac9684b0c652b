/*
 * What administrators see and change of the chat's data. That the caller is
 * one is looked at by the functions in the database: ERR_FORBIDDEN.
 *
 * What is read is appended to a buffer as JSON. Thread: front.
 */
#ifndef CHAT_ADMIN_H
#define CHAT_ADMIN_H

#include <stdbool.h>

#include "base/errors.h"
#include "base/id.h"

struct buf;
struct request;

/* The lists, with what their filters are; NULL is no filter. */
enum admin_list {
	ADMIN_LIST_STORES,        /* of this slug or id */
	ADMIN_LIST_MEMBERS,       /* store */
	ADMIN_LIST_TOOLS,         /* store, NULL */
	ADMIN_LIST_USERS,         /* beginning of the name, role, "t" or "f" */
	ADMIN_LIST_SESSIONS,      /* user */
	ADMIN_LIST_CONVERSATIONS, /* user */
	ADMIN_LIST_MESSAGES,      /* user, conversation */
	ADMIN_LIST_FEEDBACK,      /* rating */
	ADMIN_LIST_ANALYTICS,     /* category, from, to */
	ADMIN_LIST__MAX,
};

#define ADMIN_FILTERS_MAX 3
#define ADMIN_KEYS_MAX    3

struct admin_ask {
	enum admin_list list;
	const char *filters[ADMIN_FILTERS_MAX];
	long limit;
	const char *limit_text;            /* of limit + 1 */
	const char *after[ADMIN_KEYS_MAX]; /* the keys of the row before */
};

/* Appends a page as a JSON array; out_next is as rows_page takes it. */
enum err admin_page(struct request *req, const struct admin_ask *ask,
    struct buf *out, const char **out_next) MUST_CHECK;

/* One store by slug or id; one user by id; ERR_NOT_FOUND. */
enum err admin_store_get(
    struct request *req, const char *name, struct buf *out) MUST_CHECK;
enum err
admin_user_get(struct request *req, const char *id, struct buf *out) MUST_CHECK;

enum err admin_stats(struct request *req, struct buf *out) MUST_CHECK;

/*
 * Makes a store (id NULL; the fields name slug and name) or changes what the
 * fields, a JSON object, name. ERR_CONFLICT: the slug is taken.
 */
enum err admin_store_put(struct request *req, const char *id,
    const char *fields, struct buf *out,
    char out_id[static ID_TEXT]) MUST_CHECK;

/* With its documents; conversations stay. */
enum err admin_store_delete(struct request *req, const char *id) MUST_CHECK;

/* ERR_NOT_FOUND: no such store or user. */
enum err admin_member_put(struct request *req, const char *store,
    const char *user, const char *role, struct buf *out) MUST_CHECK;
enum err admin_member_delete(
    struct request *req, const char *store, const char *user) MUST_CHECK;

#endif
