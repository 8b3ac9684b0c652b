/*
 * Walks over an object's strings and copies what lies between. A text of the
 * answer is found again in the next chunk by its way from the delta on:
 * members' names and, in arrays, what elements call their index.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "model/json_scan.h"
#include "model/mask.h"
#include "model/model.h"
#include "model/openai_collect.h"
#include "model/openai_mend.h"

/* Containers inside of each other that are looked into, and texts that may
 * wait at once: what goes beyond is mended chunk by chunk. */
#define LEVELS_MAX 16
#define TEXTS_MAX  128

#define FINISH_MAX 32
#define INDEX_MAX  1000000

/* The steps of a way: what comes first, and a NUL behind each. */
enum { STEP_MEMBER = 'm', STEP_INDEX = 'i', STEP_PLACE = 'p' };

/* A text that goes on from chunk to chunk. */
struct text {
	struct buf way; /* from the delta on */
	struct unmask unmask;
};

struct openai_mend {
	const struct mask *mask;
	struct text *texts; /* room for TEXTS_MAX, made at the first */
	size_t n;
	char finish[FINISH_MAX];
};

/* A container that is open. */
struct level {
	bool is_array;
	int64_t next; /* place of the next element */
	size_t way;   /* bytes of the way to it */
};

/* The walk over one object. */
struct walk {
	struct openai_mend *m;
	struct json_scan scan;
	struct level levels[LEVELS_MAX];
	size_t n;              /* of them */
	struct json_span name; /* the member that comes; NULL: an element */
	bool is_in_choices;    /* of the outermost object's members */
	size_t delta;          /* levels around the delta; 0: not in one */
	size_t from;           /* bytes of the way to it */
	struct buf way;
	const char *copied; /* everything before it */
	struct buf *out;
};

struct openai_mend *
openai_mend_new(const struct mask *mask)
{
	struct openai_mend *m = calloc(1, sizeof(*m));

	assert(m != NULL);
	m->mask = mask;
	return m;
}

void
openai_mend_free(struct openai_mend *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n; i++)
		buf_free(&m->texts[i].way);
	free(m->texts);
	free(m);
}

const char *
openai_mend_finish(const struct openai_mend *m)
{
	return m->finish;
}

static void
add_step(struct walk *w, char kind, const char *p, size_t n)
{
	buf_putc(&w->way, kind);
	buf_add(&w->way, p, n);
	buf_putc(&w->way, '\0');
}

/* What the element that comes calls its index; -1: nothing. */
static int64_t
look_for_index(const struct walk *w)
{
	struct json_scan s = w->scan;
	struct json_span name, value;

	if (!json_scan_enter(&s, '{'))
		return -1;
	while (json_scan_member(&s, &name)) {
		if (json_span_is(name, "index"))
			return json_scan_count(&s, INDEX_MAX);
		(void)json_scan_value(&s, &value);
	}
	return -1;
}

static void
step_to_element(struct walk *w, struct level *l)
{
	int64_t index = look_for_index(w), place = l->next++;
	struct buf number = {0};

	w->name = (struct json_span){NULL, 0};
	buf_printf(&number, "%" PRId64, index >= 0 ? index : place);
	add_step(w, index >= 0 ? STEP_INDEX : STEP_PLACE, number.p, number.n);
	buf_free(&number);
}

/* Steps to the next value of the innermost container; false: it is behind. */
static bool
step(struct walk *w)
{
	struct level *l = &w->levels[w->n - 1];

	w->way.n = l->way;
	if (w->n <= w->delta)
		w->delta = 0;
	if (l->is_array) {
		if (!json_scan_element(&w->scan))
			return false;
		step_to_element(w, l);
		return true;
	}
	if (!json_scan_member(&w->scan, &w->name))
		return false;
	if (w->n == 1)
		w->is_in_choices = json_span_is(w->name, "choices");
	add_step(w, STEP_MEMBER, w->name.p, w->name.n);
	if (w->n == 3 && w->is_in_choices && json_span_is(w->name, "delta")) {
		w->delta = w->n;
		w->from = w->way.n;
	}
	return true;
}

static void
enter(struct walk *w, char bracket)
{
	struct json_span ignored;

	if (w->n == LEVELS_MAX) {
		(void)json_scan_value(&w->scan, &ignored);
		return;
	}
	(void)json_scan_enter(&w->scan, bracket);
	w->levels[w->n++] =
	    (struct level){.is_array = bracket == '[', .way = w->way.n};
}

static struct text *
find_text(const struct openai_mend *m, const char *way, size_t n)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->texts[i].way.n == n &&
		    (n == 0 || memcmp(m->texts[i].way.p, way, n) == 0))
			return &m->texts[i];
	return NULL;
}

