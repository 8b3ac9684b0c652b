/*
 * Hashes of the audit log's chain. Knows no database.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ctl/audit_chain.h"

static void
add(crypto_hash_sha256_state *state, const void *p, size_t n)
{
	crypto_hash_sha256_update(state, p, n);
}

void
chain_link(const unsigned char before[static CHAIN_HASH],
    const char *const parts[static CHAIN_PARTS],
    unsigned char out_hash[static CHAIN_HASH])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	add(&state, before, CHAIN_HASH);
	for (size_t i = 0; i < CHAIN_PARTS; i++) {
		char length[24];
		int n;

		if (i > 0)
			add(&state, ",", 1);
		if (parts[i] == NULL) {
			add(&state, "~", 1);
			continue;
		}
		n = snprintf(length, sizeof(length), "%zu:", strlen(parts[i]));
		add(&state, length, (size_t)n);
		add(&state, parts[i], strlen(parts[i]));
	}
	crypto_hash_sha256_final(&state, out_hash);
}

bool
chain_hash_read(const char *hex, unsigned char out_hash[static CHAIN_HASH])
{
	unsigned char hash[CHAIN_HASH];
	size_t n = 0;

	if (strlen(hex) != CHAIN_HEX - 1 ||
	    sodium_hex2bin(
		hash, sizeof(hash), hex, CHAIN_HEX - 1, NULL, &n, NULL) != 0 ||
	    n != CHAIN_HASH)
		return false;
	memcpy(out_hash, hash, CHAIN_HASH);
	return true;
}
