/*
 * What servers answer that make vectors, what does not count as an answer, and
 * what they are asked.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "model/embedding.h"

#define ONE(vector) "{\"data\":[{\"index\":0,\"embedding\":" vector "}]}"

/* 3 and 4 as little-endian floats. */
#define BASE64 "\"AABAQAAAgEA=\""

static const struct row {
	const char *body;
	size_t n;         /* texts asked about */
	const char *want; /* as embeddings_write says it; NULL: no answer */
	int64_t tokens;
} rows[] = {
    {ONE("[3,4]"), 1, "{19660,26214}", -1},
    {ONE("[0.3,-0.4]"), 1, "{19660,-26214}", -1},
    {ONE("[0,1e-20]"), 1, "{0,32767}", -1},
    {ONE(BASE64), 1, "{19660,26214}", -1},
    {ONE("\"AABAQAAAg\\/8=\""), 1, NULL, -1}, /* not a number */
    {"{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":1,"
     "\"embedding\":[0,1]},{\"index\":0,\"embedding\":[1,0]}],"
     "\"model\":\"m\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}",
	2, "{32767,0,0,32767}", 8},
    {"{\"data\":[{\"embedding\":[1]},{\"embedding\":[-1]}]}", 2,
	"{32767,-32767}", -1},
    {"{\"usage\":null,\"data\":[{\"embedding\":[1]}]}", 1, "{32767}", -1},
    /* One too few, one too many, two of one, of none, of other lengths. */
    {ONE("[1]"), 2, NULL, -1},
    {"{\"data\":[{\"embedding\":[1]},{\"embedding\":[1]}]}", 1, NULL, -1},
    {"{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":0,"
     "\"embedding\":[1]}]}",
	2, NULL, -1},
    {"{\"data\":[{\"index\":1,\"embedding\":[1]}]}", 1, NULL, -1},
    {"{\"data\":[{\"index\":-1,\"embedding\":[1]}]}", 1, NULL, -1},
    {"{\"data\":[{\"embedding\":[1]},{\"embedding\":[1,2]}]}", 2, NULL, -1},
    /* Vectors without a direction. */
    {ONE("[]"), 1, NULL, -1},
    {ONE("[0,0]"), 1, NULL, -1},
    {ONE("\"\""), 1, NULL, -1},
    {ONE("[1e300,1]"), 1, NULL, -1},
    /* No vectors. */
    {ONE("null"), 1, NULL, -1},
    {ONE("\"AABAQA\""), 1, NULL, -1},
    {ONE("\"?\""), 1, NULL, -1},
    {"{\"data\":[{\"index\":0}]}", 1, NULL, -1},
    {"{\"data\":{}}", 1, NULL, -1},
    {"{\"data\":[]}", 1, NULL, -1},
    {"{\"error\":{\"message\":\"no\"}}", 1, NULL, -1},
    {"{}", 1, NULL, -1},
    {"[]", 1, NULL, -1},
    {"", 1, NULL, -1},
    {"<html>", 1, NULL, -1},
    {"{\"data\":[{\"embedding\":[1]}]", 1, NULL, -1},
    {"{\"data\":[{\"embedding\":[1]}],\"data\":[{\"embedding\":[1]}]} x", 1,
	NULL, -1},
};

Test(embedding, answers_are_read_and_whatever_is_none_is_refused)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct embeddings e;
		struct buf out = {0};
		bool is_answer =
		    embeddings_read(row->body, strlen(row->body), row->n, &e);

		cr_expect_eq(is_answer, row->want != NULL, "%s", row->body);
		if (!is_answer)
			continue;
		embeddings_write(&e, &out);
		cr_expect_str_eq(buf_text(&out), row->want, "%s: %s", row->body,
		    buf_text(&out));
		cr_expect_eq(e.tokens, row->tokens, "%s", row->body);
		buf_free(&out);
		embeddings_free(&e);
	}
}

/* No cut of an answer is one. */
Test(embedding, a_part_of_an_answer_is_none)
{
	const char *whole = rows[5].body;
	struct embeddings e;

	for (size_t n = 0; n < strlen(whole); n++) {
		char *part = strndup(whole, n); /* for the sanitizer */

		cr_expect_not(embeddings_read(part, n, 2, &e), "%zu", n);
		free(part);
	}
}

