/*
 * libcurl for tests, with server-sent events taken apart by the project's own
 * parser, which has tests of its own.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "exchanges.h"
#include "http_client.h"
#include "model/sse_parse.h"

#define EVENTS_MAX 100000

struct call {
	const struct ask *ask;
	struct answer *answer;
	struct sse_parser sse;
	bool is_sse;
};

/* A NUL after the bytes, so that tests may use them as strings. */
static void
terminate(struct buf *b)
{
	(void)buf_text(b);
	assert(!b->failed);
}

static void
add_text(struct answer *a, const char *data)
{
	struct json_object *o = json_tokener_parse(data), *text;

	if (json_object_object_get_ex(o, "text", &text))
		buf_add(&a->text, json_object_get_string(text),
		    (size_t)json_object_get_string_len(text));
	json_object_put(o);
}

static void
event_came(void *arg, const char *event, const char *data, size_t n)
{
	struct call *c = arg;
	struct answer *a = c->answer;

	if (c->ask->hang_up_after > 0 &&
	    (int)a->n_events >= c->ask->hang_up_after)
		return;
	a->events = realloc(a->events, (a->n_events + 1) * sizeof(*a->events));
	assert(a->events != NULL && a->n_events < EVENTS_MAX);
	a->events[a->n_events++] =
	    (struct event){.name = strdup(event), .data = strndup(data, n)};
	if (strcmp(event, "delta") == 0)
		add_text(a, a->events[a->n_events - 1].data);
	if (c->ask->on_event != NULL)
		c->ask->on_event(c->ask->arg, (int)a->n_events);
}

static size_t
body_came(char *p, size_t size, size_t count, void *arg)
{
	struct call *c = arg;
	size_t n = size * count;

	buf_add(&c->answer->body, p, n);
	if (c->is_sse)
		sse_parser_feed(&c->sse, p, n);
	if (c->ask->hang_up_after > 0 &&
	    (int)c->answer->n_events >= c->ask->hang_up_after)
		return CURL_WRITEFUNC_ERROR;
	return n;
}

static size_t
head_came(char *p, size_t size, size_t count, void *arg)
{
	struct call *c = arg;
	size_t n = size * count;

	if (n > 5 && strncmp(p, "HTTP/", 5) == 0)
		buf_clear(&c->answer->head);
	buf_add(&c->answer->head, p, n);
	if (n > 30 &&
	    strncasecmp(p, "Content-Type: text/event-stream", 31) == 0)
		c->is_sse = true;
	return n;
}

static struct curl_slist *
make_headers(const struct ask *ask)
{
	struct curl_slist *list = NULL;
	struct buf line = {0};

	if (ask->token != NULL) {
		buf_printf(&line, "Authorization: Bearer %s", ask->token);
		terminate(&line);
		list = curl_slist_append(list, line.p);
		buf_clear(&line);
	}
	if (ask->json != NULL) {
		buf_printf(&line, "Content-Type: %s",
		    ask->type != NULL ? ask->type : "application/json");
		terminate(&line);
		list = curl_slist_append(list, line.p);
	}
	for (size_t i = 0; i < 8 && ask->headers[i] != NULL; i++)
		list = curl_slist_append(list, ask->headers[i]);
	buf_free(&line);
	return curl_slist_append(list, "Expect:");
}

