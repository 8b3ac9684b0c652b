/*
 * Reads patterns for the words that they begin with or need. An element that
 * may lack, a capture, and "*" need none; a mark takes no word.
 */
#include <string.h>

#include "task/hint.h"
#include "task/pattern.h"

/* FNV-1a, folded. */
static unsigned
bit_of(const char *p, size_t n)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 16777619U;
	return (h ^ h >> 16) % HINT_BITS;
}

static void
set_add(struct hint_set *s, unsigned bit)
{
	s->bits[bit / 64] |= UINT64_C(1) << bit % 64;
}

static bool
set_has(const struct hint_set *s, unsigned bit)
{
	return (s->bits[bit / 64] >> bit % 64 & 1) != 0;
}

static bool
sets_meet(const struct hint_set *a, const struct hint_set *b)
{
	uint64_t both = 0;

	for (size_t i = 0; i < HINT_BITS / 64; i++)
		both |= a->bits[i] & b->bits[i];
	return both != 0;
}

/* The first words of phrases with bars between them; how many there are. */
static size_t
add_phrases(struct hint_set *s, const char *p, const char *end)
{
	size_t n = 0;

	while (p < end) {
		size_t word = strcspn(p, "_| ]}");

		set_add(s, bit_of(p, word));
		n++;
		p += strcspn(p, "| ]}") + 1;
	}
	return n;
}

/* Those of an element's alternatives; 0: any word will do. */
static size_t
add_element(struct hint_set *s, const char *p, const char *end)
{
	size_t n = 0;

	while (p < end) {
		const char *bar = memchr(p, '|', (size_t)(end - p));
		const char *after = bar ? bar : end;
		size_t len = (size_t)(after - p);
		const char *all = len == 5 && !memcmp(p, "@list", 5)
				      ? PATTERN_LISTS
				  : *p == '@' ? pattern_alternatives(p, len)
					      : NULL;

		if (*p == '*' || (*p == '@' && !all))
			return 0;
		n += all ? add_phrases(s, all, all + strlen(all))
			 : add_phrases(s, p, after);
		p = after + 1;
	}
	return n;
}

/* One element, from `p` to `end`, that is neither a capture nor a mark.
 * *is_open: the first word is not settled. */
static void
read_element(struct hint *h, const char *p, const char *end, bool *is_open)
{
	bool may_lack = *p == '[' || *p == '{';
	struct hint_set here = {{0}};
	size_t n = add_element(&here, p + may_lack, end);

	for (size_t i = 0; *is_open && i < HINT_BITS / 64; i++)
		h->first.bits[i] |= here.bits[i];
	if (*is_open && n > 0 && !may_lack)
		h->has_first = true;
	*is_open = *is_open && n > 0 && may_lack;
	if (!may_lack && n > 0 && h->n_musts < HINT_MUSTS)
		h->must[h->n_musts++] = here;
}

void
hint_make(const char *pattern, struct hint *out)
{
	const char *p = pattern;
	bool is_open = true;

	memset(out, 0, sizeof(*out));
	while (*p != '\0') {
		bool may_lack = *p == '[' || *p == '{';
		const char *end = p + strcspn(p, *p == '['   ? "]"
						 : *p == '{' ? "}"
							     : " ");

		if (*p >= 'A' && *p <= 'Z')
			is_open = false;
		else if (*p != ':' && *p != ',')
			read_element(out, p, end, &is_open);
		p = end + may_lack;
		p += *p == ' ';
	}
}

void
hint_widen(struct hint *all, const struct hint *one)
{
	for (size_t i = 0; i < HINT_BITS / 64; i++)
		all->first.bits[i] |= one->first.bits[i];
	all->has_first = one->has_first;
	all->n_musts = 0;
}

void
hint_read(const struct words *w, struct hint_words *out)
{
	memset(&out->all, 0, sizeof(out->all));
	for (size_t i = 0; i < w->n; i++) {
		const char *norm = w->at[i].norm;

		out->bit[i] = (uint16_t)bit_of(norm, strlen(norm));
		if (w->at[i].kind == WORD_PLAIN)
			set_add(&out->all, out->bit[i]);
	}
}

/* The first word of [from, to) that a pattern sees. */
static size_t
first_of(const struct words *w, size_t from, size_t to)
{
	while (from < to &&
	       (w->at[from].is_hidden || w->at[from].kind == WORD_MARK))
		from++;
	return from;
}

bool
hint_begins(const struct hint *h, const struct words *w, size_t from, size_t to)
{
	size_t i = first_of(w, from, to);
	const char *norm = w->at[i].norm;

	return !h->has_first ||
	       (i < to && set_has(&h->first, bit_of(norm, strlen(norm))));
}

bool
hint_ends(const struct hint *h, const struct hint_words *words)
{
	for (size_t i = 0; i < h->n_musts; i++) {
		if (!sets_meet(&h->must[i], &words->all))
			return false;
	}
	return true;
}

bool
hint_passes(const struct hint *h, const struct words *w,
    const struct hint_words *words, size_t from, size_t to)
{
	from = first_of(w, from, to);
	if (h->has_first &&
	    (from == to || !set_has(&h->first, words->bit[from])))
		return false;
	return hint_ends(h, words);
}
