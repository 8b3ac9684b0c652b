/*
 * Refresh tokens as text: one spelling, nothing that no key made, and neither
 * the secret of the row nor the key alone enough to forge one.
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "../support/ring.h"
#include "auth/refresh.h"
#include "base/keyring.h"
#include "base/text.h"

#define SID "01890000-0000-7000-8000-0000000000ff"

static struct keyring *ring;
static char text[REFRESH_TEXT];
static struct refresh_token sample = {
    .form = 1,
    .session_id = SID,
    .generation = 0x01020304,
    .mac = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
};

static void
setup(void)
{
	cr_assert_geq(sodium_init(), 0);
	ring = ring_of(RING_TEXT);
	refresh_make(ring, &sample, text);
}

static void
teardown(void)
{
	keyring_free(ring);
}

TestSuite(refresh, .init = setup, .fini = teardown);

static enum err
parse(const char *token)
{
	struct refresh_token t;
	return refresh_parse(ring, token, &t);
}

Test(refresh, what_is_made_parses_and_says_the_same)
{
	struct refresh_token t;
	cr_expect_eq(strlen(text), 72);
	cr_assert_eq(refresh_parse(ring, text, &t), OK);
	cr_expect_str_eq(t.session_id, SID);
	cr_expect_eq(t.generation, 0x01020304);
	cr_expect_eq(memcmp(t.mac, sample.mac, REFRESH_MAC), 0);
}

Test(refresh, has_the_documented_bytes)
{
	unsigned char b[54];
	cr_assert(text_from_base64url(text, 72, b, sizeof b));
	cr_expect_eq(b[0], 1);
	cr_expect_eq(
	    memcmp(b + 2, "\x01\x89\0\0\0\0\x70\0\x80\0\0\0\0\0\0\xff", 16), 0);
	cr_expect_eq(memcmp(b + 18, "\1\2\3\4", 4), 0);
	cr_expect_eq(memcmp(b + 38, sample.mac, 16), 0);
}

Test(refresh, key_material_is_the_same_made_and_parsed)
{
	struct refresh_token t;
	unsigned char key[REFRESH_KEY];
	cr_assert_eq(refresh_parse(ring, text, &t), OK);
	refresh_key(ring, &sample, key);
	cr_expect_eq(memcmp(t.key, key, sizeof key), 0);
}

Test(refresh, key_material_differs_by_form_session_and_generation)
{
	static const struct refresh_token others[] = {
	    {.form = 1, .session_id = SID, .generation = 2},
	    {.form = 2, .session_id = SID, .generation = 1},
	    {.form = 1,
		.session_id = "01890000-0000-7000-8000-0000000000fe",
		.generation = 1},
	};
	const struct refresh_token t = {
	    .form = 1, .session_id = SID, .generation = 1};
	unsigned char a[REFRESH_KEY], b[REFRESH_KEY];
	refresh_key(ring, &t, a);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		refresh_key(ring, &others[i], b);
		cr_expect_neq(memcmp(a, b, sizeof a), 0, "%zu", i);
	}
}

Test(refresh, keeps_its_form_and_has_no_others)
{
	struct refresh_token t = sample;
	unsigned char b[54];
	char token[REFRESH_TEXT];
	for (unsigned char form = 1; form <= REFRESH_FORMS; form++) {
		t.form = form;
		refresh_make(ring, &t, token);
		cr_assert_eq(refresh_parse(ring, token, &t), OK);
		cr_expect_eq(t.form, form);
		cr_assert(text_from_base64url(token, 72, b, sizeof b));
		cr_expect_eq(b[0], form);
	}
}

Test(refresh, n10_refuses_any_changed_bit_before_macb)
{
	unsigned char b[54];
	char copy[REFRESH_TEXT];
	cr_assert(text_from_base64url(text, 72, b, sizeof b));
	for (size_t bit = 0; bit < 38 * 8; bit++) {
		b[bit / 8] ^= (unsigned char)(1 << bit % 8);
		sodium_bin2base64(copy, sizeof copy, b, sizeof b,
		    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
		b[bit / 8] ^= (unsigned char)(1 << bit % 8);
		cr_expect_eq(parse(copy), ERR_REFRESH_INVALID, "bit %zu", bit);
	}
}

Test(refresh, n10_refuses_every_wrong_shape)
{
	char plus[REFRESH_TEXT], slash[REFRESH_TEXT];
	char longer[80], shorter[80], newline[80], padded[80];
	memcpy(plus, text, sizeof plus);
	memcpy(slash, text, sizeof slash);
	plus[70] = '+';
	slash[70] = '/';
	snprintf(longer, sizeof longer, "%sA", text);
	snprintf(shorter, sizeof shorter, "%.71s", text);
	snprintf(newline, sizeof newline, "%s\n", text);
	snprintf(padded, sizeof padded, "%s==", text);
	const char *const shapes[] = {
	    "", "x", plus, slash, longer, shorter, newline, padded, text + 1};
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		cr_expect_eq(parse(shapes[i]), ERR_REFRESH_INVALID, "%zu", i);
}

Test(refresh, takes_tokens_of_every_key_and_of_no_other_ring)
{
	struct keyring *old = ring_of("k0 current " RING_KEY_0 "\n");
	struct keyring *stranger = ring_of("k1 current " RING_KEY_2 "\n");
	char token[REFRESH_TEXT];
	refresh_make(old, &sample, token);
	cr_expect_eq(parse(token), OK);
	refresh_make(stranger, &sample, token);
	cr_expect_eq(parse(token), ERR_REFRESH_INVALID);
	keyring_free(old);
	keyring_free(stranger);
}

Test(refresh, refuses_a_generation_that_postgres_cannot_hold)
{
	struct refresh_token t = sample;
	char token[REFRESH_TEXT];
	t.generation = INT32_MAX - 1;
	refresh_make(ring, &t, token);
	cr_expect_eq(parse(token), OK);
	t.generation = INT32_MAX;
	refresh_make(ring, &t, token);
	cr_expect_eq(parse(token), ERR_REFRESH_INVALID);
}

/* macA takes the key: the row's secret, known whole, does not help. */
Test(refresh, n11_a_database_dump_makes_no_token)
{
	struct keyring *guess = ring_of("k1 current " RING_KEY_0 "\n");
	struct refresh_token t = sample;
	unsigned char key[REFRESH_KEY], secret[32] = {0};
	unsigned char both[REFRESH_KEY + sizeof secret], hash[32];
	char token[REFRESH_TEXT];
	t.generation = 1;
	refresh_key(guess, &t, key);
	memcpy(both, key, sizeof key);
	memcpy(both + sizeof key, secret, sizeof secret);
	crypto_hash_sha256(hash, both, sizeof both);
	memcpy(t.mac, hash, REFRESH_MAC);
	refresh_make(guess, &t, token);
	cr_expect_eq(parse(token), ERR_REFRESH_INVALID);
	keyring_free(guess);
}
