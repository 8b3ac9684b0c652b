/*
 * Log lines: JSON built on the stack and written with one write(2). Allocates
 * nothing and takes no lock, so it may be called when everything else has
 * failed. Knows nothing of what is logged.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unistr.h>

#include "base/clock.h"
#include "base/log.h"

/* A write to a pipe of up to PIPE_BUF (4,096) bytes is never interleaved. */
#define LINE_MAX_BYTES 4000

/* What must still fit when a line is cut, so that it stays valid JSON. */
static const char cut_end[] = "\",\"cut\":true}\n";

#define LINE_ROOM (LINE_MAX_BYTES - (sizeof(cut_end) - 1))

struct line {
	char p[LINE_MAX_BYTES];
	size_t n;
	bool is_cut; /* nothing more is added, the end is written */
};

static const char *const level_names[] = {
    "debug", "info", "notice", "warning", "error"};

static const char *process_name = "natter";
static enum log_level level_min = LOG_INFO;

static bool
add(struct line *l, const char *p, size_t n)
{
	if (n > LINE_ROOM - l->n)
		return false;
	memcpy(l->p + l->n, p, n);
	l->n += n;
	return true;
}

static bool
add_text(struct line *l, const char *s)
{
	return add(l, s, strlen(s));
}

/*
 * The JSON form of the character at `p`; returns the bytes it took. Controls
 * are escaped, DEL and C1 too: a terminal would obey them. Bytes that are not
 * UTF-8 (a header may hold any) become U+FFFD.
 */
static int
escape(const char *p, size_t n, char out[static 8], size_t *out_n)
{
	ucs4_t c;
	int took = u8_mbtouc(&c, (const uint8_t *)p, n);
	if (c == '"' || c == '\\') {
		out[0] = '\\';
		out[1] = (char)c;
		*out_n = 2;
	} else if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
		*out_n = (size_t)snprintf(out, 8, "\\u%04x", (unsigned)c);
	} else {
		*out_n = (size_t)u8_uctomb((uint8_t *)out, c, 8);
	}
	return took;
}

/* Adds escaped text; false when it was cut. */
static bool
add_escaped(struct line *l, const char *s)
{
	size_t n = strlen(s);
	while (n) {
		char out[8];
		size_t out_n;
		size_t took = (size_t)escape(s, n, out, &out_n);
		if (!add(l, out, out_n))
			return false;
		s += took;
		n -= took;
	}
	return true;
}

/* Adds `,"key":`; a key that does not fit whole is left out. */
static bool
add_key(struct line *l, const char *key)
{
	size_t before = l->n;
	if (add_text(l, before ? ",\"" : "{\"") && add_escaped(l, key) &&
	    add_text(l, "\":"))
		return true;
	l->n = before;
	return false;
}

static void
finish(struct line *l, const char *end)
{
	size_t n = strlen(end);
	memcpy(l->p + l->n, end, n); /* LINE_ROOM left space for it */
	l->n += n;
}

static void
add_string(struct line *l, const char *key, const char *value)
{
	if (l->is_cut)
		return;
	size_t before = l->n;
	if (!add_key(l, key) || !add(l, "\"", 1)) {
		l->n = before;
		l->is_cut = true;
		finish(l, cut_end + 1);
	} else if (!add_escaped(l, value) || !add(l, "\"", 1)) {
		l->is_cut = true;
		finish(l, cut_end);
	}
}

static void
add_number(struct line *l, const char *key, int64_t number)
{
	char digits[24];
	(void)snprintf(digits, sizeof(digits), "%lld", (long long)number);
	if (l->is_cut)
		return;
	size_t before = l->n;
	if (!add_key(l, key) || !add_text(l, digits)) {
		l->n = before;
		l->is_cut = true;
		finish(l, cut_end + 1);
	}
}

/* A line that cannot be written is lost: a log must not stop the daemon. */
static void
emit(const struct line *l)
{
	ssize_t n;
	do
		n = write(STDERR_FILENO, l->p, l->n);
	while (n < 0 && errno == EINTR);
}

void
log_init(const char *process, enum log_level min)
{
	process_name = process;
	level_min = min;
}

int
log_level_named(const char *name)
{
	for (int i = 0; i < (int)(sizeof(level_names) / sizeof(*level_names));
	     i++) {
		if (strcmp(name, level_names[i]) == 0)
			return i;
	}
	return -1;
}

void
log_line(enum log_level level, const char *msg, int n_fields,
    const struct log_field *fields)
{
	if (level < level_min)
		return;
	int saved = errno;
	char ts[CLOCK_TEXT];
	struct line l = {.n = 0};
	clock_format(clock_wall_ms(), ts);
	add_string(&l, "ts", ts);
	add_string(&l, "level", level_names[level]);
	add_string(&l, "process", process_name);
	add_number(&l, "pid", getpid());
	add_string(&l, "msg", msg);
	for (int i = 0; i < n_fields; i++) {
		const struct log_field *f = &fields[i];
		if (f->text)
			add_string(&l, f->key, f->text);
		else
			add_number(&l, f->key, f->number);
	}
	if (!l.is_cut)
		finish(&l, "}\n");
	emit(&l);
	errno = saved;
}

void
log_text(enum log_level level, const char *fmt, ...)
{
	if (level < level_min)
		return;
	char msg[LINE_MAX_BYTES];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	log_line(level, msg, 0, NULL);
}
