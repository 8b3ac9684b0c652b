/*
 * Reads a client's marks from a request. Owns nothing, knows no rows.
 */
#include <arpa/inet.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "auth/client.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/text.h"
#include "http/request.h"

#define AGENT_MAX     512 /* bytes of the User-Agent that are kept */
#define DEVICE_SECRET 22  /* fewest characters of an id that none can guess */
#define NETWORK_BYTES 8   /* of an IPv6 address */

static void
add_text(crypto_hash_sha256_state *state, const char *text)
{
	(void)crypto_hash_sha256_update(
	    state, (const unsigned char *)text, strlen(text));
}

void
client_device(
    const struct request *req, unsigned char out_hash[static CLIENT_DEVICE])
{
	_Static_assert(CLIENT_DEVICE == crypto_hash_sha256_BYTES, "SHA-256");
	crypto_hash_sha256_state state;
	(void)crypto_hash_sha256_init(&state);
	if (req->device_cookie && *req->device_cookie) {
		add_text(&state, "cookie:");
		add_text(&state, req->device_cookie);
	} else if (req->device && *req->device) {
		add_text(&state, "device:");
		add_text(&state, req->device);
	} else {
		add_text(&state, "agent:");
		add_text(&state, req->user_agent);
	}
	(void)crypto_hash_sha256_final(&state, out_hash);
}

const char *
client_device_secret(const struct request *req)
{
	const char *id = req->device_cookie ? req->device_cookie : req->device;
	return id && strlen(id) >= DEVICE_SECRET ? id : NULL;
}

/* An IPv4 address in IPv6's clothes is the same client without them. */
const char *
client_address(const struct request *req)
{
	static const char mapped[] = "::ffff:";
	struct in6_addr bytes;
	const char *ip = req->remote_addr;
	if (strncmp(ip, mapped, sizeof mapped - 1) == 0 &&
	    inet_pton(AF_INET, ip + sizeof mapped - 1, &bytes) == 1)
		return ip + sizeof mapped - 1;
	if (inet_pton(AF_INET, ip, &bytes) == 1 ||
	    inet_pton(AF_INET6, ip, &bytes) == 1)
		return ip;
	return NULL;
}

const char *
client_network(struct request *req)
{
	struct in6_addr bytes;
	char text[INET6_ADDRSTRLEN];
	const char *ip = client_address(req);
	if (!ip || inet_pton(AF_INET6, ip, &bytes) != 1)
		return ip;
	memset(bytes.s6_addr + NETWORK_BYTES, 0,
	    sizeof bytes.s6_addr - NETWORK_BYTES);
	return inet_ntop(AF_INET6, &bytes, text, sizeof text)
		   ? arena_strdup(req->arena, text)
		   : NULL;
}

const char *
client_agent(struct request *req)
{
	/* An invalid byte becomes three. */
	struct buf clean = {.cap = (size_t)AGENT_MAX * 3};
	size_t n = strnlen(req->user_agent, AGENT_MAX);
	if (n == 0)
		return NULL;
	text_append_clean(&clean, req->user_agent, n);
	const char *agent = clean.failed
				? NULL
				: arena_strndup(req->arena, clean.p,
				      text_prefix(clean.p, clean.n, AGENT_MAX));
	buf_free(&clean);
	return agent;
}
