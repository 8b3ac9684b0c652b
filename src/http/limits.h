/*
 * What a request was charged to, as the reply's headers and a 429 tell it. The
 * domains fill it; http writes it.
 */
#ifndef HTTP_LIMITS_H
#define HTTP_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMIT_LINES_MAX 12

enum limit_unit { LIMIT_REQUESTS, LIMIT_TOKENS, LIMIT_STREAMS, LIMIT_MONEY };

/* One policy. `name` lives as long as the request. */
struct limit_line {
	const char *name; /* as in limit/quotas.def where it is one of those */
	enum limit_unit unit;
	int64_t limit;
	int64_t remaining;
	int64_t window_s; /* 0: none, as with streams at once */
	int64_t reset_s;  /* until all of it is there again */
	int64_t retry_s;  /* if violated: until another may pass */
	bool is_violated; /* it is why the request was refused */
};

struct limit_lines {
	struct limit_line lines[LIMIT_LINES_MAX];
	size_t n;
};

/* The line of that name, or NULL. */
struct limit_line *
limit_lines_find(struct limit_lines *lines, const char *name);

/* A new line, to be filled; NULL when there is no room. */
struct limit_line *limit_lines_add(struct limit_lines *lines);

#endif
