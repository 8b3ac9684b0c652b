/*
 * The lines of what a request was charged to. Owns no state.
 */
#include <string.h>

#include "http/limits.h"

struct limit_line *
limit_lines_find(struct limit_lines *lines, const char *name)
{
	for (size_t i = 0; i < lines->n; i++)
		if (strcmp(lines->lines[i].name, name) == 0)
			return &lines->lines[i];
	return NULL;
}

struct limit_line *
limit_lines_add(struct limit_lines *lines)
{
	return lines->n < LIMIT_LINES_MAX ? &lines->lines[lines->n++] : NULL;
}
