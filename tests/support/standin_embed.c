/*
 * The stand-in's POST /v1/embeddings: bags of words. Each word, in lower case,
 * adds one to, or takes it from, the number of the vector that its hash names;
 * so texts are near to each other that share words, whatever they mean. A few
 * words stand for each other, so that tests can find by meaning alone. A word
 * anywhere in a text scripts the answer:
 *
 *	#embed=500      that status
 *	#embed=garbage  200 and no JSON
 *	#embed=short    one vector too few
 *	#embed=numbers  numbers, though base64 was asked for
 *	#embed=hang     no answer, ever
 *	#embed=few      504 to more than two texts
 */
#include <ctype.h>
#include <json-c/json.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "standin.h"
#include "base/buf.h"

enum { DIMENSIONS = 512, DIMENSIONS_MAX = 4096, WORD_MAX = 40 };

static const char *const same[][2] = {
    {"automobile", "car"},
    {"feline", "cat"},
    {"canine", "dog"},
};

static const char *
meaning_of(const char *word)
{
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (strcmp(word, same[i][0]) == 0)
			return same[i][1];
	return word;
}

static void
add_word(const char *word, float *vector, size_t n)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (const char *p = meaning_of(word); *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
	vector[(h >> 8) % n] += (h & 1) != 0 ? 1 : -1;
}

static void
add_text(const char *text, float *vector, size_t n)
{
	char word[WORD_MAX];
	size_t at = 0;

	vector[0] = 0.01F; /* a text without words has a direction, too */
	for (;; text++) {
		if (isalnum((unsigned char)*text) && at < WORD_MAX - 1) {
			word[at++] = (char)tolower((unsigned char)*text);
			continue;
		}
		word[at] = '\0';
		if (at > 0)
			add_word(word, vector, n);
		at = 0;
		if (*text == '\0')
			return;
	}
}

static void
write_numbers(struct buf *out, const float *vector, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%c%g", i == 0 ? '[' : ',', (double)vector[i]);
	buf_putc(out, ']');
}

static void
write_base64(struct buf *out, const float *vector, size_t n)
{
	char text[DIMENSIONS_MAX * 6];

	sodium_bin2base64(text, sizeof(text), (const unsigned char *)vector,
	    n * sizeof(*vector), sodium_base64_VARIANT_ORIGINAL);
	buf_printf(out, "\"%s\"", text);
}

struct ask {
	struct json_object *input;
	size_t n, dimensions;
	bool is_base64;
};

static void
write_answer(struct buf *out, const struct ask *ask, size_t n)
{
	float vector[DIMENSIONS_MAX];

	buf_puts(out, "{\"object\":\"list\",\"data\":[");
	/* Not in order: indexes say whose they are. */
	for (size_t i = n; i-- > 0;) {
		memset(vector, 0, sizeof(vector));
		add_text(json_object_get_string(
			     json_object_array_get_idx(ask->input, i)),
		    vector, ask->dimensions);
		buf_printf(out,
		    "%s{\"object\":\"embedding\",\"index\":%zu,"
		    "\"embedding\":",
		    i + 1 < n ? "," : "", i);
		(ask->is_base64 ? write_base64 : write_numbers)(
		    out, vector, ask->dimensions);
		buf_putc(out, '}');
	}
	buf_printf(out,
	    "],\"model\":\"standin\",\"usage\":{\"prompt_tokens\":%zu,"
	    "\"total_tokens\":%zu}}",
	    3 * n, 3 * n);
}

/* The word of the first text that has one; "" for none. The caller frees. */
static char *
script_of(const struct ask *ask)
{
	static const char mark[] = "#embed=";

	for (size_t i = 0; i < ask->n; i++) {
		const char *at =
		    strstr(json_object_get_string(
			       json_object_array_get_idx(ask->input, i)),
			mark);

		if (at != NULL)
			return strndup(at + strlen(mark),
			    strspn(at + strlen(mark),
				"abcdefghijklmnopqrstuvwxyz0123456789"));
	}
	return strdup("");
}

static bool
read_ask(struct json_object *json, struct ask *ask)
{
	struct json_object *value;

	if (!json_object_object_get_ex(json, "input", &ask->input) ||
	    !json_object_is_type(ask->input, json_type_array) ||
	    !json_object_object_get_ex(json, "model", &value))
		return false;
	ask->n = json_object_array_length(ask->input);
	ask->dimensions = DIMENSIONS;
	if (json_object_object_get_ex(json, "dimensions", &value))
		ask->dimensions = (size_t)json_object_get_int(value);
	ask->is_base64 =
	    json_object_object_get_ex(json, "encoding_format", &value) &&
	    strcmp(json_object_get_string(value), "base64") == 0;
	return ask->n > 0 && ask->dimensions > 0 &&
	       ask->dimensions <= DIMENSIONS_MAX;
}

static void
answer(struct conn *c, struct ask *ask)
{
	char *script = script_of(ask);
	struct buf body = {0};

	if (strcmp(script, "numbers") == 0)
		ask->is_base64 = false;
	if (strcmp(script, "few") == 0 && ask->n > 2) {
		standin_say(c, 504, "{\"error\":{\"message\":\"late\"}}");
	} else if (strcmp(script, "hang") == 0) {
		standin_hang(c);
	} else if (strcmp(script, "garbage") == 0) {
		standin_say(c, 200, "<html>no</html>");
	} else if (atoi(script) > 0) {
		standin_say(
		    c, atoi(script), "{\"error\":{\"message\":\"no\"}}");
	} else {
		write_answer(&body, ask,
		    ask->n - (strcmp(script, "short") == 0 ? 1 : 0));
		http_answer(c, 200, &body);
	}
	counters.embedding_texts += ask->n;
	buf_free(&body);
	free(script);
}

void
embed(struct conn *c, const struct request *q)
{
	char *text = strndup(q->body, q->body_len);
	struct json_object *json = json_tokener_parse(text);
	struct ask ask = {0};

	free(text);
	if (read_ask(json, &ask))
		answer(c, &ask);
	else
		standin_say(c, 400, "{\"error\":{\"message\":\"no input\"}}");
	json_object_put(json);
}
