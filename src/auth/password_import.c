/*
 * PBKDF2 by libcrypto (OpenSSL), bcrypt by libcrypt (libxcrypt). Owns no state.
 * Must not know users, slots, or how our own hashes look.
 */
#include <crypt.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "auth/password_import.h"

#define PBKDF2_PREFIX "pbkdf2_sha256$"
#define PBKDF2_BYTES  32
#define BCRYPT_TEXT   60

struct pbkdf2 {
	int iterations;
	const char *salt;
	size_t salt_len;
	unsigned char hash[PBKDF2_BYTES];
};

/* A number of digits only, up to the `end` character, within the bounds. */
static bool
read_number(const char **p, char end, long min, long max, int *out)
{
	size_t digits = strspn(*p, "0123456789");
	if (digits == 0 || digits > 8 || (*p)[digits] != end)
		return false;
	long n = strtol(*p, NULL, 10);
	if (n < min || n > max)
		return false;
	*out = (int)n;
	*p += digits + 1;
	return true;
}

static bool
read_pbkdf2(const char *text, struct pbkdf2 *out)
{
	static const char prefix[] = PBKDF2_PREFIX;
	struct pbkdf2 h = {0};
	size_t n = 0;
	const char *p = text;
	if (strncmp(p, prefix, sizeof prefix - 1) != 0)
		return false;
	p += sizeof prefix - 1;
	if (!read_number(&p, '$', PBKDF2_ITERATIONS_MIN, PBKDF2_ITERATIONS_MAX,
		&h.iterations))
		return false;
	h.salt = p;
	h.salt_len = strcspn(p, "$");
	if (h.salt_len == 0 || p[h.salt_len] != '$')
		return false;
	p += h.salt_len + 1;
	if (sodium_base642bin(h.hash, sizeof h.hash, p, strlen(p), NULL, &n,
		NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    n != sizeof h.hash)
		return false;
	*out = h;
	return true;
}

static bool
is_bcrypt(const char *text)
{
	static const char letters[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz0123456789";
	int cost = 0;
	if (strlen(text) != BCRYPT_TEXT || strncmp(text, "$2", 2) != 0 ||
	    !strchr("aby", text[2]) || text[3] != '$')
		return false;
	const char *p = text + 4;
	if (!read_number(&p, '$', BCRYPT_COST_MIN, BCRYPT_COST_MAX, &cost))
		return false;
	return p == text + 7 && strspn(p, letters) == BCRYPT_TEXT - 7;
}

static enum err
verify_pbkdf2(const struct pbkdf2 *h, const char *password, size_t n)
{
	unsigned char got[PBKDF2_BYTES];
	if (PKCS5_PBKDF2_HMAC(password, (int)n, (const unsigned char *)h->salt,
		(int)h->salt_len, h->iterations, EVP_sha256(), sizeof got,
		got) != 1)
		return ERR_BUSY;
	bool is_same = sodium_memcmp(got, h->hash, sizeof got) == 0;
	sodium_memzero(got, sizeof got);
	return is_same ? OK : ERR_INVALID_CREDENTIALS;
}

static enum err
verify_bcrypt(const char *hash, const char *password)
{
	/* 32 KiB: not for the stack of a thread. */
	struct crypt_data *data = calloc(1, sizeof *data);
	if (!data)
		return ERR_BUSY;
	/* Not crypt_r: AddressSanitizer takes its place and loses libcrypt. */
	const char *got = crypt_rn(password, hash, data, sizeof *data);
	bool is_same = got && strlen(got) == BCRYPT_TEXT &&
		       sodium_memcmp(got, hash, BCRYPT_TEXT) == 0;
	sodium_memzero(data, sizeof *data);
	free(data);
	return is_same ? OK : ERR_INVALID_CREDENTIALS;
}

bool
password_import_is_known(const char *hash)
{
	struct pbkdf2 h;
	return is_bcrypt(hash) || read_pbkdf2(hash, &h);
}

enum err
password_import_verify(const char *hash, const char *password, size_t n)
{
	struct pbkdf2 h;
	if (read_pbkdf2(hash, &h))
		return verify_pbkdf2(&h, password, n);
	if (is_bcrypt(hash))
		return verify_bcrypt(hash, password);
	return ERR_INVALID_CREDENTIALS;
}
