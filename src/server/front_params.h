/*
 * From FastCGI parameters to struct request: which name means what, how long
 * it may be, what is made up when it is missing. Thread: any; pure.
 */
#ifndef SERVER_FRONT_PARAMS_H
#define SERVER_FRONT_PARAMS_H

#include <stddef.h>

#include "base/errors.h"

struct request;

/*
 * Fills the request from `envp` ("NAME=value", NULL-ended), copying into its
 * arena. ERR_BAD_REQUEST: no usable path or length; ERR_HEADERS_TOO_LARGE: the
 * arena's cap. The request is fit for an error reply in any case.
 */
enum err front_params_read(
    struct request *req, char **envp, size_t *out_content_length) MUST_CHECK;

#endif
