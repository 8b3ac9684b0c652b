/*
 * The request's body and the answer of /embeddings:
 * {"data":[{"index":0,"embedding":[0.1,…]},…],"usage":{"prompt_tokens":8}}.
 * Floats in base64 are asked for, which are read in a fraction of the time;
 * servers that do not know them answer with numbers.
 */
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/json_write.h"
#include "model/embedding.h"
#include "model/json_scan.h"
#include "model/mask.h"

_Static_assert(sizeof(float) == 4, "floats are the wire's");

bool
embedding_is_on(const struct config *config)
{
	return config->embedding_model && *config->embedding_model;
}

struct model_server
embedding_server(const struct config *config)
{
	struct model_server s = model_server(config, MODEL_AT_MAIN);

	if (*config->embedding_url != '\0') {
		s.base_url = config->embedding_url;
		s.key = "";
	}
	if (config->embedding_key && *config->embedding_key)
		s.key = config->embedding_key;
	return s;
}

void
embedding_name(const struct config *config, char out[static EMBEDDING_NAME])
{
	int n = snprintf(out, EMBEDDING_NAME, "%s", config->embedding_model);

	if (config->embedding_dimensions > 0 && n > 0 && n < EMBEDDING_NAME)
		(void)snprintf(out + n, (size_t)(EMBEDDING_NAME - n), "@%ld",
		    config->embedding_dimensions);
}

static enum err
refuse(char why[static EMBEDDING_WHY], const char *sentence)
{
	(void)snprintf(why, EMBEDDING_WHY, "%s", sentence);
	return ERR_INVALID_FIELD;
}

enum err
embedding_check(const struct config *config, char why[static EMBEDDING_WHY])
{
	const char *url = config->embedding_url;
	bool has_url = *url != '\0';

	if (has_url && !model_server_is_url(url))
		return refuse(why, "CHAT_EMBEDDING_URL: it must begin with "
				   "https:// or http://, or be "
				   "http://unix:/PATH/OF/SOCKET:/v1");
	if (!embedding_is_on(config))
		return OK;
	if (strlen(config->embedding_model) > 200)
		return refuse(
		    why, "CHAT_EMBEDDING_MODEL: no model's name is so long");
	if (!has_url && !model_is_configured(config) &&
	    (!config->embedding_key || !*config->embedding_key))
		return refuse(why, "CHAT_EMBEDDING_MODEL is set, but neither "
				   "CHAT_EMBEDDING_URL nor a model's server");
	return OK;
}

/* A table for each text: what stood before it must not change its vector. */
static void
write_text(const struct config *config, const char *text, struct buf *out)
{
	struct mask *mask = config->pii_mask ? mask_new() : NULL;
	struct buf masked = {0};

	if (!config->pii_mask) {
		json_write_text(out, NULL, text);
		return;
	}
	if (mask != NULL)
		mask_add(mask, text, strlen(text), &masked);
	if (mask == NULL || masked.failed)
		out->failed = true;
	else
		json_write_bytes(out, NULL, masked.p ? masked.p : "", masked.n);
	mask_free(mask);
	buf_free(&masked);
}

void
embedding_body(const struct config *config, const char *const *texts, size_t n,
    struct buf *out)
{
	json_write_open(out, NULL, '{');
	json_write_text(out, "model", config->embedding_model);
	json_write_open(out, "input", '[');
	for (size_t i = 0; i < n; i++)
		write_text(config, texts[i], out);
	json_write_close(out, ']');
	json_write_text(out, "encoding_format", "base64");
	if (config->embedding_dimensions > 0)
		json_write_number(
		    out, "dimensions", config->embedding_dimensions);
	json_write_close(out, '}');
}

/* One vector as it comes. */
struct vector {
	float values[EMBEDDING_DIMENSIONS_MAX];
	size_t n;
};

