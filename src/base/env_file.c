/*
 * Reading KEY=VALUE files in place: keys and values are cut out of the one
 * buffer that holds the file, so that wiping it wipes every secret. Knows
 * nothing of which keys exist.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env_file.h"

/* What is being read; `out` trails `in` in the same buffer. */
struct scanner {
	char *in;
	char *out;
	const char *end;
	unsigned line;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_newline(char c)
{
	return c == '\n' || c == '\r';
}

static bool
at_end(const struct scanner *s)
{
	return s->in >= s->end;
}

/* Takes one character and counts lines. */
static char
take(struct scanner *s)
{
	char c = *s->in++;

	if (c == '\n')
		s->line++;
	return c;
}

static void
put(struct scanner *s, char c)
{
	*s->out++ = c;
}

static void
skip_blanks(struct scanner *s)
{
	while (!at_end(s) && is_blank(*s->in))
		s->in++;
}

static void
skip_line(struct scanner *s)
{
	while (!at_end(s) && take(s) != '\n')
		;
}

/* To the beginning of the next key; false at the end of the file. */
static bool
skip_to_key(struct scanner *s)
{
	while (!at_end(s)) {
		if (is_blank(*s->in) || is_newline(*s->in))
			(void)take(s);
		else if (*s->in == '#' || *s->in == ';')
			skip_line(s);
		else
			return true;
	}
	return false;
}

static bool
is_name(const char *p, const char *end)
{
	if (p == end || (*p >= '0' && *p <= '9'))
		return false;
	for (; p < end; p++)
		if (!(*p == '_' || (*p >= '0' && *p <= '9') ||
			(*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')))
			return false;
	return true;
}

/* Cuts out the key and steps over `=`; NULL: a sentence in *why. */
static char *
scan_key(struct scanner *s, const char **why)
{
	char *key = s->in, *end;

	while (!at_end(s) && *s->in != '=' && !is_newline(*s->in))
		s->in++;
	if (at_end(s) || *s->in != '=') {
		*why = "is not of the form KEY=VALUE";
		return NULL;
	}
	end = s->in++;
	while (end > key && is_blank(end[-1]))
		end--;
	if (!is_name(key, end)) {
		*why = "does not begin with a setting's name (no `export`, no "
		       "blanks)";
		return NULL;
	}
	*end = '\0';
	return key;
}

/* After the opening quote, to the closing one; false: there is none. */
static bool
scan_single(struct scanner *s)
{
	while (!at_end(s)) {
		char c = take(s);

		if (c == '\'')
			return true;
		put(s, c);
	}
	return false;
}

static bool
scan_double(struct scanner *s)
{
	while (!at_end(s)) {
		char c = take(s);

		if (c == '"')
			return true;
		if (c == '\\' && !at_end(s)) {
			c = take(s);
			if (c == '\n')
				continue;
			if (strchr("\"\\`$", c) == NULL)
				put(s, '\\');
		}
		put(s, c);
	}
	return false;
}

/* The rest of the line, without the blanks at its end. */
static void
scan_bare(struct scanner *s)
{
	char *keep = s->out;

	while (!at_end(s) && !is_newline(*s->in)) {
		char c = take(s);

		if (c == '\\' && !at_end(s)) {
			c = take(s);
			if (c == '\n')
				continue;
			put(s, c);
			keep = s->out;
			continue;
		}
		put(s, c);
		if (!is_blank(c))
			keep = s->out;
	}
	s->out = keep;
}

/* Cuts out the value; NULL: a sentence in *why. */
static char *
scan_value(struct scanner *s, const char **why)
{
	char *value = s->in;

	s->out = s->in;
	for (;;) {
		skip_blanks(s);
		if (at_end(s) || (*s->in != '\'' && *s->in != '"'))
			break;
		if (take(s) == '\'' ? !scan_single(s) : !scan_double(s)) {
			*why = "opens a quote that is never closed";
			return NULL;
		}
	}
	scan_bare(s);
	if (!at_end(s))
		(void)take(s); /* before its place is overwritten */
	*s->out = '\0';
	return value;
}

/* Reads all lines; false with *line and *why when one is refused. */
static bool
scan_lines(struct env_file *f, unsigned *line, const char **why)
{
	struct scanner s = {f->bytes, f->bytes, f->bytes + f->n_bytes, 1};

	while (skip_to_key(&s)) {
		struct env_line *l = &f->lines[f->n];

		*line = l->line = s.line;
		l->key = scan_key(&s, why);
		if (l->key == NULL)
			return false;
		if (env_file_find(f, l->key) != NULL) {
			*why = "sets a key that an earlier line sets too: keep "
			       "one of them";
			return false;
		}
		l->value = scan_value(&s, why);
		if (l->value == NULL)
			return false;
		f->n++;
	}
	return true;
}

static size_t
count_newlines(const char *p, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += is_newline(p[i]);
	return count;
}

/* Reads up to the end of `fd`; -1 with errno when that fails. */
static ssize_t
read_all(int fd, char *p, size_t room)
{
	size_t n = 0;

	while (n < room) {
		ssize_t got = read(fd, p + n, room - n);

		if (got == 0)
			break;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

/*
 * The whole file, NUL-terminated; `why` is a sentence without the path, and
 * the value returned is errno's kind of failure as an `enum err`.
 */
static enum err
slurp(const char *path, char **out_bytes, size_t *out_n, char *why)
{
	enum err e = ERR_INVALID_FIELD;
	struct stat st;
	char *bytes = NULL;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0 || fstat(fd, &st) < 0) {
		e = errno == ENOENT ? ERR_NOT_FOUND : ERR_INVALID_FIELD;
		snprintf(
		    why, ENV_FILE_WHY, "cannot be opened: %s", strerror(errno));
		goto out;
	}
	if (S_ISDIR(st.st_mode)) {
		snprintf(why, ENV_FILE_WHY, "is a folder, not a file");
		goto out;
	}
	bytes = calloc(1, ENV_FILE_MAX + 2);
	if (bytes == NULL) {
		snprintf(why, ENV_FILE_WHY, "cannot be read: out of memory");
		goto out;
	}
	n = read_all(fd, bytes, ENV_FILE_MAX + 1);
	if (n < 0)
		snprintf(
		    why, ENV_FILE_WHY, "cannot be read: %s", strerror(errno));
	else if (n > ENV_FILE_MAX)
		snprintf(
		    why, ENV_FILE_WHY, "is larger than %d bytes", ENV_FILE_MAX);
	else if (memchr(bytes, '\0', (size_t)n) != NULL)
		snprintf(why, ENV_FILE_WHY,
		    "holds a NUL byte: it must be a text file");
	else {
		e = OK;
		*out_n = (size_t)n;
		*out_bytes = bytes;
		bytes = NULL;
	}
out:
	if (bytes != NULL)
		explicit_bzero(bytes, ENV_FILE_MAX + 2);
	free(bytes);
	if (fd >= 0)
		close(fd);
	return e;
}

enum err
env_file_read(
    const char *path, struct env_file **out_file, char why[static ENV_FILE_WHY])
{
	char reason[ENV_FILE_WHY];
	const char *problem = "";
	unsigned line = 0;
	struct env_file *f = calloc(1, sizeof(*f));

	if (f == NULL)
		goto no_memory;
	if (slurp(path, &f->bytes, &f->n_bytes, reason) != OK) {
		snprintf(why, ENV_FILE_WHY, "%.200s %.200s", path, reason);
		goto refuse;
	}
	f->lines =
	    calloc(count_newlines(f->bytes, f->n_bytes) + 1, sizeof(*f->lines));
	if (f->lines == NULL)
		goto no_memory;
	if (!scan_lines(f, &line, &problem)) {
		snprintf(why, ENV_FILE_WHY, "%.200s: line %u %s", path, line,
		    problem);
		goto refuse;
	}
	*out_file = f;
	return OK;
no_memory:
	snprintf(why, ENV_FILE_WHY, "out of memory while reading %.200s", path);
refuse:
	env_file_free(f);
	return ERR_INVALID_FIELD;
}

void
env_file_free(struct env_file *f)
{
	if (f == NULL)
		return;
	if (f->bytes != NULL)
		explicit_bzero(f->bytes, f->n_bytes);
	free(f->bytes);
	free(f->lines);
	free(f);
}

const struct env_line *
env_file_find(const struct env_file *f, const char *key)
{
	for (size_t i = 0; f != NULL && i < f->n; i++)
		if (strcmp(f->lines[i].key, key) == 0)
			return &f->lines[i];
	return NULL;
}

enum err
env_secret_read(
    const char *path, char **out_secret, char why[static ENV_FILE_WHY])
{
	char *bytes = NULL;
	size_t n = 0;
	enum err e = slurp(path, &bytes, &n, why);

	if (e != OK)
		return e;
	while (n > 0 && is_newline(bytes[n - 1]))
		n--;
	bytes[n] = '\0';
	if (n == 0) {
		snprintf(why, ENV_FILE_WHY, "is empty");
		free(bytes);
		return ERR_INVALID_FIELD;
	}
	*out_secret = bytes;
	return OK;
}
