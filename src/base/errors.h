/*
 * The project's error values. A function that can fail returns `enum err`
 * (OK is 0) and is marked MUST_CHECK. errors.def binds each value to an HTTP
 * status, a stable code and a sentence, so that an error becomes a reply in
 * exactly one place (http/reply.c).
 *
 * Thread: any. Everything here is constant.
 */
#ifndef BASE_ERRORS_H
#define BASE_ERRORS_H

#define MUST_CHECK           __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, va) __attribute__((format(printf, fmt, va)))

enum err {
	OK = 0,
#define ERR(name, status, code, sentence) ERR_##name,
#include "base/errors.def"
#undef ERR
	ERR__MAX
};

/* The HTTP status of `e`; 200 for OK. */
int err_status(enum err e);

/* The stable machine code of `e`, such as "not_found"; "ok" for OK. */
const char *err_code(enum err e);

/* The error with this code; `other` for NULL and for none of ours. */
enum err err_from_code(const char *code, enum err other);

/* The sentence of `e` for people, ending with a full stop. */
const char *err_sentence(enum err e);

#endif
