/*
 * Fetches and reads a JWKS. Owns what it makes until it is handed out. Must
 * not know when to fetch.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/jwks.h"
#include "base/buf.h"
#include "base/json.h"

#define CONNECT_MS 2000L

static enum err
refuse(char why[static SITE_WHY], const char *source, const char *reason)
{
	(void)snprintf(why, SITE_WHY, "%s: %s", source, reason);
	return ERR_UNAVAILABLE;
}

static enum err
read_all(int fd, struct buf *out)
{
	char part[4096];
	ssize_t n;
	while ((n = read(fd, part, sizeof part)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_UNAVAILABLE;
		buf_add(out, part, (size_t)n);
		if (out->failed)
			return ERR_TOO_LARGE;
	}
	return OK;
}

/* Without O_NONBLOCK a FIFO in the file's place would hold the thread. */
static enum err
fetch_file(const char *path, struct buf *out, char why[static SITE_WHY])
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return refuse(why, path, strerror(errno));
	enum err e = ERR_UNAVAILABLE;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		(void)refuse(why, path, "is not a file");
	else if ((e = read_all(fd, out)) != OK)
		e = refuse(why, path,
		    out->failed ? "is larger than 128 KiB" : strerror(errno));
	(void)close(fd);
	return e;
}

static size_t
take(char *p, size_t size, size_t n, void *arg)
{
	struct buf *out = arg;
	buf_add(out, p, size * n); /* size is 1 */
	return out->failed ? 0 : n;
}

static bool
set_options(CURL *curl, const char *url, struct buf *out)
{
	bool is_plain = strncasecmp(url, "http:", 5) == 0;
	bool ok = true;
#define SET(option, value) \
	(ok = ok && curl_easy_setopt(curl, option, value) == CURLE_OK)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PROTOCOLS_STR, is_plain ? "http" : "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	SET(CURLOPT_TIMEOUT_MS, JWKS_TIMEOUT_MS);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_ACCEPT_ENCODING, NULL); /* no bombs */
	SET(CURLOPT_USERAGENT, "natter");
	SET(CURLOPT_WRITEFUNCTION, take);
	SET(CURLOPT_WRITEDATA, out);
	if (is_plain) /* this host alone: never through a proxy */
		SET(CURLOPT_NOPROXY, "*");
#undef SET
	return ok;
}

static enum err
fetch_url(const char *url, struct buf *out, char why[static SITE_WHY])
{
	long status = 0;
	CURL *curl = curl_easy_init();
	if (!curl || !set_options(curl, url, out)) {
		curl_easy_cleanup(curl);
		return refuse(why, url, "libcurl has no memory");
	}
	CURLcode rc = curl_easy_perform(curl);
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	if (out->failed)
		return refuse(why, url, "is larger than 128 KiB");
	if (rc != CURLE_OK)
		return refuse(why, url, curl_easy_strerror(rc));
	if (status != 200)
		return refuse(why, url, "does not answer 200");
	return OK;
}

enum err
jwks_fetch(const char *source, struct buf *out, char why[static SITE_WHY])
{
	struct buf text = {.cap = JWKS_BYTES_MAX};
	enum err e = site_is_url(source) ? fetch_url(source, &text, why)
					 : fetch_file(source, &text, why);
	if (e)
		buf_free(&text);
	else
		*out = text;
	return e;
}

static bool
is_there(const struct jwks *set, const struct site_key *key)
{
	for (size_t i = 0; i < set->n; i++) {
		if (set->keys[i].alg == key->alg &&
		    strcmp(set->keys[i].kid, key->kid) == 0)
			return true;
	}
	return false;
}

/* NULL when the key was taken, else why not. */
static const char *
add(struct jwks *set, struct json_object *jwk, unsigned algs)
{
	struct site_key key = {0};
	const char *why = site_key_read(jwk, &key);
	if (why)
		return why;
	if (!(algs & 1U << key.alg))
		why = "a key of an algorithm that is not configured";
	else if (is_there(set, &key))
		why = "a kid that is there twice";
	else if (set->n == JWKS_KEYS_MAX)
		why = "more than 32 keys";
	if (why)
		site_key_clear(&key);
	else
		set->keys[set->n++] = key;
	return why;
}

enum err
jwks_read(const char *p, size_t n, unsigned algs, struct jwks *out)
{
	AUTO_JSON struct json_object *o = NULL;
	struct json_object *keys = NULL;
	struct jwks set = {0};
	const char *why = NULL;
	if (json_parse_object(p, n, &o) != OK ||
	    !json_object_object_get_ex(o, "keys", &keys) ||
	    !json_object_is_type(keys, json_type_array)) {
		out->n = 0;
		(void)snprintf(out->why, SITE_WHY, "it is not a JWKS");
		return ERR_UNAVAILABLE;
	}
	for (size_t i = 0; i < json_object_array_length(keys); i++) {
		const char *left =
		    add(&set, json_object_array_get_idx(keys, i), algs);
		why = left ? left : why;
	}
	if (set.n == 0 && !why)
		why = "it has no keys";
	(void)snprintf(set.why, sizeof set.why, "%s", why ? why : "");
	*out = set;
	return set.n > 0 ? OK : ERR_UNAVAILABLE;
}

void
jwks_clear(struct jwks *set)
{
	for (size_t i = 0; i < set->n; i++)
		site_key_clear(&set->keys[i]);
	*set = (struct jwks){0};
}
