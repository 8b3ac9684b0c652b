/*
 * Access tokens for benchmarks, minted with an installation's own key ring:
 * reads "user session jti conversation" lines, writes "token conversation".
 * Ten thousand sign-ins would take minutes of hashing.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auth/access_token.h"
#include "base/arena.h"
#include "base/keyring.h"

#define ARENA_BYTES ((size_t)64 << 10)

int
main(int argc, char **argv)
{
	struct keyring *ring = NULL;
	struct access_rules rules = {
	    .issuer = "natter", .audience = "chat-api"};
	struct access_claims claims = {.issued_s = time(NULL)};
	struct arena *a = arena_new(ARENA_BYTES);
	char conversation[ID_TEXT], why[KEYRING_WHY] = "";
	const char *token;

	if (argc != 2 || sodium_init() < 0 || a == NULL ||
	    keyring_load(argv[1], &ring, why) != OK) {
		fprintf(stderr, "usage: bench_tokens KEYS <LINES: %s\n", why);
		return 2;
	}
	rules.keys = ring;
	claims.expires_s = claims.issued_s + ACCESS_LIFE_MAX;
	while (scanf("%36s %36s %36s %36s", claims.user_id, claims.session_id,
		   claims.jti, conversation) == 4) {
		arena_reset(a, ARENA_BYTES);
		if (access_token_make(&rules, &claims, a, &token) != OK)
			return 1;
		printf("%s %s\n", token, conversation);
	}
	arena_free(a);
	keyring_free(ring);
	return fflush(stdout) == 0 ? 0 : 1;
}
