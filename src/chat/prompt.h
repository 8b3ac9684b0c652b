/*
 * A prompt's template: text with {{name}} where a value goes, and
 * {{#name}}…{{/name}} around what is said only where that value is not empty.
 * The names are prompt_values.def's. Nothing else begins with {{, sections do
 * not lie in each other, and a value is never read as a template. One newline
 * at the end of the file is not the template's.
 *
 * Thread: any; pure.
 */
#ifndef CHAT_PROMPT_H
#define CHAT_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errors.h"

struct buf;

#define PROMPT_NAME_MAX  64
#define PROMPT_BYTES_MAX 32768
#define PROMPT_VERSION   13 /* twelve digits and the NUL */

/* The size of the sentence that prompt_parse writes. */
#define PROMPT_WHY 384

/* Which templates a value may stand in. */
enum {
	PROMPT_IN_SYSTEM = 1,   /* what a conversation begins with */
	PROMPT_IN_PASSAGES = 2, /* what stands around passages */
	PROMPT_IN_SUMMARY = 4,  /* what asks for a summary */
};

enum prompt_value {
#define VALUE(name, word, most, where) PROMPT_##name,
#include "chat/prompt_values.def"
#undef VALUE
	PROMPT__MAX
};

/* A piece of a template: literal text, or a value. */
struct prompt_piece {
	const char *p; /* literal; NULL: a value */
	size_t n;
	enum prompt_value value;
	int only_with; /* an enum prompt_value; -1: in no section */
};

struct prompt {
	char name[PROMPT_NAME_MAX + 1];
	char version[PROMPT_VERSION]; /* of the file's bytes: SHA-256, cut */
	char *text;                   /* the file's bytes, owned */
	size_t n;
	struct prompt_piece *pieces; /* owned; they point into the text */
	size_t n_pieces;
};

/*
 * Reads a template that is called `name`. ERR_INVALID_FIELD and a sentence that
 * names the line; ERR_BUSY without memory.
 */
enum err prompt_parse(const char *name, const char *text, size_t n,
    struct prompt *out, char why[static PROMPT_WHY]) MUST_CHECK;

void prompt_clear(struct prompt *p);

/* What a template called so may say, of PROMPT_IN_*. */
int prompt_place(const char *name);

/* Does the template say this value? Does it say it, or anything with it? */
bool prompt_says(const struct prompt *p, enum prompt_value value);
bool prompt_minds(const struct prompt *p, enum prompt_value value);

/* Appends the template with these values; NULL is empty. */
void prompt_render(const struct prompt *p,
    const char *const values[static PROMPT__MAX], struct buf *out);

/*
 * The most bytes that it adds to the texts of a turn: in the section of FACTS
 * or SUMMARY, or elsewhere (PROMPT__MAX). Short values count as long as they
 * may be.
 */
int64_t prompt_bytes(const struct prompt *p, enum prompt_value value);

/* The name of a value; its most bytes, 0 of a turn's text. */
const char *prompt_value_name(enum prompt_value value);
size_t prompt_value_most(enum prompt_value value);

#endif
