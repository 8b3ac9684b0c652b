/*
 * Writing the URL and the headers; the key is wiped.
 */
#include <string.h>

#include "base/buf.h"
#include "server/errand_json.h"

static void
add_base(struct buf *url, const char *base)
{
	size_t n = strlen(base);

	while (n > 0 && base[n - 1] == '/')
		n--;
	buf_add(url, base, n);
}

struct errand *
errand_post_json(
    struct relay *r, const struct errand_json *post, errand_fn fn, void *arg)
{
	const char *headers[4] = {"Content-Type: application/json"};
	struct buf url = {0}, key = {0}, accept = {0};
	struct errand *e = NULL;
	size_t n = 1;

	add_base(&url, post->server.base_url);
	buf_puts(&url, post->path);
	if (post->server.key[0] != '\0') {
		buf_puts(&key, "Authorization: Bearer ");
		buf_puts(&key, post->server.key);
		headers[n++] = buf_text(&key);
	}
	if (post->accept != NULL) {
		buf_puts(&accept, "Accept: ");
		buf_puts(&accept, post->accept);
		headers[n] = buf_text(&accept);
	}
	if (!url.failed && !key.failed && !accept.failed && !post->body->failed)
		e = errand_start(r,
		    &(struct errand_ask){
			.url = buf_text(&url),
			.headers = headers,
			.body = post->body->p,
			.n = post->body->n,
			.timeout_ms = post->timeout_ms,
			.max_bytes = post->max_bytes,
			.reach = ERRAND_TRUSTED,
		    },
		    fn, arg);
	if (key.n > 0)
		explicit_bzero(key.p, key.n);
	buf_free(&accept);
	buf_free(&key);
	buf_free(&url);
	return e;
}
