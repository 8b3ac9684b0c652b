/*
 * Citations. However a reply's text comes in pieces, the same marks are found
 * in it at the same places, each once, in order, with numbers of passages that
 * there are, and the same events are made of them. The first two bytes of an
 * input say how many passages there are, and how it is cut.
 */
#include <string.h>

#include "chat/cited.h"
#include "chat/retrieve.h"
#include "chat/turn.h"
#include "fuzz.h"

#define CONTROL 2

static struct passages_found *
make_passages(size_t n)
{
	struct passages_found *found =
	    calloc(1, sizeof(*found) + n * sizeof(found->passages[0]));

	FUZZ_PROMISE(found != NULL);
	found->n = n;
	for (size_t i = 0; i < n; i++) {
		found->passages[i].title = "t\"";
		found->passages[i].heading = "";
		(void)snprintf(
		    found->passages[i].chunk_id, ID_TEXT, "chunk %zu", i);
	}
	return found;
}

/* Tells the turn the whole text: at once where `seed` is 0, else in pieces. */
static void
tell(struct turn *t, const char *p, size_t n, uint32_t seed)
{
	size_t piece;

	for (size_t at = 0; at < n; at += piece) {
		piece = seed == 0 ? n : fuzz_piece(&seed, n - at);
		buf_add(&t->text, p + at, piece);
		cited_look(t);
	}
	cited_end(t);
}

static void
check_marks(const struct turn *t)
{
	const struct cited *c = &t->cited;

	for (size_t i = 0; i < c->n; i++) {
		const struct cited_mark *m = &c->marks[i];

		FUZZ_PROMISE(m->number >= 1 && m->number <= t->passages->n);
		FUZZ_PROMISE(m->at < m->end && m->end <= t->text.n);
		FUZZ_PROMISE(t->text.p[m->at] == '[');
		FUZZ_PROMISE(t->text.p[m->end - 1] == ']');
		FUZZ_PROMISE(i == 0 || m->at >= m[-1].end ||
			     (m->at == m[-1].at && m->end == m[-1].end));
	}
}

static void
compare(const struct turn *a, const struct turn *b)
{
	struct buf x = {0}, y = {0};

	FUZZ_PROMISE(a->cited.n == b->cited.n);
	FUZZ_PROMISE(a->events.n == b->events.n);
	for (size_t i = 0; i < a->events.n; i++) {
		const struct turn_event *e = &a->events.p[i];

		FUZZ_PROMISE(e->at == b->events.p[i].at);
		FUZZ_PROMISE(e->at <= a->text.n);
		FUZZ_PROMISE(strcmp(e->data, b->events.p[i].data) == 0);
	}
	cited_write(a, &x);
	cited_write(b, &y);
	FUZZ_PROMISE(x.n == y.n && memcmp(x.p, y.p, x.n) == 0);
	buf_free(&x);
	buf_free(&y);
}

static void
forget(struct turn *t)
{
	cited_free(&t->cited);
	turn_events_free(&t->events);
	buf_free(&t->text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct turn whole, cut;
	const char *p = (const char *)data + CONTROL;
	struct passages_found *found;

	if (size < CONTROL)
		return 0;
	found = make_passages(data[0] % 12);
	whole.passages = cut.passages = found;
	tell(&whole, p, size - CONTROL, 0);
	tell(&cut, p, size - CONTROL, 1 + data[1] * 2654435761u);
	check_marks(&whole);
	compare(&whole, &cut);
	forget(&whole);
	forget(&cut);
	free(found);
	return 0;
}
