/*
 * Finding the marks by which a reply cites its passages: [1], [2][3], [1, 2].
 * Reads a text that grows: it stops where only the next bytes can tell, so that
 * a mark that comes in pieces is found whole, and once.
 *
 * No citations: marks within code, fenced or in backticks; links, [1](…), and
 * definitions, [1]: at a line's beginning; an index behind a name, a[1], as
 * well as f(x)[1]. A word with a mark right behind it counts only at the end
 * of a sentence or a line ("as stated[1]."), where prose puts one.
 *
 * Thread: any; pure. Fuzzed.
 */
#ifndef CHAT_CITATION_H
#define CHAT_CITATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of one mark, [1, 2, …]; a longer one is none. */
#define CITATION_NUMBERS 8

struct citation_mark {
	size_t numbers[CITATION_NUMBERS]; /* from 1, each at most `passages` */
	size_t n;
	size_t at; /* of its '[', in bytes of the text */
	size_t end;
};

struct citation_scan {
	size_t at;       /* all before it is decided */
	char fence;      /* within a fenced block: its character */
	size_t ticks;    /* within backticks: how many began it */
	size_t mark_end; /* where the last mark ended; 0: none */
};

/*
 * The next mark of a text of `n` bytes whose passages are so many; false: none
 * up to where it can be told. is_over: nothing follows.
 */
struct citation_text {
	const char *p;
	size_t n;
	size_t passages;
	bool is_over;
};
bool citation_next(struct citation_scan *scan, const struct citation_text *text,
    struct citation_mark *out_mark);

#endif