/* The text at the end of the way; NULL: it does not go on. */
static struct text *
text_of(struct walk *w)
{
	struct openai_mend *m = w->m;
	struct text *t;

	if (w->delta == 0 || w->way.failed ||
	    openai_is_said_again(w->name.p, w->name.n))
		return NULL;
	t = find_text(m, w->way.p + w->from, w->way.n - w->from);
	if (t != NULL)
		return t;
	if (m->texts == NULL)
		m->texts = calloc(TEXTS_MAX, sizeof(*m->texts));
	if (m->texts == NULL || m->n == TEXTS_MAX)
		return NULL;
	t = &m->texts[m->n++];
	t->unmask.mask = m->mask;
	buf_add(&t->way, w->way.p + w->from, w->way.n - w->from);
	return t;
}

/* Values have nothing that JSON escapes: they go where placeholders were. */
static void
mend_string(struct walk *w, struct json_span inside)
{
	struct text once = {.unmask.mask = w->m->mask}, *t;

	if (!mask_is_used(w->m->mask))
		return;
	buf_add(w->out, w->copied, (size_t)(inside.p - w->copied));
	w->copied = inside.p + inside.n;
	t = text_of(w);
	if (t != NULL) {
		unmask_add(&t->unmask, inside.p, inside.n, w->out);
		return;
	}
	unmask_add(&once.unmask, inside.p, inside.n, w->out);
	unmask_end(&once.unmask, w->out);
}

/* Leaves out why the answer ended; the caller says it. */
static void
keep_finish(struct walk *w, struct json_span word)
{
	char *finish = w->m->finish;
	size_t n = json_span_decode(word, finish, FINISH_MAX - 1);

	finish[n] = '\0';
	if (strspn(finish, "abcdefghijklmnopqrstuvwxyz_") != n)
		finish[0] = '\0';
	buf_add(w->out, w->copied, (size_t)(word.p - 1 - w->copied));
	buf_puts(w->out, "null");
	w->copied = word.p + word.n + 1;
}

static void
take_value(struct walk *w)
{
	struct json_span value;
	char kind = json_scan_peek(&w->scan);

	if (kind == '{' || kind == '[') {
		enter(w, kind);
	} else if (kind != '"') {
		(void)json_scan_value(&w->scan, &value);
	} else {
		value = json_scan_string(&w->scan);
		if (w->n == 3 && w->is_in_choices &&
		    json_span_is(w->name, "finish_reason"))
			keep_finish(w, value);
		else
			mend_string(w, value);
	}
}

void
openai_mend(
    struct openai_mend *m, const struct model_object *object, struct buf *out)
{
	struct walk w = {.m = m, .copied = object->json, .out = out};

	json_scan_init(&w.scan, object->json, object->n);
	if (json_scan_peek(&w.scan) == '{')
		enter(&w, '{');
	while (w.n > 0) {
		if (step(&w))
			take_value(&w);
		else
			w.n--;
	}
	buf_add(out, w.copied, (size_t)(object->json + object->n - w.copied));
	out->failed |= w.way.failed;
	buf_free(&w.way);
}

/* The objects and arrays around a text; the brackets that close them, the
 * innermost last. */
static void
write_way(struct buf *out, const struct buf *way, struct buf *closing)
{
	const char *end = way->p + way->n;
	char before = STEP_MEMBER;

	for (const char *p = way->p; p < end; p += strlen(p) + 1) {
		if (*p == STEP_MEMBER) {
			buf_puts(out, before == STEP_INDEX ? "," : "{");
			if (before == STEP_PLACE && strcmp(p + 1, "text") == 0)
				buf_puts(out, "\"type\":\"text\",");
			buf_printf(out, "\"%s\":", p + 1);
			buf_puts(closing, before == STEP_INDEX ? "" : "}");
		} else if (*p == STEP_INDEX) {
			buf_printf(out, "[{\"index\":%s", p + 1);
			buf_puts(closing, "]}");
		} else {
			buf_putc(out, '[');
			buf_putc(closing, ']');
		}
		before = *p;
	}
}

static void
write_rest(struct buf *out, struct text *t)
{
	struct buf closing = {0};

	buf_puts(out, "{\"choices\":[{\"index\":0,\"delta\":");
	write_way(out, &t->way, &closing);
	buf_putc(out, '"');
	unmask_end(&t->unmask, out);
	buf_putc(out, '"');
	for (size_t i = closing.n; i > 0; i--)
		buf_putc(out, closing.p[i - 1]);
	buf_puts(out, ",\"finish_reason\":null}]}");
	out->failed |= closing.failed;
	buf_free(&closing);
}

bool
openai_mend_rest(struct openai_mend *m, struct buf *out)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->texts[i].unmask.n_held == 0)
			continue;
		write_rest(out, &m->texts[i]);
		return true;
	}
	return false;
}
