/*
 * Guessing a text's language by its commonest words: those of ten languages
 * (stopwords.def), looked for in the first 2,000 words. A text is of the
 * language that most of them belong to, if those are at least one word in ten,
 * two of them at least, and more than any other language has; else nobody
 * knows. Languages that are not in the table are not guessed, and a few words
 * without any of these ("invoice 4711") are of none.
 *
 * Thread: any; pure.
 */
#ifndef KNOWLEDGE_LANGUAGE_H
#define KNOWLEDGE_LANGUAGE_H

#include <stddef.h>

/* ISO 639, or NULL where it is not known. The text is UTF-8. */
const char *language_guess(const char *p, size_t n);

#endif