static void
set_options(CURL *curl, struct call *c, const char *url)
{
	const struct ask *ask = c->ask;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
	    ask->timeout_ms != 0 ? ask->timeout_ms : 20000L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_came);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, head_came);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
	if (ask->json != NULL) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->json);
		curl_easy_setopt(
		    curl, CURLOPT_POSTFIELDSIZE, (long)strlen(ask->json));
	}
	if (ask->unix_socket != NULL) {
		curl_easy_setopt(
		    curl, CURLOPT_UNIX_SOCKET_PATH, ask->unix_socket);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
	}
	if (ask->jar != NULL) {
		curl_easy_setopt(curl, CURLOPT_COOKIEFILE, ask->jar);
		curl_easy_setopt(curl, CURLOPT_COOKIEJAR, ask->jar);
	}
	if (ask->method != NULL)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
	if (ask->method != NULL && strcmp(ask->method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
}

/* The project's parser passes ids over: the i-th event's is in the body. */
static void
read_ids(struct answer *a)
{
	const char *line = a->body.p, *id = "";
	size_t i = 0, n, id_len = 0;

	/* Events of OpenAI's protocol have neither ids nor names. */
	if (a->n_events > 0 && *a->events[0].name == '\0')
		return;
	for (; i < a->n_events && *line != '\0';
	     line += n + (line[n] == '\n')) {
		n = strcspn(line, "\n");
		if (n > 4 && strncmp(line, "id: ", 4) == 0) {
			id = line + 4;
			id_len = n - 4;
		} else if (strncmp(line, "event: ", 7) == 0) {
			a->events[i++].id = strndup(id, id_len);
			id_len = 0;
		}
	}
	assert(i == a->n_events);
}

void
http_ask(const struct ask *ask, struct answer *a)
{
	struct call c = {.ask = ask, .answer = a};
	struct curl_slist *headers = make_headers(ask);
	struct buf url = {0};
	CURL *curl = curl_easy_init();

	assert(curl != NULL);
	*a = (struct answer){0};
	buf_printf(&url, "%s%s", ask->base, ask->path);
	terminate(&url);
	sse_parser_init(&c.sse, event_came, &c, 64 << 20, 64 << 20);
	set_options(curl, &c, url.p);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	a->code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a->status);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	sse_parser_free(&c.sse);
	buf_free(&url);
	terminate(&a->head);
	terminate(&a->body);
	terminate(&a->text);
	read_ids(a);
	exchange_keep(ask, a);
}

void
answer_clear(struct answer *a)
{
	for (size_t i = 0; i < a->n_events; i++) {
		free(a->events[i].id);
		free(a->events[i].name);
		free(a->events[i].data);
	}
	free(a->events);
	buf_free(&a->head);
	buf_free(&a->body);
	buf_free(&a->text);
	*a = (struct answer){0};
}

const char *
answer_header(const struct answer *a, const char *name)
{
	static _Thread_local char value[1024];
	size_t n = strlen(name);

	for (const char *line = a->head.p; line != NULL && *line != '\0';) {
		const char *end = strstr(line, "\r\n");

		if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
			line += n + 1 + strspn(line + n + 1, " ");
			snprintf(value, sizeof(value), "%.*s",
			    (int)(end - line), line);
			return value;
		}
		line = end == NULL ? NULL : end + 2;
	}
	return NULL;
}

static const char *
text_at(const char *json, const char *path)
{
	static _Thread_local char values[8][65536];
	static _Thread_local unsigned next;
	struct json_object *root = json_tokener_parse(json), *o = root;
	char *value = values[next++ % 8];
	char copy[256], *save = NULL;

	value[0] = '\0';
	snprintf(copy, sizeof(copy), "%s", path);
	for (char *key = strtok_r(copy, ".", &save); key != NULL && o != NULL;
	     key = strtok_r(NULL, ".", &save)) {
		if (json_object_is_type(o, json_type_array))
			o = json_object_array_get_idx(o, (size_t)atoi(key));
		else if (!json_object_object_get_ex(o, key, &o))
			o = NULL;
	}
	if (o != NULL)
		snprintf(value, 65536, "%s", json_object_get_string(o));
	json_object_put(root);
	return value;
}

const char *
answer_text(const struct answer *a, const char *path)
{
	return text_at(a->body.p, path);
}

const char *
answer_event_text(const struct answer *a, const char *event, const char *path)
{
	for (size_t i = a->n_events; i > 0; i--)
		if (strcmp(a->events[i - 1].name, event) == 0)
			return text_at(a->events[i - 1].data, path);
	return "";
}

bool
answer_ends_with(const struct answer *a, const char *event)
{
	return a->n_events > 0 &&
	       strcmp(a->events[a->n_events - 1].name, event) == 0;
}
