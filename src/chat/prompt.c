/*
 * Reading and rendering one template. Must not know files or turns.
 */
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "chat/prompt.h"

static const struct {
	const char *name;
	size_t most;
	int where;
} values[] = {
#define VALUE(name, word, most, where) [PROMPT_##name] = {word, most, where},
#include "chat/prompt_values.def"
#undef VALUE
};

/* A template while it is read. */
struct reading {
	struct prompt *prompt;
	const char *at;
	const char *end;
	int section;        /* the open one's value; -1: none */
	const char *opened; /* where */
	unsigned said;      /* values that were said, a bit each */
	char *why;
};

const char *
prompt_value_name(enum prompt_value value)
{
	return values[value].name;
}

size_t
prompt_value_most(enum prompt_value value)
{
	return values[value].most;
}

/* "passages", or "shop.passages" */
static bool
is_for(const char *name, const char *purpose)
{
	const char *dot = strchr(name, '.');
	return !strcmp(dot ? dot + 1 : name, purpose);
}

int
prompt_place(const char *name)
{
	if (is_for(name, "passages"))
		return PROMPT_IN_PASSAGES;
	if (is_for(name, "summary"))
		return PROMPT_IN_SUMMARY;
	return PROMPT_IN_SYSTEM;
}

static int
line_of(const struct reading *r, const char *at)
{
	int line = 1;
	for (const char *p = r->prompt->text; p < at; p++)
		line += *p == '\n';
	return line;
}

/* "name.txt, line 3: sentence" */
static enum err PRINTF_LIKE(3, 4)
    refuse(const struct reading *r, const char *at, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(r->why, PROMPT_WHY,
	    "%s.txt, line %d: ", r->prompt->name, line_of(r, at));
	va_start(ap, fmt);
	vsnprintf(r->why + n, PROMPT_WHY - (size_t)n, fmt, ap);
	va_end(ap);
	return ERR_INVALID_FIELD;
}

static enum err
add_piece(struct reading *r, struct prompt_piece piece)
{
	struct prompt *p = r->prompt;
	if ((p->n_pieces & (p->n_pieces - 1)) == 0) {
		size_t room = p->n_pieces ? p->n_pieces * 2 : 1;
		struct prompt_piece *more =
		    realloc(p->pieces, room * sizeof(*more));
		if (!more)
			return ERR_BUSY;
		p->pieces = more;
	}
	piece.only_with = r->section;
	p->pieces[p->n_pieces++] = piece;
	return OK;
}

static enum err
find_value(
    const struct reading *r, const char *p, size_t n, enum prompt_value *out)
{
	int here = prompt_place(r->prompt->name);
	for (int i = 0; i < PROMPT__MAX; i++) {
		if (strlen(values[i].name) != n ||
		    memcmp(values[i].name, p, n) != 0)
			continue;
		if (!(values[i].where & here))
			return refuse(r, p, "{{%s}} has no meaning in here.",
			    values[i].name);
		*out = (enum prompt_value)i;
		return OK;
	}
	return refuse(r, p,
	    "{{%.*s}} is not known (natterctl prompts check --help lists what "
	    "is).",
	    (int)text_prefix(p, n, 40), p);
}

static enum err
open_section(struct reading *r, const char *tag, enum prompt_value value)
{
	if (r->section >= 0)
		return refuse(r, tag,
		    "a section inside of {{#%s}} cannot be told.",
		    values[r->section].name);
	r->section = (int)value;
	r->opened = tag;
	return OK;
}

static enum err
close_section(struct reading *r, const char *tag, enum prompt_value value)
{
	if (r->section != (int)value)
		return refuse(
		    r, tag, "{{/%s}} closes nothing.", values[value].name);
	r->section = -1;
	return OK;
}

static enum err
say_value(struct reading *r, const char *tag, enum prompt_value value)
{
	if (values[value].most == 0 && (r->said & 1U << value))
		return refuse(
		    r, tag, "{{%s}} may stand once.", values[value].name);
	r->said |= 1U << value;
	return add_piece(r, (struct prompt_piece){.value = value});
}

/* One {{…}} at r->at, which moves behind it. */
static enum err
read_tag(struct reading *r)
{
	const char *tag = r->at;
	const char *name = tag + 2;
	const char *close = memmem(name, (size_t)(r->end - name), "}}", 2);
	enum prompt_value value = PROMPT__MAX;
	int kind = name < r->end ? *name : '\0';

	if (!close || memchr(name, '\n', (size_t)(close - name)))
		return refuse(r, tag, "{{ is not closed by }} on its line.");
	name += kind == '#' || kind == '/';
	enum err e = find_value(r, name, (size_t)(close - name), &value);
	if (e != OK)
		return e;
	r->at = close + 2;
	if (kind == '#')
		return open_section(r, tag, value);
	if (kind == '/')
		return close_section(r, tag, value);
	return say_value(r, tag, value);
}