Test(embedding, a_vector_that_is_too_long_is_refused)
{
	struct buf body = {0};
	struct embeddings e;

	buf_puts(&body, "{\"data\":[{\"embedding\":[1");
	for (int i = 1; i < EMBEDDING_DIMENSIONS_MAX; i++)
		buf_puts(&body, ",1");
	size_t fits = body.n;
	buf_puts(&body, "]}]}");
	cr_assert(embeddings_read(body.p, body.n, 1, &e));
	cr_expect_eq(e.dimensions, (size_t)EMBEDDING_DIMENSIONS_MAX);
	embeddings_free(&e);
	body.n = fits;
	buf_puts(&body, ",1]}]}");
	cr_expect_not(embeddings_read(body.p, body.n, 1, &e));
	buf_free(&body);
}

/* The cosine of what comes back is that of what came. */
Test(embedding, little_is_lost)
{
	struct buf body = {0};
	struct embeddings e;
	double x[2][300], dot = 0, got = 0, length[2] = {0, 0};

	buf_puts(&body, "{\"data\":[");
	for (int v = 0; v < 2; v++) {
		buf_puts(
		    &body, v == 0 ? "{\"embedding\":[" : ",{\"embedding\":[");
		for (int i = 0; i < 300; i++) {
			x[v][i] = sin(i * (v + 1.7)) / 20;
			length[v] += x[v][i] * x[v][i];
			buf_printf(&body, "%s%.9g", i > 0 ? "," : "", x[v][i]);
		}
		buf_puts(&body, "]}");
	}
	buf_puts(&body, "]}");
	cr_assert(embeddings_read(body.p, body.n, 2, &e));
	for (int i = 0; i < 300; i++) {
		dot += x[0][i] * x[1][i];
		got += (double)e.values[i] * e.values[300 + i];
	}
	cr_expect_float_eq(got / 32767 / 32767,
	    dot / sqrt(length[0] * length[1]), 1e-4, "%g", got);
	embeddings_free(&e);
	buf_free(&body);
}

static char empty[] = "", model[] = "m\"1", key[] = "k", url[] = "http://e/v1";

static struct config
settings(void)
{
	return (struct config){
	    .embedding_model = model,
	    .embedding_url = empty,
	    .embedding_key = empty,
	    .openai_base_url = empty,
	    .openai_api_key = empty,
	};
}

Test(embedding, what_is_asked)
{
	static const char *const texts[] = {
	    "a \"b\"", "mail anna@example.com", "or anna@example.com"};
	struct config c = settings();
	struct buf out = {0};
	char name[EMBEDDING_NAME];

	embedding_body(&c, texts, 2, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"model\":\"m\\\"1\",\"input\":[\"a \\\"b\\\"\","
	    "\"mail anna@example.com\"],\"encoding_format\":\"base64\"}");
	buf_clear(&out);
	embedding_name(&c, name);
	cr_expect_str_eq(name, "m\"1");
	c.pii_mask = true;
	c.embedding_dimensions = 256;
	embedding_body(&c, texts + 1, 2, &out);
	cr_expect_str_eq(buf_text(&out),
	    "{\"model\":\"m\\\"1\",\"input\":[\"mail [EMAIL_1]\","
	    "\"or [EMAIL_1]\"],\"encoding_format\":\"base64\","
	    "\"dimensions\":256}");
	embedding_name(&c, name);
	cr_expect_str_eq(name, "m\"1@256");
	buf_free(&out);
}

/* A server of its own does not get the model's key. */
Test(embedding, who_is_asked)
{
	struct config c = settings();
	char main_key[] = "main", main_url[] = "http://m/v1";
	char why[EMBEDDING_WHY] = "";

	cr_expect_eq(embedding_check(&c, why), ERR_INVALID_FIELD);
	cr_expect(strstr(why, "CHAT_EMBEDDING_MODEL") != NULL, "%s", why);
	c.openai_base_url = main_url;
	c.openai_api_key = main_key;
	cr_expect_eq(embedding_check(&c, why), OK);
	cr_expect_str_eq(embedding_server(&c).base_url, main_url);
	cr_expect_str_eq(embedding_server(&c).key, main_key);
	c.embedding_url = url;
	cr_expect_str_eq(embedding_server(&c).base_url, url);
	cr_expect_str_eq(embedding_server(&c).key, "");
	c.embedding_key = key;
	cr_expect_str_eq(embedding_server(&c).key, key);
	c.embedding_url = key;
	cr_expect_eq(embedding_check(&c, why), ERR_INVALID_FIELD);
	cr_expect(strstr(why, "CHAT_EMBEDDING_URL") != NULL, "%s", why);
	c.embedding_url = empty;
	c.embedding_model = empty;
	cr_expect_not(embedding_is_on(&c));
	cr_expect_eq(embedding_check(&c, why), OK);
}
