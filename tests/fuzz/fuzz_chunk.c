/*
 * Chunks for a client of OpenAI's. Whatever JSON a server sends, what is made
 * of it is one line of JSON under our id, without usage, and the same when it
 * is made again of itself. What is collected is JSON with our text in it, does
 * not depend on what came before, and can be collected again. The first byte of
 * an input chooses the stamp.
 */
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"
#include "fuzz.h"
#include "model/json_scan.h"
#include "model/model.h"
#include "model/openai_chunk.h"
#include "model/openai_collect.h"

/* How often the outer object has the member; its last value. */
static size_t
find(const struct buf *json, const char *member, struct json_span *out_value)
{
	struct json_span name, value;
	struct json_scan s;
	size_t n = 0;

	json_scan_init(&s, json->p, json->n);
	if (!json_scan_enter(&s, '{'))
		return 0;
	while (json_scan_member(&s, &name) && json_scan_value(&s, &value)) {
		if (!json_span_is(name, member))
			continue;
		*out_value = value;
		n++;
	}
	return n;
}

static void
check_line(const struct buf *line)
{
	FUZZ_PROMISE(!line->failed && text_is_clean(line->p, line->n));
	for (size_t i = 0; i < line->n; i++)
		FUZZ_PROMISE((unsigned char)line->p[i] >= 0x20);
}

static void
check_rewrite(const char *p, size_t n, const struct openai_stamp *stamp)
{
	struct buf line = {0}, usage = {0}, again = {0}, none = {0};
	struct json_span id;
	bool was_json = json_scan_is_whole(p, n);

	openai_chunk_rewrite(&line, stamp, p, n, &usage);
	if (was_json && line.n > 0) {
		check_line(&line);
		FUZZ_PROMISE(json_scan_is_whole(line.p, line.n));
		FUZZ_PROMISE(find(&line, "id", &id) == 1);
		FUZZ_PROMISE(json_span_is(id, "\"an id\""));
		FUZZ_PROMISE(find(&line, "usage", &id) == 0);
		FUZZ_PROMISE(find(&line, "object", &id) >= 1);
		FUZZ_PROMISE(find(&line, "created", &id) >= 1);
		FUZZ_PROMISE(find(&line, "model", &id) >= 1);
		openai_chunk_rewrite(&again, stamp, line.p, line.n, &none);
		FUZZ_PROMISE(again.n == line.n && none.n == 0);
		FUZZ_PROMISE(memcmp(again.p, line.p, line.n) == 0);
	}
	FUZZ_PROMISE(
	    !was_json || usage.n == 0 || json_scan_is_whole(usage.p, usage.n));
	buf_free(&line);
	buf_free(&usage);
	buf_free(&again);
}

/* What a client of ours reads of it. */
static void
check_answer(const struct buf *answer, const char *text)
{
	AUTO_JSON struct json_object *o = NULL;
	struct json_object *v = NULL;

	check_line(answer);
	FUZZ_PROMISE(json_scan_is_whole(answer->p, answer->n));
	if (json_parse_any(answer->p, answer->n, 40, &o) != OK)
		return; /* numbers that we do not keep */
	FUZZ_PROMISE(strcmp(json_member_text(o, "id"), "an id") == 0);
	FUZZ_PROMISE(json_object_object_get_ex(o, "choices", &v));
	FUZZ_PROMISE(json_object_array_length(v) == 1);
	v = json_object_array_get_idx(v, 0);
	FUZZ_PROMISE(json_object_object_get_ex(v, "message", &v));
	FUZZ_PROMISE(json_object_object_get_ex(v, "content", &v));
	FUZZ_PROMISE(v == NULL || strcmp(json_object_get_string(v), text) == 0);
	FUZZ_PROMISE(v != NULL || *text == '\0');
}

static void
check_collected(const struct model_object *object,
    const struct openai_stamp *stamp, const struct openai_ending *end)
{
	struct openai_collected *c = openai_collect_new();
	struct openai_collected *d = openai_collect_new();
	static const char bad[] = "{\"choices\":[{\"delta\":{\"role\":";
	const struct model_object broken = {.json = bad, .n = sizeof(bad) - 1};
	struct buf one = {0}, two = {0};

	openai_collect(c, object);
	openai_collect(d, &broken);
	openai_collect(d, object);
	openai_collected_write(&one, c, stamp, end);
	openai_collected_write(&two, d, stamp, end);
	check_answer(&one, end->text);
	FUZZ_PROMISE(one.n == two.n && memcmp(one.p, two.p, one.n) == 0);
	buf_clear(&one);
	buf_clear(&two);
	openai_collected_choice(&one, c, end);
	FUZZ_PROMISE(json_scan_is_whole(one.p, one.n));
	check_line(&one);
	openai_collected_calls(&two, c);
	FUZZ_PROMISE(two.n == 0 || json_scan_is_whole(two.p, two.n));
	openai_collect_free(c);
	openai_collect_free(d);
	buf_free(&one);
	buf_free(&two);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct openai_ending end = {
	    .text = "a \"text\"", .n = 8, .finish = "stop", .usage = "{}"};

	if (size == 0)
		return 0;
	const char *p = (const char *)data + 1;
	const struct openai_stamp stamp = {.id = "an id",
	    .model = "m",
	    .created_s = 1700000000,
	    .is_whole = (data[0] & 1) != 0};
	const struct model_object object = {
	    .json = p, .n = size - 1, .is_whole = (data[0] & 1) != 0};
	check_rewrite(p, size - 1, &stamp);
	check_collected(&object, &stamp, &end);
	return 0;
}
