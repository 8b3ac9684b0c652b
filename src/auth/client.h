/*
 * What a request says about the device that it comes from, in the form that
 * the session's row keeps.
 *
 * Thread: any.
 */
#ifndef AUTH_CLIENT_H
#define AUTH_CLIENT_H

struct request;

#define CLIENT_DEVICE 32

/*
 * Which device asks, as a refresh compares it (sessions.rt_ctx): SHA-256 of
 * the browser's id where its cookies speak for the request (device_cookie),
 * else of the device's own id where it sends one (X-Natter-Device), else of
 * its User-Agent.
 */
void client_device(
    const struct request *req, unsigned char out_hash[static CLIENT_DEVICE]);

/*
 * The browser's id where its cookies speak for the request, else the device's
 * own, when it is one that can be a secret: 22 characters or more (128 bits in
 * base64url). Only such a device is told from others where passwords are
 * guessed; NULL otherwise.
 */
const char *client_device_secret(const struct request *req);

/* The client's address, for an inet; NULL when it is not one (a socket). */
const char *client_address(const struct request *req);

/*
 * The network that counts as one client: an IPv4 address itself, the first 64
 * bits of an IPv6 one, which is what one customer gets. In the request's
 * arena; NULL when there is no address.
 */
const char *client_network(struct request *req);

/*
 * The User-Agent, cut and cleaned, in the request's arena; NULL when there is
 * none.
 */
const char *client_agent(struct request *req);

#endif
