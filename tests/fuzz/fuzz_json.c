/*
 * JSON from outside. What json_parse_any takes is written back as text that it
 * takes again, unchanged, and the model floor's walk takes it too and decodes
 * its strings to the same bytes.
 */
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "fuzz.h"
#include "model/json_scan.h"

static void
check_written_back(struct json_object *o)
{
	struct json_object *again;
	size_t n, n_again;
	const char *text = json_text(o, &n), *text_again;

	FUZZ_PROMISE(text_is_clean(text, n));
	FUZZ_PROMISE(json_parse_any(text, n, 32, &again) == OK);
	text_again = json_text(again, &n_again);
	FUZZ_PROMISE(n == n_again && memcmp(text, text_again, n) == 0);
	json_object_put(again);
}

static void
check_string(struct json_object *o, struct json_span inside)
{
	size_t room = inside.n + JSON_UNESCAPE_MAX;
	char *out = malloc(room);
	size_t n;

	if (out == NULL)
		return;
	n = json_span_decode(inside, out, room);
	FUZZ_PROMISE(n == (size_t)json_object_get_string_len(o));
	FUZZ_PROMISE(memcmp(out, json_object_get_string(o), n) == 0);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *in = (const char *)data;
	struct json_object *o;
	struct json_span span;
	struct json_scan s;

	json_scan_init(&s, in, size);
	(void)json_scan_value(&s, &span);
	FUZZ_PROMISE(s.p <= s.end);
	if (json_parse_any(in, size, 32, &o) != OK)
		return 0;
	FUZZ_PROMISE(json_scan_end(&s));
	FUZZ_PROMISE(span.p >= in && span.p + span.n <= in + size);
	check_written_back(o);
	if (json_object_is_type(o, json_type_string)) {
		json_scan_init(&s, in, size);
		check_string(o, json_scan_string(&s));
	}
	json_object_put(o);
	return 0;
}
