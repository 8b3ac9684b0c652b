/*
 * Writing text that the chunker can cut: headings as Markdown marks them, an
 * empty line between paragraphs, white space drawn together, and what looks
 * like a mark in the text itself told apart by a backslash. Soft hyphens are
 * left out: a word is found as it is meant. What every reader of another format
 * writes with.
 *
 * Ownership: the buffer is borrowed; its cap bounds the text. Thread: any;
 * pure.
 */
#ifndef KNOWLEDGE_MARKED_H
#define KNOWLEDGE_MARKED_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

struct marked {
	struct buf *out;
	int newlines;   /* due before the next text: 0, 1, 2 */
	int level;      /* of the heading that is being written; 0: none */
	bool has_space; /* due before the next text */
	bool is_inside; /* something stands on the line */
	bool is_exact;  /* white space counts: <pre> */
	size_t indent;  /* of an exact line that has not begun */
};

/* Is it white space alone, as it counts here? */
bool marked_is_blank(const char *p, size_t n);

/* Text goes on, in words; the rest of a heading, too. */
void marked_text(struct marked *m, const char *p, size_t n);

/* As marked_text, of a string. */
void marked_string(struct marked *m, const char *s);

/* A new line; a new paragraph. */
void marked_line(struct marked *m);
void marked_paragraph(struct marked *m);

/* What comes up to marked_paragraph is a heading of that level, 1 to 6. */
void marked_heading(struct marked *m, int level);

#endif
