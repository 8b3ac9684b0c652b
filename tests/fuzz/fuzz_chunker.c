/*
 * The chunker's promises for any clean text and any rules: in order, without
 * holes, never empty, never too long, never within a character, the same
 * again. The first three bytes of an input choose the rules.
 */
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "chat/chunker.h"
#include "fuzz.h"

#define CONTROL 3

static void
check_one(const struct buf *in, const struct chunker_rules *rules,
    const struct chunk *k, size_t before, size_t covered)
{
	FUZZ_PROMISE(k->start < k->end && k->end <= in->n);
	FUZZ_PROMISE(k->end - k->start <= rules->max_bytes);
	FUZZ_PROMISE(k->start <= covered && k->end > covered);
	FUZZ_PROMISE(covered - k->start <= rules->overlap_bytes);
	FUZZ_PROMISE(covered == 0 || k->start > before);
	FUZZ_PROMISE(text_is_clean(in->p + k->start, k->end - k->start));
	FUZZ_PROMISE(strlen(k->heading) <= CHUNK_HEADING_BYTES);
	FUZZ_PROMISE(text_is_clean(k->heading, strlen(k->heading)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in = {0};
	struct chunker a, b;
	struct chunk k, again;
	size_t before = 0, covered = 0;

	if (size < CONTROL)
		return 0;
	struct chunker_rules rules = {
	    .max_bytes = 16 + data[0],
	    .overlap_bytes = data[1],
	    .has_headings = (data[2] & 1) != 0,
	};
	if (rules.overlap_bytes >= rules.max_bytes / 2)
		rules.overlap_bytes = rules.max_bytes / 2 - 1;
	text_append_clean(&in, (const char *)data + CONTROL, size - CONTROL);
	chunker_init(&a, in.p, in.n, &rules);
	chunker_init(&b, in.p, in.n, &rules);
	while (chunker_next(&a, &k)) {
		check_one(&in, &rules, &k, before, covered);
		FUZZ_PROMISE(chunker_next(&b, &again));
		FUZZ_PROMISE(again.start == k.start && again.end == k.end);
		FUZZ_PROMISE(strcmp(again.heading, k.heading) == 0);
		before = k.start;
		covered = k.end;
	}
	FUZZ_PROMISE(covered == in.n && !chunker_next(&b, &again));
	buf_free(&in);
	return 0;
}
