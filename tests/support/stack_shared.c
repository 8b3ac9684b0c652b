/*
 * The stacks' descriptions as lines of hex in the environment. Owns the stacks
 * in the process that started them.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "stack_shared.h"

#define VARIABLE   "NATTER_SHARED_STACK_%zu"
#define STACKS_MAX 4

static struct stack shared[STACKS_MAX]; /* in the first process alone */
static size_t n_shared;

void
stack_share(const struct stack_options *options)
{
	char hex[sizeof(shared[0]) * 2 + 1], name[32];

	if (n_shared == STACKS_MAX)
		abort();
	stack_start(&shared[n_shared], options);
	sodium_bin2hex(hex, sizeof(hex),
	    (const unsigned char *)&shared[n_shared], sizeof(shared[0]));
	snprintf(name, sizeof(name), VARIABLE, n_shared++);
	if (setenv(name, hex, 1) != 0)
		abort();
}

void
stack_take_nth(struct stack *s, size_t n)
{
	char name[32];
	const char *hex;

	snprintf(name, sizeof(name), VARIABLE, n);
	hex = getenv(name);
	if (hex == NULL || sodium_hex2bin((unsigned char *)s, sizeof(*s), hex,
			       sizeof(*s) * 2, NULL, NULL, NULL) != 0) {
		fputs("stack_shared: nobody shared a stack\n", stderr);
		abort();
	}
}

void
stack_take(struct stack *s)
{
	stack_take_nth(s, 0);
}

void
stack_unshare(void)
{
	while (n_shared > 0)
		stack_stop(&shared[--n_shared]);
}
