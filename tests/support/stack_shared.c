/*
 * The stack's description as a line of hex in the environment. Owns the stack
 * in the process that started it.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "stack_shared.h"

#define VARIABLE "NATTER_SHARED_STACK"

static struct stack shared; /* in the program's first process alone */

void
stack_share(const struct stack_options *options)
{
	char hex[sizeof(shared) * 2 + 1];

	stack_start(&shared, options);
	sodium_bin2hex(
	    hex, sizeof(hex), (const unsigned char *)&shared, sizeof(shared));
	if (setenv(VARIABLE, hex, 1) != 0)
		abort();
}

void
stack_take(struct stack *s)
{
	const char *hex = getenv(VARIABLE);

	if (hex == NULL || sodium_hex2bin((unsigned char *)s, sizeof(*s), hex,
			       sizeof(*s) * 2, NULL, NULL, NULL) != 0) {
		fputs("stack_shared: nobody shared a stack\n", stderr);
		abort();
	}
}

void
stack_unshare(void)
{
	stack_stop(&shared);
}
