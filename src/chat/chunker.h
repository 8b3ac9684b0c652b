/*
 * Cutting a text into passages that fit a prompt. A chunk never crosses a
 * heading, ends where a paragraph does when it can, else a sentence or a line,
 * else a word, and only without any of these in the middle of one; it begins
 * with the last sentences of the chunk before, so that what stands at a cut is
 * found on one of its sides.
 *
 * What holds for every clean UTF-8 text: the chunks are in order, each byte is
 * in one, none is empty or longer than max_bytes, none begins or ends within a
 * character, and the same text gives the same chunks. The work grows with the
 * text alone.
 *
 * Ownership: the text is borrowed. Thread: any; pure.
 */
#ifndef CHAT_CHUNKER_H
#define CHAT_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>

#define CHUNK_BYTES         1600 /* of a document's chunk, at most */
#define CHUNK_OVERLAP       200  /* bytes shared with the one before */
#define CHUNK_HEADING_BYTES 500
#define CHUNKER_LEVELS      6

struct chunker_rules {
	size_t max_bytes;     /* at least 16 */
	size_t overlap_bytes; /* at most; less than half of max_bytes */
	bool has_headings;    /* Markdown: lines that begin with # to ###### */
};

struct chunk {
	size_t start; /* offsets into the text, in bytes */
	size_t end;   /* the first byte after it */
	/* "Chapter > Section", cut at CHUNK_HEADING_BYTES; "" above the first.
	 * Valid until the next call. */
	const char *heading;
};

struct chunker {
	const char *p;
	size_t n;
	struct chunker_rules rules;

	size_t at;          /* all before it is in a chunk */
	size_t section;     /* where the current section begins */
	size_t section_end; /* and the first byte after it */
	char fence;         /* within a fenced block: its character */
	struct {
		size_t at;
		size_t n;
	} levels[CHUNKER_LEVELS]; /* the headings above, n 0: none */
	char heading[CHUNK_HEADING_BYTES + 1];
};

/* Begins; the text must be clean UTF-8 (text_is_clean). */
void chunker_init(struct chunker *c, const char *p, size_t n,
    const struct chunker_rules *rules);

/* The next chunk; false at the end. */
bool chunker_next(struct chunker *c, struct chunk *out);

#endif
