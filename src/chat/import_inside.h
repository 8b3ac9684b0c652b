/*
 * What the files of the import share; nobody else includes it.
 *
 *   import.c          the two passes, storing
 *   import_natter.c   reading our own export
 *   import_chatgpt.c  reading ChatGPT's
 */
#ifndef CHAT_IMPORT_INSIDE_H
#define CHAT_IMPORT_INSIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/errors.h"
#include "base/id.h"

struct json_object;
struct request;

#define IMPORT_SOURCE_ID_MAX 200 /* characters */

/* One conversation on its way in. */
struct carried {
	struct request *req;
	const char *at;        /* where it stands in the file */
	const char *source_id; /* its id there */
	char id[ID_TEXT];      /* its id here */
	struct buf row;        /* as IMPORT_CONVERSATION takes it */
	struct buf messages;   /* as IMPORT_MESSAGES takes them */
	int n_messages;
	size_t n_text; /* bytes of their texts */
	int left_out;
};

/* Reads one conversation; c->row and c->messages are empty before. */
typedef enum err (*import_read_fn)(
    struct carried *c, struct json_object *conversation);

enum err import_read_natter(
    struct carried *c, struct json_object *conversation) MUST_CHECK;
enum err import_read_chatgpt(
    struct carried *c, struct json_object *conversation) MUST_CHECK;

/* Refuses `member` of what stands at `at`. */
enum err import_refuse(const struct carried *c, const char *at,
    const char *member, const char *sentence);

/* The member's text, NULL when absent or null; refused when it is no string or
 * longer than `max` characters. */
enum err import_text(const struct carried *c, const char *at,
    struct json_object *o, const char *member, size_t max,
    const char **out_text) MUST_CHECK;

/* Refuses `member` of the conversation where it has too many messages, or
 * c->n_text is too much. */
enum err import_count(
    const struct carried *c, const char *member, size_t n_messages) MUST_CHECK;

/* A place within another: "messages[3]" of `at`. */
const char *import_place(
    const struct carried *c, const char *at, const char *array, size_t i);

/* What a message's id there became here, by a number in a json-c object. */
int import_find(struct json_object *ids, const char *id);

#endif
