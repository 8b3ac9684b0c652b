/*
 * Key rings for tests: written to a file under /tmp, loaded, removed again.
 */
#ifndef TESTS_SUPPORT_RING_H
#define TESTS_SUPPORT_RING_H

struct keyring;

/* Three keys whose bytes differ: 43 characters of base64url each. */
#define RING_KEY_0 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define RING_KEY_1 "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"
#define RING_KEY_2 "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8"

/* The usual ring: k0 was, k1 is, k2 will be current. */
#define RING_TEXT                                            \
	"k0 previous " RING_KEY_0 "\nk1 current " RING_KEY_1 \
	"\nk2 next " RING_KEY_2 "\n"

/* Loads a ring of that text; aborts when it is refused. Free it. */
struct keyring *ring_of(const char *text);

#endif
