/*
 * The servers that models are asked at: what the settings say of them, and what
 * a request to one of them (or to another that speaks OpenAI's protocol, at an
 * address and with a key of its own) has in its URL and its headers.
 *
 * Thread: any; pure. The settings own all strings.
 */
#ifndef MODEL_MODEL_SERVER_H
#define MODEL_MODEL_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct config;

enum model_place {
	MODEL_AT_MAIN,   /* OPENAI_BASE_URL */
	MODEL_AT_SECOND, /* CHAT_SECOND_BASE_URL */
	MODEL_PLACES,
};

/* Is the server's address or its key set? */
bool model_server_is_set(const struct config *config, enum model_place place);

/* Is there a model's server at all: the main one? */
bool model_is_configured(const struct config *config);

struct model_server {
	const char *base_url; /* never empty */
	const char *key;      /* "" where none is sent */
};

struct model_server
model_server(const struct config *config, enum model_place place);

/*
 * May a setting say this? "http://" or "https://" and what follows, or a Unix
 * socket as nginx writes it: "http://unix:/run/llama.sock:/v1", whose path is
 * absolute and no longer than a socket's may be (unix(7)).
 */
bool model_server_is_url(const char *base_url);

/* The path of the socket, MODEL_SOCKET_MAX bytes with its NUL at most; "" where
 * the server is reached by TCP. */
#define MODEL_SOCKET_MAX 108
void model_server_socket(
    const struct model_server *s, char out[static MODEL_SOCKET_MAX]);

/* Appends the URL of a path ("/embeddings") below the base URL, whose slashes
 * at its end do not count. A socket's host is localhost. */
void model_server_url(
    const struct model_server *s, const char *path, struct buf *out);

/* Appends the header line with the key, or nothing where none is sent; an empty
 * buffer's bytes do not move, so that buf_wipe leaves nothing of the key. */
void model_server_authorization(const struct model_server *s, struct buf *out);

#endif
