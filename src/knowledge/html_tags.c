/*
 * libxml2 compares each attribute of a tag with all before it, so that a
 * megabyte of them in one tag takes minutes; and of all of them only those
 * count that say that an element is not shown. So it does not see them.
 *
 * Tags are read as browsers do (HTML, 13.2.5). What was searched for in vain is
 * not searched for again: that keeps the whole linear.
 */
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "knowledge/html_tags.h"

#define TAG_MAX 32

struct tags {
	const char *p, *end;
	struct buf *out;
	bool has_no_end;      /* no '>' comes any more */
	bool has_no_quote[2]; /* no '"', no '\'' */
	bool has_no_title_end;
};

struct tag {
	char name[TAG_MAX];
	bool is_closing;
	bool is_hidden;
};

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static const char *
span_until(const char *p, const char *end, const char *set)
{
	while (p < end && !is_one_of(*p, set))
		p++;
	return p;
}

static const char *
span_of(const char *p, const char *end, const char *set)
{
	while (p < end && is_one_of(*p, set))
		p++;
	return p;
}

#define SPACE " \t\n\r\f"

/* Reads the value behind '='; returns its end, and moves t->p behind it. */
static const char *
read_value(struct tags *t, const char **out_begin)
{
	const char *begin = t->p, *stop = NULL;
	bool *has_none = &t->has_no_quote[begin < t->end && *begin == '\''];

	if (begin < t->end && is_one_of(*begin, "\"'") && !*has_none) {
		stop = memchr(begin + 1, *begin, (size_t)(t->end - begin) - 1);
		*has_none = !stop;
	}
	if (stop) {
		*out_begin = begin + 1;
		t->p = stop + 1;
		return stop;
	}
	*out_begin = begin;
	t->p = span_until(begin, t->end, SPACE ">");
	return t->p;
}

static bool
is_word(const char *p, const char *end, const char *word)
{
	size_t n = strlen(word);
	return (size_t)(end - p) == n && !strncasecmp(p, word, n);
}

/* "display: none" among the declarations. */
static bool
is_style_hidden(const char *p, const char *end)
{
	static const char property[] = "display", value[] = "none";

	while ((size_t)(end - p) >= sizeof(property)) {
		const char *at = span_of(p, end, SPACE ";");
		const char *stop = span_until(at, end, ";");
		const char *colon = span_until(at, stop, SPACE ":");
		const char *is = span_of(colon, stop, SPACE ":");
		if (is_word(at, colon, property) &&
		    (size_t)(stop - is) >= sizeof(value) - 1 &&
		    !strncasecmp(is, value, sizeof(value) - 1))
			return true;
		p = stop;
	}
	return false;
}

/* Reads one attribute, which must come. */
static void
read_attribute(struct tags *t, struct tag *tag)
{
	const char *name = t->p, *value, *stop;

	/* A '=' at the beginning is a name's first letter. */
	t->p = span_until(name + 1, t->end, SPACE "/>=");
	const char *name_end = t->p;
	t->p = span_of(t->p, t->end, SPACE);
	tag->is_hidden = tag->is_hidden || is_word(name, name_end, "hidden");
	if (t->p == t->end || *t->p != '=')
		return;
	t->p = span_of(t->p + 1, t->end, SPACE);
	stop = read_value(t, &value);
	if (is_word(name, name_end, "style") && is_style_hidden(value, stop))
		tag->is_hidden = true;
}

/* Reads from behind '<' to behind '>'; false: the text ended before. */
static bool
read_tag(struct tags *t, struct tag *tag)
{
	*tag = (struct tag){.is_closing = *t->p == '/'};
	t->p += tag->is_closing;
	const char *name = t->p;
	t->p = span_until(name, t->end, SPACE "/>");
	size_t n = (size_t)(t->p - name);
	if (n < sizeof(tag->name))
		memcpy(tag->name, name, n);
	for (;;) {
		t->p = span_of(t->p, t->end, SPACE "/");
		if (t->p == t->end)
			return false;
		if (*t->p == '>')
			break;
		read_attribute(t, tag);
	}
	t->p++;
	return true;
}

