/*
 * Parses with json-c, looks at the bytes before.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "log_lines.h"

static bool
is_printable(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (iscntrl((unsigned char)p[i]))
			return false;
	return true;
}

static void
add_line(struct log_lines *l, const char *line, size_t n)
{
	struct json_object *o = json_tokener_parse(line);

	cr_expect(line[n - 1] == '\n' && is_printable(line, n - 1) &&
		      json_object_is_type(o, json_type_object),
	    "no JSON line: %s", line);
	l->items = realloc(l->items, (l->n + 1) * sizeof(*l->items));
	cr_assert_not_null(l->items);
	l->items[l->n++] = o;
}

void
log_lines_read(const char *path, struct log_lines *out)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	FILE *f = fopen(path, "r");

	cr_assert_not_null(f, "%s", path);
	*out = (struct log_lines){0};
	while ((n = getline(&line, &room, f)) > 0)
		add_line(out, line, (size_t)n);
	free(line);
	fclose(f);
}

void
log_lines_clear(struct log_lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		json_object_put(l->items[i]);
	free(l->items);
	*l = (struct log_lines){0};
}

const char *
log_line_text(struct json_object *line, const char *name)
{
	struct json_object *value = NULL;

	if (!json_object_object_get_ex(line, name, &value) || value == NULL)
		return "";
	return json_object_get_string(value);
}

bool
log_line_has_number(struct json_object *line, const char *name)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(line, name, &value) &&
	       json_object_is_type(value, json_type_int) &&
	       json_object_get_int64(value) >= 0;
}

struct json_object *
log_lines_request(const struct log_lines *l, const char *request_id)
{
	struct json_object *found = NULL;
	int n = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct json_object *o = l->items[i];

		if (strcmp(log_line_text(o, "request_id"), request_id) != 0 ||
		    strcmp(log_line_text(o, "msg"), "request") != 0)
			continue;
		found = o;
		n++;
	}
	cr_expect_eq(n, 1, "%d lines about %s", n, request_id);
	return n == 1 ? found : NULL;
}

bool
log_says(const char *path, const char *bytes)
{
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	FILE *f = fopen(path, "r");

	while (f != NULL && !found && getline(&line, &room, f) > 0)
		found = strstr(line, bytes) != NULL;
	free(line);
	if (f != NULL)
		fclose(f);
	return found;
}
