/*
 * natterd's log, and nginx's, as tests read them: one JSON object a line.
 */
#ifndef TESTS_LOG_LINES_H
#define TESTS_LOG_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json.h>

struct log_lines {
	struct json_object **items;
	size_t n;
};

/*
 * Reads a whole log. A line that is no JSON object, has no end, or holds what
 * a terminal would obey fails the test.
 */
void log_lines_read(const char *path, struct log_lines *out);
void log_lines_clear(struct log_lines *l);

/* A member as text, "" when absent. */
const char *log_line_text(struct json_object *line, const char *name);

/* Is the member a number that is not negative? */
bool log_line_has_number(struct json_object *line, const char *name);

/* The one line about this request; NULL, and a failed test, when not one. */
struct json_object *
log_lines_request(const struct log_lines *l, const char *request_id);

/* Does the log hold these bytes now? */
bool log_says(const char *path, const char *bytes);

#endif
