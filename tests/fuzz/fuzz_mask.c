/*
 * Masking's promises for any bytes: whatever is masked and comes back in any
 * pieces is what it was; what was found is not there any more; values can stand
 * in JSON; a document stays one.
 */
#include <string.h>

#include "base/buf.h"
#include "fuzz.h"
#include "model/json_scan.h"
#include "model/mask.h"
#include "model/personal.h"

static void
check_values(const char *p, size_t n)
{
	struct personal_scan scan;
	struct personal found;
	size_t before = 0;

	personal_scan_init(&scan, p, n);
	while (personal_scan_next(&scan, &found)) {
		FUZZ_PROMISE(found.start >= before);
		FUZZ_PROMISE(found.start < found.end && found.end <= n);
		for (size_t i = found.start; i < found.end; i++)
			FUZZ_PROMISE((unsigned char)p[i] >= 0x20 &&
				     strchr("\"\\[]", p[i]) == NULL);
		before = found.end;
	}
}

static void
unmask_in_pieces(const struct mask *m, const struct buf *masked, uint32_t seed,
    struct buf *out)
{
	struct unmask u = {.mask = m};

	for (size_t at = 0; at < masked->n;) {
		size_t n = fuzz_piece(&seed, masked->n - at);

		unmask_add(&u, masked->p + at, n, out);
		at += n;
	}
	unmask_end(&u, out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct buf masked = {0}, again = {0}, json = {0};
	struct mask *m = mask_new();

	FUZZ_PROMISE(m != NULL);
	check_values(p, size);
	mask_add(m, p, size, &masked);
	unmask_in_pieces(m, &masked, (uint32_t)size * 2654435761u, &again);
	FUZZ_PROMISE(!masked.failed && again.n == size);
	FUZZ_PROMISE(size == 0 || memcmp(again.p, p, size) == 0);
	mask_add_json(m, p, size, &json);
	FUZZ_PROMISE(!json.failed);
	FUZZ_PROMISE(
	    !json_scan_is_whole(p, size) || json_scan_is_whole(json.p, json.n));
	buf_free(&masked);
	buf_free(&again);
	buf_free(&json);
	mask_free(m);
	return 0;
}