/* Little-endian, as every machine that Natter runs on. */
static bool
read_base64(struct json_scan *s, struct vector *v)
{
	struct json_span text = json_scan_string(s);
	size_t n = 0;

	if (text.p == NULL || sodium_base642bin((unsigned char *)v->values,
				  sizeof(v->values), text.p, text.n, "\\", &n,
				  NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return false;
	v->n = n / sizeof(float);
	return n % sizeof(float) == 0;
}

static bool
read_numbers(struct json_scan *s, struct vector *v)
{
	struct json_span number;
	char text[40];

	if (!json_scan_enter(s, '['))
		return false;
	for (v->n = 0; json_scan_element(s); v->n++) {
		if (!json_scan_value(s, &number) || number.n >= sizeof(text) ||
		    v->n == EMBEDDING_DIMENSIONS_MAX)
			return false;
		memcpy(text, number.p, number.n);
		text[number.n] = '\0';
		v->values[v->n] = strtof(text, NULL);
	}
	return !s->has_failed;
}

/* As a unit; false: it has no direction. */
static bool
scale(const struct vector *v, int16_t *out)
{
	double sum = 0;

	for (size_t i = 0; i < v->n; i++)
		sum += (double)v->values[i] * v->values[i];
	if (!isfinite(sum) || sum <= 0)
		return false;
	for (size_t i = 0; i < v->n; i++)
		out[i] = (int16_t)lrint(32767 * v->values[i] / sqrt(sum));
	return true;
}

/* Puts it where its index says; the first one says how long all are. */
static bool
place(
    struct embeddings *e, const struct vector *v, int64_t index, bool *is_there)
{
	if (v->n == 0 || index < 0 || (size_t)index >= e->n || is_there[index])
		return false;
	if (e->values == NULL) {
		e->dimensions = v->n;
		e->values = calloc(e->n * v->n, sizeof(*e->values));
	}
	if (e->values == NULL || v->n != e->dimensions)
		return false;
	is_there[index] = true;
	return scale(v, e->values + (size_t)index * v->n);
}

static bool
read_one(struct json_scan *s, struct vector *v, int64_t *index)
{
	struct json_span name, value;
	bool has_vector = false;

	if (!json_scan_enter(s, '{'))
		return false;
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "index")) {
			*index = json_scan_count(s, INT32_MAX);
		} else if (!json_span_is(name, "embedding")) {
			(void)json_scan_value(s, &value);
		} else {
			has_vector = json_scan_peek(s) == '"'
					 ? read_base64(s, v)
					 : read_numbers(s, v);
			if (!has_vector)
				return false;
		}
	}
	return has_vector;
}

/* Each text has one: those without an index come in order. */
static bool
read_data(struct json_scan *s, struct embeddings *e)
{
	bool *is_there = calloc(e->n, sizeof(*is_there));
	struct vector *v = malloc(sizeof(*v));
	bool is_fit = is_there != NULL && v != NULL && json_scan_enter(s, '[');
	size_t n = 0;

	for (; is_fit && json_scan_element(s); n++) {
		int64_t index = (int64_t)n;

		is_fit = read_one(s, v, &index) && place(e, v, index, is_there);
	}
	free(is_there);
	free(v);
	return is_fit && n == e->n;
}

static void
read_usage(struct json_scan *s, struct embeddings *e)
{
	struct json_span name, value;

	if (!json_scan_enter(s, '{')) {
		(void)json_scan_value(s, &value);
		return;
	}
	while (json_scan_member(s, &name)) {
		if (json_span_is(name, "prompt_tokens"))
			e->tokens = json_scan_count(s, INT32_MAX);
		else
			(void)json_scan_value(s, &value);
	}
}

bool
embeddings_read(const char *p, size_t len, size_t n, struct embeddings *out)
{
	struct embeddings e = {.n = n, .tokens = -1};
	struct json_span name, value;
	struct json_scan s;
	bool has_data = false, is_fit;

	json_scan_init(&s, p, len);
	is_fit = n > 0 && json_scan_enter(&s, '{');
	while (is_fit && json_scan_member(&s, &name)) {
		if (json_span_is(name, "data") && !has_data)
			is_fit = has_data = read_data(&s, &e);
		else if (json_span_is(name, "usage"))
			read_usage(&s, &e);
		else
			(void)json_scan_value(&s, &value);
	}
	if (!is_fit || !has_data || !json_scan_end(&s)) {
		embeddings_free(&e);
		return false;
	}
	*out = e;
	return true;
}

/* A number and what follows it, at `at`, which is moved on. By hand: there may
 * be half a million of them. */
static void
write_number(char **at, int16_t number)
{
	unsigned left = (unsigned)(number < 0 ? -number : number);
	char digits[6], *p = digits;

	do
		*p++ = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	if (number < 0)
		*(*at)++ = '-';
	while (p > digits)
		*(*at)++ = *--p;
	*(*at)++ = ',';
}

void
embeddings_write(const struct embeddings *e, struct buf *out)
{
	size_t n = e->n * e->dimensions;

	if (n == 0 || !buf_reserve(out, n * 7 + 2)) {
		out->failed = true;
		return;
	}
	char *at = out->p + out->n;
	*at++ = '{';
	for (size_t i = 0; i < n; i++)
		write_number(&at, e->values[i]);
	at[-1] = '}';
	out->n = (size_t)(at - out->p);
}

void
embeddings_free(struct embeddings *e)
{
	free(e->values);
	*e = (struct embeddings){0};
}
