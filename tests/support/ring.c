/*
 * Key rings for tests, through the file that the loader wants.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/keyring.h"
#include "ring.h"

struct keyring *
ring_of(const char *text)
{
	char path[] = "/tmp/natter-ring-XXXXXX";
	char why[KEYRING_WHY] = "";
	struct keyring *ring = NULL;
	int fd = mkstemp(path); /* mode 0600 */
	size_t n = strlen(text);
	if (fd < 0 || write(fd, text, n) != (ssize_t)n)
		abort();
	(void)close(fd);
	if (keyring_load(path, &ring, why) != OK) {
		fprintf(stderr, "ring: %s\n", why);
		abort();
	}
	(void)unlink(path);
	return ring;
}
