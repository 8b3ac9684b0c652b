/*
 * Opaque cursors of keyset-paged lists: base64url of a version, a key's name
 * and the last row's keys, with a 16-byte MAC over these, the list's name and
 * filters and the user, so that a client can neither make one up nor use it
 * on another list or as another user.
 *
 * Thread: any.
 */
#ifndef HTTP_CURSOR_H
#define HTTP_CURSOR_H

#include "base/errors.h"

struct request;

#define CURSOR_KEYS_MAX 3

/*
 * Makes a cursor for `list` (its name and filters, any text) after a row with
 * these keys (NULL-ended array, at most CURSOR_KEYS_MAX, each at most
 * 256 bytes). NULL beyond the cap or these.
 */
const char *
cursor_make(struct request *req, const char *list, const char *const *keys);

/*
 * Reads the query parameter `cursor`: keys[0] is NULL when there is none.
 * ERR_BAD_CURSOR for anything that cursor_make did not make for this user and
 * `list`.
 */
enum err cursor_read(struct request *req, const char *list,
    const char *keys[static CURSOR_KEYS_MAX]) MUST_CHECK;

#endif
