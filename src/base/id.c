/*
 * UUIDs and short ids from libsodium's randomness. Keeps per thread only the
 * last millisecond and counter, so that a forked worker needs no reset: its
 * ids differ from its siblings' by 62 fresh random bits.
 */
#include <assert.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"

#define COUNTER_MAX 0xfffu
/* A new millisecond begins in the lower half, so 2,048 ids fit at least. */
#define COUNTER_SEED 0x7ffu

static const char hex[] = "0123456789abcdef";
static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz";

static _Thread_local uint64_t last_ms;
static _Thread_local unsigned last_counter;

/* `seed` is random; the clock may stand still or go back, ids may not. */
static void
advance(unsigned seed)
{
	uint64_t now = clock_wall_ms();
	if (now > last_ms) {
		last_ms = now;
		last_counter = seed & COUNTER_SEED;
	} else if (last_counter < COUNTER_MAX) {
		last_counter++;
	} else {
		last_ms++;
		last_counter = seed & COUNTER_SEED;
	}
}

void
id_from_bytes(const unsigned char b[static 16], char out[static ID_TEXT])
{
	char *p = out;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[b[i] >> 4];
		*p++ = hex[b[i] & 15];
	}
	*p = '\0';
}

static unsigned char
nibble(char c)
{
	return (unsigned char)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void
id_to_bytes(const char *id, unsigned char out[static 16])
{
	assert(id_is_uuid(id));
	for (size_t i = 0; i < 16; i++) {
		id += *id == '-';
		out[i] = (unsigned char)(nibble(id[0]) << 4 | nibble(id[1]));
		id += 2;
	}
}

void
id_make(char out[static ID_TEXT])
{
	unsigned char b[16];
	randombytes_buf(b + 6, 10);
	advance((unsigned)b[6] << 8 | b[7]);
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(last_ms >> (40 - 8 * i));
	b[6] = (unsigned char)(0x70 | last_counter >> 8);
	b[7] = (unsigned char)(last_counter & 0xff);
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	id_from_bytes(b, out);
}

void
id_make_random(char out[static ID_TEXT])
{
	unsigned char b[16];
	randombytes_buf(b, sizeof(b));
	b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	id_from_bytes(b, out);
}

void
id_make_short(char out[static ID_SHORT_TEXT])
{
	unsigned char b[ID_SHORT_TEXT - 1];
	randombytes_buf(b, sizeof(b));
	for (size_t i = 0; i < sizeof(b); i++)
		out[i] = base32[b[i] & 31];
	out[sizeof(b)] = '\0';
}

bool
id_is_uuid(const char *s)
{
	if (!s || strnlen(s, ID_TEXT) != ID_TEXT - 1)
		return false;
	for (int i = 0; i < ID_TEXT - 1; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (is_dash ? s[i] != '-' : !strchr(hex, s[i]))
			return false;
	}
	return true;
}

bool
id_is_short(const char *s)
{
	return s && strnlen(s, ID_SHORT_TEXT) == ID_SHORT_TEXT - 1 &&
	       strspn(s, base32) == ID_SHORT_TEXT - 1;
}
