/*
 * The templates of an installation: those that come with it, and the files
 * NAME.txt of CHAT_PROMPTS_DIR, which take the place of shipped ones of the
 * same name. `default` is what conversations begin with; a store's settings may
 * name another one (prompt_template). `passages` stands around passages,
 * `summary` asks for a summary; where conversations begin with `shop`,
 * `shop.passages` and `shop.summary` do, if they are there.
 *
 * Read by the main thread before it forks or makes threads (prompts_use) and
 * never changed after that: workers of the next generation have other ones.
 * Thread: any.
 */
#ifndef CHAT_PROMPTS_H
#define CHAT_PROMPTS_H

#include <stddef.h>

#include "base/errors.h"
#include "chat/prompt.h"

#define PROMPT_DEFAULT       "default"
#define PROMPT_PASSAGES_FILE "passages"
#define PROMPT_SUMMARY_FILE  "summary"

/* Templates of an installation at most. */
#define PROMPTS_MAX 64

/* The size of the sentence that prompts_load writes. */
#define PROMPTS_WHY 640

struct prompts {
	struct prompt *list; /* by name, but `default` first; owned */
	size_t n;
	/* As TURN_BEGIN takes them, in the list's order: names; and of each
	 * what it adds to a turn's texts, with facts, with a summary (-1: it
	 * says none). Owned. */
	char *names;
	char *bytes;
	bool says_person; /* one says who its user is, or when they ask */
};

struct shipped_prompt {
	const char *name;
	const char *text;
};
extern const struct shipped_prompt shipped_prompts[];
extern const size_t shipped_prompts_n;

/*
 * Reads the folder; "" is none. ERR_INVALID_FIELD and a sentence that names
 * file and line; ERR_BUSY without memory.
 */
enum err prompts_load(const char *folder, struct prompts **out,
    char why[static PROMPTS_WHY]) MUST_CHECK;

void prompts_free(struct prompts *p);

/* NULL: there is none of that name. */
const struct prompt *prompts_find(const struct prompts *p, const char *name);

/* May a store's conversations begin with it? NULL: they may not. */
const struct prompt *prompts_system(const struct prompts *p, const char *name);

/* The one for another purpose (PROMPT_PASSAGES_FILE, PROMPT_SUMMARY_FILE) where
 * conversations begin with this one. */
const struct prompt *prompts_beside(
    const struct prompts *p, const struct prompt *system, const char *purpose);

/* A store names this one, and there is none: true when that was not known to
 * this process yet (of the first PROMPTS_MAX names). */
bool prompts_miss(const char *name);

/* From now on these are in use; those before are freed. */
void prompts_use(struct prompts *p);

/* Those in use; where nobody said which, the shipped ones. */
const struct prompts *prompts_current(void);

#endif