/* The next "</name", in any case; NULL: none. */
static const char *
find_closing(const char *p, const char *end, const char *name)
{
	size_t n = strlen(name);

	while ((p = memchr(p, '<', (size_t)(end - p)))) {
		if ((size_t)(end - p) < n + 2)
			return NULL;
		if (p[1] == '/' && !strncasecmp(p + 2, name, n))
			return p;
		p++;
	}
	return NULL;
}

/* What no tag is looked for in, and nobody reads. */
static bool
is_raw(const char *name)
{
	static const char *const names[] = {
	    "script", "style", "iframe", "noframes", "noembed"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcasecmp(name, names[i]))
			return true;
	return false;
}

static void
put_text(struct tags *t, const char *end)
{
	while (t->p < end) {
		const char *mark = memchr(t->p, '<', (size_t)(end - t->p));
		const char *stop = mark ? mark : end;
		buf_add(t->out, t->p, (size_t)(stop - t->p));
		if (mark)
			buf_puts(t->out, "&lt;");
		t->p = mark ? mark + 1 : end;
	}
}

static bool
is_plain_name(const char *name)
{
	static const char fit[] = "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
	return is_letter(*name) && !name[strspn(name, fit)];
}

static void
put_tag(struct tags *t, const struct tag *tag)
{
	/* A page may be hidden until its script has run. */
	bool is_page =
	    !strcasecmp(tag->name, "body") || !strcasecmp(tag->name, "html");

	buf_putc(t->out, '<');
	if (tag->is_closing)
		buf_putc(t->out, '/');
	buf_puts(t->out, tag->name);
	if (tag->is_hidden && !tag->is_closing && !is_page)
		buf_puts(t->out, " hidden");
	buf_putc(t->out, '>');
}

/* A title's text has no tags in it. */
static void
take_title(struct tags *t)
{
	const char *stop =
	    t->has_no_title_end ? NULL : find_closing(t->p, t->end, "title");

	t->has_no_title_end = !stop;
	if (stop)
		put_text(t, stop);
}

static void
take_tag(struct tags *t)
{
	struct tag tag;

	if (!read_tag(t, &tag) || !is_plain_name(tag.name))
		return;
	if (is_raw(tag.name)) {
		const char *stop = tag.is_closing
				       ? t->p
				       : find_closing(t->p, t->end, tag.name);
		t->p = stop ? stop : t->end;
		return;
	}
	put_tag(t, &tag);
	if (!tag.is_closing && !strcasecmp(tag.name, "title"))
		take_title(t);
}

/* Where "!-- … -->", "!DOCTYPE …>", "?xml …>" or "/1>" ends. */
static const char *
comment_end(const struct tags *t)
{
	size_t left = (size_t)(t->end - t->p);
	const char *stop;

	if (left < 3 || memcmp(t->p, "!--", 3) != 0) {
		stop = memchr(t->p, '>', left);
		return stop ? stop + 1 : t->end;
	}
	/* "<!-->" and "<!--->" are whole ones. */
	stop = memmem(t->p + 1, left - 1, "-->", 3);
	return stop ? stop + 3 : t->end;
}

/* Does a tag begin behind this '<'? */
static bool
is_tag(struct tags *t)
{
	const char *name = t->p + (t->p < t->end && *t->p == '/');

	if (name == t->end || !is_letter(*name) || t->has_no_end)
		return false;
	t->has_no_end = !memchr(name, '>', (size_t)(t->end - name));
	return !t->has_no_end;
}

static void
take_mark(struct tags *t)
{
	t->p++;
	if (is_tag(t))
		take_tag(t);
	else if (t->p < t->end && is_one_of(*t->p, "!?/"))
		t->p = comment_end(t);
	else
		buf_puts(t->out, "&lt;");
}

void
html_tags(const char *p, size_t n, struct buf *out)
{
	struct tags t = {.p = p, .end = p + n, .out = out};

	while (t.p < t.end && !out->failed) {
		const char *mark = memchr(t.p, '<', (size_t)(t.end - t.p));
		const char *stop = mark ? mark : t.end;
		buf_add(out, t.p, (size_t)(stop - t.p));
		t.p = stop;
		if (mark)
			take_mark(&t);
	}
}
