/*
 * A stand-in for an OpenAI-compatible server, for tests and benchmarks on
 * loopback.  This file is the command line, the routes and the counters that
 * they show; what the model says is scripted by the request itself, through
 * the directives of standin.def, so that a test needs no side channel.
 *
 * Never reaches out: it only ever answers.
 */
#include <getopt.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "standin.h"
#include "base/buf.h"

enum {
	SCRIPTS_MAX = 4096,   /* distinct ones counted; then "(others)" */
	BODIES_MAX = 4 << 20, /* bytes of all requests that are kept */
};

static const char *key;                 /* NULL: nobody is asked for one */
static struct json_object *script_hits; /* directive text: requests */
static struct json_object *fail_counts; /* id: requests failed so far */
static struct buf last_head, last_body; /* of the last chat request */
static struct buf bodies;               /* of all requests, a line each */

static void
keep_body(const struct request *q)
{
	if (bodies.n + q->body_len >= BODIES_MAX)
		return;
	buf_add(&bodies, q->body, q->body_len);
	buf_putc(&bodies, '\n');
}

static void
refuse(struct conn *c, int32_t status, const char *message)
{
	struct buf body = {0};

	reply_error(&body, status, NULL, message);
	http_answer(c, status, &body);
	buf_free(&body);
}

static void
answer_json(struct conn *c, struct json_object *json)
{
	struct buf body = {0};

	buf_puts(&body,
	    json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN));
	http_answer(c, 200, &body);
	buf_free(&body);
	json_object_put(json);
}

static void
route_models(struct conn *c, const struct request *q)
{
	(void)q;
	answer_json(
	    c, json_tokener_parse(
		   "{\"object\":\"list\",\"data\":["
		   "{\"id\":\"standin-1\",\"object\":\"model\",\"created\":"
		   "1700000000,\"owned_by\":\"standin\"},"
		   "{\"id\":\"standin-2\",\"object\":\"model\",\"created\":"
		   "1700000001,\"owned_by\":\"standin\"}]}"));
}

/* Adds one to a count and returns what it was. */
static int64_t
count_up(struct json_object *counts, const char *name)
{
	struct json_object *value;
	int64_t before = 0;

	if (json_object_object_get_ex(counts, name, &value))
		before = json_object_get_int64(value);
	else if (json_object_object_length(counts) >= SCRIPTS_MAX)
		name = "(others)";
	json_object_object_add(counts, name, json_object_new_int64(before + 1));
	return before;
}

/* What status and fail say about this request. */
static int32_t
decide_status(const struct reply *r)
{
	const struct script *s = &r->script;
	const char *id = s->id ? s->id : r->label;

	if (s->fail == 0)
		return s->status ? s->status : 200;
	if (count_up(fail_counts, id) >= s->fail)
		return 200;
	return s->status ? s->status : 503;
}

/* What follows "Bearer "; the caller frees. */
static char *
key_that_came(const struct request *q)
{
	static const char scheme[] = "Bearer ";
	size_t len = 0, skip = strlen(scheme);
	const char *value = http_header(q, "authorization", &len);

	if (value == NULL || len < skip || memcmp(value, scheme, skip) != 0)
		return NULL;
	return strndup(value + skip, len - skip);
}

static void
route_chat(struct conn *c, const struct request *q)
{
	struct reply *r;
	enum standin_err err;

	last_head.n = last_body.n = 0;
	buf_add(&last_head, q->head, q->head_len);
	buf_add(&last_body, q->body, q->body_len);
	keep_body(q);
	counters.chat_requests++;
	err = reply_read(q->body, q->body_len, &r);
	if (err != STANDIN_OK) {
		refuse(c, 400,
		    err == STANDIN_BAD_SCRIPT
			? "standin: unknown directive or bad value"
			: "the body is no chat completion request");
		return;
	}
	count_up(script_hits, r->label);
	r->number = (uint32_t)counters.chat_requests;
	r->status = decide_status(r);
	r->key = key_that_came(q);
	http_begin(c, r);
}

static void
route_moderations(struct conn *c, const struct request *q)
{
	keep_body(q);
	counters.moderation_requests++;
	moderate(c, q);
}

static void
route_embeddings(struct conn *c, const struct request *q)
{
	keep_body(q);
	counters.embedding_requests++;
	embed(c, q);
}

/* What was sent here since the last reset, as it came. */
static void
route_bodies(struct conn *c, const struct request *q)
{
	(void)q;
	http_answer(c, 200, &bodies);
}

