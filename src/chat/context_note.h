/*
 * What a request to a model was made of, as JSON that is stored with the reply
 * (chat.messages.context). It names what was shown and has short hashes of it,
 * but quotes none of it: what its user deletes is gone. Names and dates that
 * the template said are in it, since nothing else remembers them, and so is
 * what tools were told in this very reply (chat/context_rounds.h).
 *
 * Thread: whoever has the turn.
 */
#ifndef CHAT_CONTEXT_NOTE_H
#define CHAT_CONTEXT_NOTE_H

#include <stdint.h>

struct arena;
struct context;
struct turn;

/* A short hash of a text, as hexadecimal digits. */
#define CONTEXT_HASH 17
void context_hash(const char *p, size_t n, char out[static CONTEXT_HASH]);

/* The same of the last `n` facts. */
void context_hash_facts(
    const struct context *c, int n, char out[static CONTEXT_HASH]);

/* Begins t->context_note, once context_request has built the body. `at_ms`:
 * the turn's time. Thread: front. */
void context_note_begin(struct turn *t, const struct context *c, int64_t at_ms);

/* The whole note, from `a`; NULL where no model was asked. Thread: ledger. */
const char *context_note_text(const struct turn *t, struct arena *a);

#endif
