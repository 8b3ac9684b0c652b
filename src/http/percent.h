/*
 * Percent-encoding (RFC 3986, 2.1), one byte at a time, for paths and queries.
 *
 * Thread: any; pure.
 */
#ifndef HTTP_PERCENT_H
#define HTTP_PERCENT_H

/*
 * The next byte of the text between `*p` and `end` (*p < end), decoded, and
 * moves `*p` behind it; -1 for a `%` that two hex digits do not follow.
 */
int percent_next(const char **p, const char *end);

#endif
