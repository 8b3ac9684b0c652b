/*
 * One request by libcurl's easy interface. Owns nothing after it.
 */
#include <curl/curl.h>

#include "base/config.h"
#include "model/embedding_fetch.h"

static size_t
take(char *p, size_t size, size_t n, void *arg)
{
	struct buf *out = arg;

	buf_add(out, p, size * n); /* size is 1 */
	return out->failed ? 0 : n;
}

/* The key is wiped. */
static struct curl_slist *
make_headers(const struct model_server *server)
{
	struct curl_slist *list =
	    curl_slist_append(NULL, "Content-Type: application/json");
	struct curl_slist *longer = list;
	struct buf key = {0};

	model_server_authorization(server, &key);
	if (key.failed)
		longer = NULL;
	else if (list != NULL && key.n > 0)
		longer = curl_slist_append(list, buf_text(&key));
	buf_wipe(&key);
	if (longer == NULL)
		curl_slist_free_all(list);
	return longer;
}

struct post {
	const struct config *config;
	struct buf url, body, answer;
	char socket[MODEL_SOCKET_MAX]; /* "": by TCP */
	struct curl_slist *headers;
};

static bool
set_options(CURL *curl, struct post *p)
{
	bool ok = true;

#define SET(option, value) \
	(ok = ok && curl_easy_setopt(curl, option, value) == CURLE_OK)
	SET(CURLOPT_URL, buf_text(&p->url));
	if (p->socket[0] != '\0')
		SET(CURLOPT_UNIX_SOCKET_PATH, p->socket);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROXY, ""); /* whatever the environment says */
	SET(CURLOPT_TIMEOUT_MS, p->config->embedding_timeout_ms);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_HTTPHEADER, p->headers);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->body.n);
	SET(CURLOPT_POSTFIELDS, p->body.p);
	SET(CURLOPT_WRITEFUNCTION, take);
	SET(CURLOPT_WRITEDATA, &p->answer);
#undef SET
	return ok;
}

static enum err
perform(struct post *p, struct embeddings *out, const char **out_why)
{
	CURL *curl = curl_easy_init();
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	long status = 0;

	if (curl != NULL && !p->url.failed && !p->body.failed &&
	    p->headers != NULL && set_options(curl, p))
		rc = curl_easy_perform(curl);
	if (curl != NULL)
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	*out_why = curl_easy_strerror(rc);
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return ERR_MODEL_TIMEOUT;
	if (rc != CURLE_OK)
		return ERR_MODEL_FAILED;
	*out_why = "the server refused it";
	if (status / 100 != 2)
		return ERR_MODEL_FAILED;
	*out_why = "the server's answer cannot be understood";
	return embeddings_read(p->answer.p, p->answer.n, 1, out)
		   ? OK
		   : ERR_MODEL_FAILED;
}

enum err
embedding_fetch(const struct config *config, const char *text,
    struct embeddings *out, const char **out_why)
{
	struct model_server server = embedding_server(config);
	struct post p = {
	    .config = config,
	    .answer = {.cap = EMBEDDING_ANSWER_MAX(1)},
	    .headers = make_headers(&server),
	};
	enum err e;

	model_server_socket(&server, p.socket);
	model_server_url(&server, "/embeddings", &p.url);
	embedding_body(config, &text, 1, &p.body);
	e = perform(&p, out, out_why);
	curl_slist_free_all(p.headers);
	buf_free(&p.url);
	buf_free(&p.body);
	buf_free(&p.answer);
	return e;
}
