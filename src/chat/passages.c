/*
 * Turns what the chunker finds into JSON. Must not know who stores it.
 */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/json_write.h"
#include "chat/chunker.h"
#include "chat/passages.h"
#include "knowledge/extract.h"

static void
write_passage(struct buf *out, const struct chunk *k)
{
	char id[ID_TEXT];
	id_make(id);
	json_write_open(out, NULL, '{');
	json_write_text(out, "i", id);
	json_write_text(out, "h", k->heading);
	json_write_number(out, "s", (int64_t)k->start);
	json_write_number(out, "e", (int64_t)k->end);
	json_write_close(out, '}');
}

size_t
passages_write(
    struct buf *out, const char *content, const char *mime_type, size_t max)
{
	const struct chunker_rules rules = {
	    .max_bytes = CHUNK_BYTES,
	    .overlap_bytes = CHUNK_OVERLAP,
	    .has_headings = extract_is_marked(mime_type),
	};
	struct chunker chunker;
	struct chunk k;
	size_t n = 0;
	chunker_init(&chunker, content, strlen(content), &rules);
	json_write_open(out, NULL, '[');
	for (; n <= max && chunker_next(&chunker, &k); n++)
		write_passage(out, &k);
	json_write_close(out, ']');
	return n;
}
