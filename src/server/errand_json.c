/*
 * Writing the URL and the headers; the key is wiped.
 */
#include "base/buf.h"
#include "server/errand_json.h"

struct errand *
errand_post_json(
    struct relay *r, const struct errand_json *post, errand_fn fn, void *arg)
{
	const char *headers[4] = {"Content-Type: application/json"};
	struct buf url = {0}, key = {0}, accept = {0};
	struct errand *e = NULL;
	char socket[MODEL_SOCKET_MAX];
	size_t n = 1;

	model_server_socket(&post->server, socket);
	model_server_url(&post->server, post->path, &url);
	model_server_authorization(&post->server, &key);
	if (key.n > 0)
		headers[n++] = buf_text(&key);
	if (post->accept != NULL) {
		buf_puts(&accept, "Accept: ");
		buf_puts(&accept, post->accept);
		headers[n] = buf_text(&accept);
	}
	if (!url.failed && !key.failed && !accept.failed && !post->body->failed)
		e = errand_start(r,
		    &(struct errand_ask){
			.url = buf_text(&url),
			.socket = socket,
			.headers = headers,
			.body = post->body->p,
			.n = post->body->n,
			.timeout_ms = post->timeout_ms,
			.max_bytes = post->max_bytes,
			.reach = ERRAND_TRUSTED,
		    },
		    fn, arg);
	buf_free(&accept);
	buf_wipe(&key);
	buf_free(&url);
	return e;
}
