/*
 * The table of masked values: found by their bytes through a hash, by their
 * numbers in the order in which they came.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/mask.h"
#include "model/personal.h"

/* Numbers have at most six digits. */
#define VALUES_MAX  999999
#define DIGITS_MAX  6
#define SLOTS_FIRST 64

/* Kinds of values: those of enum personal_kind, and what looks like a
 * placeholder. */
#define KIND_TEXT (PERSONAL_CARD + 1)
#define KINDS     (KIND_TEXT + 1)

static const char *const names[KINDS] = {
    [PERSONAL_EMAIL] = "EMAIL_",
    [PERSONAL_PHONE] = "PHONE_",
    [PERSONAL_CARD] = "CARD_",
    [KIND_TEXT] = "TEXT_",
};

struct value {
	char *p;
	size_t n;
	int kind;
	unsigned number; /* of its kind, from 1 */
};

struct mask {
	struct value *values;
	size_t n_values, room;
	uint32_t *slots;            /* places in values, from 1; 0: free */
	size_t n_slots;             /* a power of two */
	uint32_t *by_number[KINDS]; /* places in values */
	size_t n_of[KINDS], room_of[KINDS];
};

struct mask *
mask_new(void)
{
	return calloc(1, sizeof(struct mask));
}

void
mask_free(struct mask *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n_values; i++)
		free(m->values[i].p);
	for (int k = 0; k < KINDS; k++)
		free(m->by_number[k]);
	free(m->values);
	free(m->slots);
	free(m);
}

bool
mask_is_used(const struct mask *m)
{
	return m != NULL && m->n_values > 0;
}

static uint64_t
hash_of(int kind, const char *p, size_t n)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	h += (unsigned)kind;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * UINT64_C(1099511628211);
	return h ^ h >> 32;
}

/* The slot of this value, or the free one where it would be. */
static uint32_t *
slot_of(const struct mask *m, int kind, const char *p, size_t n)
{
	size_t i = hash_of(kind, p, n) & (m->n_slots - 1);

	while (m->slots[i] != 0) {
		const struct value *v = &m->values[m->slots[i] - 1];

		if (v->kind == kind && v->n == n && memcmp(v->p, p, n) == 0)
			break;
		i = (i + 1) & (m->n_slots - 1);
	}
	return &m->slots[i];
}

static bool
grow_slots(struct mask *m)
{
	size_t n = m->n_slots == 0 ? SLOTS_FIRST : m->n_slots * 2;
	uint32_t *old = m->slots;

	if (m->n_slots > 0 && m->n_values < m->n_slots / 2)
		return true;
	m->slots = calloc(n, sizeof(*m->slots));
	if (m->slots == NULL) {
		m->slots = old;
		return false;
	}
	free(old);
	m->n_slots = n;
	for (size_t i = 0; i < m->n_values; i++) {
		const struct value *v = &m->values[i];

		*slot_of(m, v->kind, v->p, v->n) = (uint32_t)i + 1;
	}
	return true;
}

/* The array with room for one more of `size` bytes; NULL without memory. */
static void *
make_room(void *array, size_t n, size_t *room, size_t size)
{
	size_t more = *room == 0 ? 8 : *room * 2;
	void *moved;

	if (n < *room)
		return array;
	moved = realloc(array, more * size);
	if (moved != NULL)
		*room = more;
	return moved;
}

/* Puts a new value into its slot; NULL without memory or numbers. */
static const struct value *
put(struct mask *m, int kind, const char *p, size_t n)
{
	struct value *v;
	uint32_t *by_number;

	if (m->n_of[kind] == VALUES_MAX || !grow_slots(m))
		return NULL;
	v = make_room(m->values, m->n_values, &m->room, sizeof(*v));
	if (v == NULL)
		return NULL;
	m->values = v;
	by_number = make_room(m->by_number[kind], m->n_of[kind],
	    &m->room_of[kind], sizeof(*by_number));
	if (by_number == NULL)
		return NULL;
	m->by_number[kind] = by_number;
	v += m->n_values;
	*v = (struct value){malloc(n), n, kind, (unsigned)m->n_of[kind] + 1};
	if (v->p == NULL)
		return NULL;
	memcpy(v->p, p, n);
	*slot_of(m, kind, p, n) = (uint32_t)m->n_values + 1;
	m->by_number[kind][m->n_of[kind]++] = (uint32_t)m->n_values++;
	return v;
}

static const struct value *
find(struct mask *m, int kind, const char *p, size_t n)
{
	uint32_t at = m->n_slots == 0 ? 0 : *slot_of(m, kind, p, n);

	return at != 0 ? &m->values[at - 1] : put(m, kind, p, n);
}

static void
write_placeholder(
    struct mask *m, int kind, const struct buf *from, struct buf *out)
{
	const struct value *v = find(m, kind, from->p, from->n);

	if (v == NULL) {
		out->failed = true;
		return;
	}
	buf_printf(out, "[%s%u]", names[kind], v->number);
}

/*
 * How far `p` is a placeholder: OPEN, and it may become one; WHOLE; NONE.
 * Numbers have no leading zero, so that each has one form.
 */
