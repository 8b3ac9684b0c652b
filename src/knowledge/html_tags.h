/*
 * A page's tags without their attributes (but for ` hidden`, on elements that
 * are not shown), and nothing of its scripts, styles and comments; its text as
 * it is, with `<` that begins no tag as `&lt;`. Takes time in proportion to
 * the page, whatever it holds.
 *
 * Thread: any; pure. Fuzzed.
 */
#ifndef KNOWLEDGE_HTML_TAGS_H
#define KNOWLEDGE_HTML_TAGS_H

#include <stddef.h>

struct buf;

/* `p` is clean UTF-8. */
void html_tags(const char *p, size_t n, struct buf *out);

#endif
