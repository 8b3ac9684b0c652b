/*
 * What one chunk of a model's stream costs the relay: prints nanoseconds per
 * chunk for several ways in which the bytes arrive, and for json-c parsing the
 * same object, to compare. Run it by hand; nothing depends on its numbers.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "model/model.h"

#define CHUNKS 1000
#define ROUNDS 200

/* As OpenAI sends them, around the text of one delta. */
#define HEAD                                                                  \
	"{\"id\":\"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012\",\"object\":"      \
	"\"chat.completion.chunk\",\"created\":1731000000,\"model\":"         \
	"\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\","            \
	"\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0," \
	"\"delta\":{\"content\":\""
#define TAIL                                                             \
	"\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null," \
	"\"obfuscation\":\"a1b2c3d4e5\"}"

static size_t n_text;

static void
on_text(void *arg, const char *text, size_t n)
{
	(void)arg;
	(void)text;
	n_text += n;
}

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Feeds `in` again and again in pieces of `step` bytes. */
static void
bench_feed(const char *what, const struct buf *in, size_t step)
{
	struct model_parser p;
	double began, best = 1e18, took;
	size_t n;

	model_parser_init(&p, on_text, NULL, 1 << 20);
	for (int round = 0; round < ROUNDS; round++) {
		began = now_ns();
		for (size_t at = 0; at < in->n; at += n) {
			n = in->n - at < step ? in->n - at : step;
			model_parser_feed(&p, in->p + at, n);
		}
		took = now_ns() - began;
		best = took < best ? took : best;
	}
	printf("%-40s %7.0f ns/chunk\n", what, best / CHUNKS);
	model_parser_free(&p);
}

static void
bench_json_c(const char *json)
{
	struct json_tokener *t = json_tokener_new_ex(32);
	double began, best = 1e18, took;

	for (int round = 0; round < ROUNDS; round++) {
		began = now_ns();
		for (int i = 0; i < CHUNKS; i++) {
			json_tokener_reset(t);
			json_object_put(
			    json_tokener_parse_ex(t, json, (int)strlen(json)));
		}
		took = now_ns() - began;
		best = took < best ? took : best;
	}
	printf("%-40s %7.0f ns/chunk\n", "json-c, one tokener, no SSE",
	    best / CHUNKS);
	json_tokener_free(t);
}

static void
fill(struct buf *in, const char *text)
{
	buf_clear(in);
	for (int i = 0; i < CHUNKS; i++)
		buf_printf(in, "data: %s%s%s\n\n", HEAD, text, TAIL);
}

int
main(void)
{
	struct buf in = {0};

	fill(&in, " hello");
	bench_feed("a chunk at a time", &in, in.n / CHUNKS);
	bench_feed("reads of 16 KiB", &in, 16384);
	bench_feed("pieces of 100 bytes", &in, 100);
	fill(&in, "\\n\\u00e9");
	bench_feed("a chunk at a time, with escapes", &in, in.n / CHUNKS);
	bench_json_c(HEAD " hello" TAIL);
	buf_free(&in);
	return n_text > 0 ? 0 : 1;
}