enum shape { SHAPE_NONE, SHAPE_OPEN, SHAPE_WHOLE };

static enum shape
shape_of_kind(int kind, const char *p, size_t n, unsigned *out_number)
{
	size_t name = strlen(names[kind]), i = 1;
	unsigned number = 0;

	if (memcmp(p + 1, names[kind], n - 1 < name ? n - 1 : name) != 0)
		return SHAPE_NONE;
	if (n - 1 <= name)
		return SHAPE_OPEN;
	for (i += name; i < n && p[i] >= '0' && p[i] <= '9'; i++)
		number = number * 10 + (unsigned)(p[i] - '0');
	if (i - 1 - name > DIGITS_MAX || (i > 1 + name && p[1 + name] == '0'))
		return SHAPE_NONE;
	*out_number = number;
	if (i == n)
		return SHAPE_OPEN;
	return p[i] == ']' && i + 1 == n && number > 0 ? SHAPE_WHOLE
						       : SHAPE_NONE;
}

/* `p` begins with a bracket. */
static enum shape
shape_of(const char *p, size_t n, int *out_kind, unsigned *out_number)
{
	for (int kind = 0; kind < KINDS; kind++) {
		enum shape shape = shape_of_kind(kind, p, n, out_number);

		*out_kind = kind;
		if (shape != SHAPE_NONE)
			return shape;
	}
	return SHAPE_NONE;
}

/* The next thing of the text that looks like a placeholder: [*at, end), or end
 * 0. */
static size_t
find_literal(const char *p, size_t n, size_t *at)
{
	const char *q = p + *at;
	unsigned number;
	int kind;

	while (n > 0 && (q = memchr(q, '[', n - (size_t)(q - p))) != NULL) {
		size_t most = n - (size_t)(q - p);

		if (most > MASK_PLACEHOLDER_MAX)
			most = MASK_PLACEHOLDER_MAX;
		for (size_t i = 2; i <= most; i++)
			if (q[i - 1] == ']' &&
			    shape_of(q, i, &kind, &number) == SHAPE_WHOLE) {
				*at = (size_t)(q - p);
				return *at + i;
			}
		q++;
	}
	*at = n;
	return 0;
}

void
mask_add(struct mask *m, const char *p, size_t n, struct buf *out)
{
	size_t at = 0, literal = 0, literal_end;
	struct personal_scan scan;
	struct personal found;
	bool has_found;

	personal_scan_init(&scan, p, n);
	has_found = personal_scan_next(&scan, &found);
	literal_end = find_literal(p, n, &literal);
	while ((has_found || literal_end > 0) && !out->failed) {
		/* The two never overlap: no value has a bracket in it. */
		bool is_literal =
		    !has_found || (literal_end > 0 && literal < found.start);
		size_t start = is_literal ? literal : found.start;
		size_t end = is_literal ? literal_end : found.end;
		const struct buf value = {
		    .p = (char *)p + start, .n = end - start};

		buf_add(out, p + at, start - at);
		write_placeholder(
		    m, is_literal ? KIND_TEXT : (int)found.kind, &value, out);
		at = end;
		if (is_literal) {
			literal = end;
			literal_end = find_literal(p, n, &literal);
		} else {
			has_found = personal_scan_next(&scan, &found);
		}
	}
	buf_add(out, p + at, n - at);
}

static const struct value *
value_of(const struct mask *m, int kind, unsigned number)
{
	if (number == 0 || number > m->n_of[kind])
		return NULL;
	return &m->values[m->by_number[kind][number - 1]];
}

/* Looks at what is held after one more byte came. */
static void
settle(struct unmask *u, struct buf *out)
{
	const struct value *v = NULL;
	unsigned number = 0;
	int kind = 0;
	enum shape shape = shape_of(u->held, u->n_held, &kind, &number);

	if (shape == SHAPE_OPEN)
		return;
	if (shape == SHAPE_WHOLE)
		v = value_of(u->mask, kind, number);
	if (v != NULL)
		buf_add(out, v->p, v->n);
	else
		buf_add(out, u->held, u->n_held);
	u->n_held = 0;
}

void
unmask_add(struct unmask *u, const char *p, size_t n, struct buf *out)
{
	const char *end = p + n;

	if (!mask_is_used(u->mask)) {
		buf_add(out, p, n);
		return;
	}
	while (p < end) {
		if (u->n_held == 0 || *p == '[') {
			const char *at = memchr(p, '[', (size_t)(end - p));
			size_t run = (size_t)((at != NULL ? at : end) - p);

			buf_add(out, u->held, u->n_held);
			u->n_held = 0;
			buf_add(out, p, run);
			p += run;
			if (p == end)
				return;
		}
		u->held[u->n_held++] = *p++;
		settle(u, out);
	}
}

void
unmask_end(struct unmask *u, struct buf *out)
{
	buf_add(out, u->held, u->n_held);
	u->n_held = 0;
}

void
unmask_whole(const struct mask *m, struct buf *text)
{
	struct unmask u = {.mask = m};
	struct buf out = {0};

	if (!mask_is_used(m))
		return;
	unmask_add(&u, text->p, text->n, &out);
	unmask_end(&u, &out);
	buf_free(text);
	*text = out;
}