static enum err
read_pieces(struct reading *r)
{
	enum err e = OK;
	while (e == OK && r->at < r->end) {
		size_t left = (size_t)(r->end - r->at);
		const char *tag = memmem(r->at, left, "{{", 2);
		size_t n = tag ? (size_t)(tag - r->at) : left;
		if (n > 0)
			e = add_piece(
			    r, (struct prompt_piece){.p = r->at, .n = n});
		r->at += n;
		if (e == OK && tag)
			e = read_tag(r);
	}
	if (e == OK && r->section >= 0)
		return refuse(r, r->opened, "{{#%s}} is not closed.",
		    values[r->section].name);
	return e;
}

static void
set_version(struct prompt *p)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];
	(void)crypto_hash_sha256(hash, (const unsigned char *)p->text, p->n);
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	(void)snprintf(p->version, sizeof(p->version), "%s", hex);
}

static enum err
check_bytes(struct reading *r, const char *text, size_t n)
{
	if (n > PROMPT_BYTES_MAX) {
		return refuse(r, text + PROMPT_BYTES_MAX,
		    "a template has %d bytes at most.", PROMPT_BYTES_MAX);
	}
	const char *line = text;
	while (line < text + n) {
		const char *end = memchr(line, '\n', (size_t)(text + n - line));
		size_t length = (size_t)((end ? end : text + n) - line);
		if (!text_is_clean(line, length))
			return refuse(r, line, "it must be UTF-8 without NUL.");
		line += length + 1;
	}
	return OK;
}

enum err
prompt_parse(const char *name, const char *text, size_t n, struct prompt *out,
    char why[static PROMPT_WHY])
{
	char *copy = malloc(n + 1);
	if (!copy)
		return ERR_BUSY;
	if (n > 0)
		memcpy(copy, text, n);
	copy[n] = '\0';
	struct prompt p = {.text = copy, .n = n};
	struct reading r = {.prompt = &p, .section = -1, .why = why};

	(void)snprintf(p.name, sizeof(p.name), "%s", name);
	enum err e = check_bytes(&r, p.text, n);
	if (e == OK) {
		r.at = p.text;
		r.end = p.text + n - (n > 0 && p.text[n - 1] == '\n');
		e = read_pieces(&r);
	}
	set_version(&p);
	if (e == OK)
		*out = p;
	else
		prompt_clear(&p);
	return e;
}

void
prompt_clear(struct prompt *p)
{
	free(p->pieces);
	free(p->text);
	p->pieces = NULL;
	p->text = NULL;
	p->n_pieces = 0;
}

bool
prompt_says(const struct prompt *p, enum prompt_value value)
{
	for (size_t i = 0; i < p->n_pieces; i++)
		if (!p->pieces[i].p && p->pieces[i].value == value)
			return true;
	return false;
}

bool
prompt_minds(const struct prompt *p, enum prompt_value value)
{
	for (size_t i = 0; i < p->n_pieces; i++)
		if (p->pieces[i].only_with == (int)value)
			return true;
	return prompt_says(p, value);
}

void
prompt_render(const struct prompt *p,
    const char *const texts[static PROMPT__MAX], struct buf *out)
{
	for (size_t i = 0; i < p->n_pieces; i++) {
		const struct prompt_piece *piece = &p->pieces[i];
		const char *condition =
		    piece->only_with < 0 ? "+" : texts[piece->only_with];
		if (!condition || !*condition)
			continue;
		if (piece->p)
			buf_add(out, piece->p, piece->n);
		else if (texts[piece->value])
			buf_puts(out, texts[piece->value]);
	}
}

static enum prompt_value
counts_to(const struct prompt_piece *piece)
{
	return piece->only_with == PROMPT_FACTS ||
		       piece->only_with == PROMPT_SUMMARY
		   ? (enum prompt_value)piece->only_with
		   : PROMPT__MAX;
}

int64_t
prompt_bytes(const struct prompt *p, enum prompt_value value)
{
	size_t n = 0;
	for (size_t i = 0; i < p->n_pieces; i++) {
		const struct prompt_piece *piece = &p->pieces[i];
		if (counts_to(piece) == value)
			n += piece->p ? piece->n : values[piece->value].most;
	}
	return (int64_t)n;
}