static void
route_stats(struct conn *c, const struct request *q)
{
	struct json_object *json = json_object_new_object();

	(void)q;
#define COUNTER(name)           \
	json_object_object_add( \
	    json, #name, json_object_new_int64((int64_t)counters.name));
	STANDIN_COUNTERS(COUNTER)
#undef COUNTER
	json_object_object_add(json, "scripts", json_object_get(script_hits));
	answer_json(c, json);
}

/* All headers of the last chat request, names in lower case. */
static struct json_object *
last_headers(void)
{
	struct json_object *headers = json_object_new_object();
	char *copy = strdup(buf_text(&last_head)), *rest = copy;
	char *line;

	while ((line = strsep(&rest, "\n")) != NULL) {
		char *value = strchr(line, ':');

		if (value == NULL)
			continue;
		*value++ = '\0';
		for (char *p = line; *p != '\0'; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p + 'a' - 'A');
		value += strspn(value, " \t");
		value[strcspn(value, "\r")] = '\0';
		json_object_object_add(
		    headers, line, json_object_new_string(value));
	}
	free(copy);
	return headers;
}

static void
route_last(struct conn *c, const struct request *q)
{
	struct json_object *json = json_object_new_object(), *body = NULL;

	(void)q;
	if (last_body.n > 0) {
		body = json_tokener_parse(buf_text(&last_body));
		if (body == NULL)
			body = json_object_new_string_len(
			    last_body.p, (int)last_body.n);
	}
	json_object_object_add(json, "count",
	    json_object_new_int64((int64_t)counters.chat_requests));
	json_object_object_add(json, "headers", last_headers());
	json_object_object_add(json, "body", body);
	answer_json(c, json);
}

static void
free_memory(void)
{
	json_object_put(script_hits);
	json_object_put(fail_counts);
	buf_free(&last_head);
	buf_free(&last_body);
	buf_free(&bodies);
	script_hits = fail_counts = NULL;
}

static void
forget(void)
{
	free_memory();
	script_hits = json_object_new_object();
	fail_counts = json_object_new_object();
	counters = (struct counters){
	    .connections_open = counters.connections_open,
	    .streams_open = counters.streams_open,
	};
}

static void
route_reset(struct conn *c, const struct request *q)
{
	(void)q;
	forget();
	answer_json(c, json_object_new_object());
}

static void
route_open(struct conn *c, const struct request *q)
{
	(void)q;
	http_open_gate();
	answer_json(c, json_object_new_object());
}

static const struct {
	const char *method, *path;
	http_route_fn handler;
	bool needs_key;
} routes[] = {
    {"POST", "/v1/chat/completions", route_chat, true},
    {"GET", "/v1/models", route_models, true},
    {"POST", "/v1/moderations", route_moderations, true},
    {"POST", "/v1/embeddings", route_embeddings, true},
    {"GET", "/_bodies", route_bodies, false},
    {"GET", "/_stats", route_stats, false},
    {"GET", "/_last", route_last, false},
    {"POST", "/_open", route_open, false},
    {"POST", "/_reset", route_reset, false},
};

static bool
is_allowed(const struct request *q)
{
	static const char scheme[] = "Bearer ";
	size_t len = 0, skip = strlen(scheme);
	const char *value = http_header(q, "authorization", &len);

	return key == NULL || (value != NULL && len == skip + strlen(key) &&
				  memcmp(value, scheme, skip) == 0 &&
				  memcmp(value + skip, key, strlen(key)) == 0);
}

static bool
is_same(const char *p, size_t n, const char *string)
{
	return n == strlen(string) && memcmp(p, string, n) == 0;
}

static void
route(struct conn *c, const struct request *q)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!is_same(q->path, q->path_len, routes[i].path) ||
		    !is_same(q->method, q->method_len, routes[i].method))
			continue;
		if (routes[i].needs_key && !is_allowed(q))
			refuse(c, 401, "Incorrect API key provided");
		else
			routes[i].handler(c, q);
		return;
	}
	refuse(c, 404, "no such route");
}

static void
raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* The parent may have died before prctl was heard; then die too. */
static void
die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		exit(0);
}

static int
usage(int status)
{
	printf("usage: model_standin --listen 127.0.0.1:PORT [--socket PATH] "
	       "[--key SECRET] [--die-with-parent]\n\n"
	       "Routes: POST /v1/chat/completions, /v1/moderations, "
	       "/v1/embeddings,\nGET /v1/models, /_stats, /_last, /_bodies, "
	       "POST /_open, /_reset\n"
	       "The reply to MESSAGE is \"You said: MESSAGE\", a delta for "
	       "every word; after a tool\nmessage, \"Tool said: RESULT\". "
	       "Else it follows the directives that lead the last\nuser "
	       "message, as [[name=value name=value]]:\n");
	script_help();
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"listen", required_argument, NULL, 'l'},
	    {"socket", required_argument, NULL, 's'},
	    {"key", required_argument, NULL, 'k'},
	    {"die-with-parent", no_argument, NULL, 'd'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	const char *socket = "";
	char host[64] = "";
	int port = -1, option;
	pid_t parent = getppid();
	enum standin_err err;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'l' &&
		    sscanf(optarg, "%63[0-9.]:%d", host, &port) != 2)
			return usage(2);
		else if (option == 's')
			socket = optarg;
		else if (option == 'k')
			key = optarg;
		else if (option == 'd')
			die_with(parent);
		else if (option != 'l')
			return usage(option == 'h' ? 0 : 2);
	}
	if (port < 0 || port > UINT16_MAX)
		return usage(2);
	raise_files();
	forget();
	err = http_serve(host, port, socket, route);
	if (err != STANDIN_OK)
		fprintf(stderr, "model_standin: cannot serve at %s:%d\n", host,
		    port);
	free_memory();
	return err == STANDIN_OK ? 0 : 1;
}
