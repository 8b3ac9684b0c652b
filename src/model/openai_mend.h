/*
 * What a server says as a client of ours may have it: what was masked for the
 * model (mask.h) has its values again, and why the answer ended is left out,
 * which is said when its end is known. A value's placeholder may come in
 * pieces: what may become one waits for the next chunk, for each text of the
 * answer on its own (the content, the reasoning, each call's arguments).
 *
 * `logprobs` are of what the model wrote: of placeholders.
 *
 * Ownership: the table is borrowed. Thread: one at a time; no I/O.
 */
#ifndef MODEL_OPENAI_MEND_H
#define MODEL_OPENAI_MEND_H

#include <stdbool.h>

struct buf;
struct mask;
struct model_object;
struct openai_mend;

/* `m` may be NULL. */
struct openai_mend *openai_mend_new(const struct mask *m);
void openai_mend_free(struct openai_mend *m);

/* Appends an object that openai_read has understood. */
void openai_mend(
    struct openai_mend *m, const struct model_object *object, struct buf *out);

/*
 * Nothing will come any more: appends a chunk with one of the texts that wait,
 * as it is; false: none does.
 */
bool openai_mend_rest(struct openai_mend *m, struct buf *out);

/* Why the server said that the answer ended; "": it did not. */
const char *openai_mend_finish(const struct openai_mend *m);

#endif
