/*
 * Hashes and checks codes. Owns no state. Must not know who makes them.
 */
#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "auth/invite.h"
#include "auth/queries.h"
#include "http/request.h"

void
invite_hash(const char *code, unsigned char out_hash[static INVITE_HASH])
{
	_Static_assert(INVITE_HASH == crypto_hash_sha256_BYTES, "SHA-256");
	unsigned char text[INVITE_CODE];
	size_t n = 0;
	for (const char *p = code; *p && n < sizeof text; p++) {
		unsigned char c = (unsigned char)*p;
		if (c != '-' && !isspace(c))
			text[n++] = (unsigned char)tolower(c);
	}
	(void)crypto_hash_sha256(out_hash, text, n);
	sodium_memzero(text, sizeof text);
}

enum err
invite_check(struct request *req, const char *code, const char **out_hash)
{
	unsigned char hash[INVITE_HASH];
	if (!code)
		return request_fail(req, ERR_INVITE_INVALID, "no invitation");
	invite_hash(code, hash);
	const char *text = queries_bytea(req->arena, hash, sizeof hash);
	if (!text)
		return ERR_TOO_LARGE;
	struct pg_call call = {
	    .query = &auth_queries[AUTH_INVITE_CHECK],
	    .params = {text},
	};
	enum err e = pg_run(req->services->pg, NULL, &call, 1);
	if (e)
		return request_fail(req, e, pg_why(req->services->pg));
	if (pg_flag(call.result, 0, 0))
		*out_hash = text;
	else
		e = request_fail(req, ERR_INVITE_INVALID, "no such invitation");
	pg_calls_clear(&call, 1);
	return e;
}
