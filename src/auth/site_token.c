/*
 * Verifies a site's tokens: text, header, key, signature, claims, in this
 * order, and nothing of a later step before the earlier ones hold. Owns
 * nothing. Must not know requests or users.
 */
#include <string.h>
#include <strings.h>

#include "auth/jwt.h"
#include "auth/site_key.h"
#include "auth/site_keys.h"
#include "auth/site_token.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/text.h"

#define NAME_MAX_BYTES 200

/* What the header says that decides anything. */
struct header {
	enum site_alg alg;
	const char *kid; /* NULL: none */
};

static enum err
refuse(const char **why, const char *reason)
{
	*why = reason;
	return ERR_IDENTITY_INVALID;
}

/* Members that ask to be read otherwise, or bring their own key. */
static bool
has_demands(struct json_object *header)
{
	static const char *const demands[] = {
	    "crit", "b64", "enc", "zip", "jku", "jwk", "x5u", "x5c"};
	for (size_t i = 0; i < sizeof demands / sizeof *demands; i++) {
		if (json_object_object_get_ex(header, demands[i], NULL))
			return true;
	}
	return false;
}

/* A logout token or a proof of possession is signed by the same keys. */
static bool
is_identity(struct json_object *header)
{
	const char *typ = jwt_text(header, "typ");
	if (!json_object_object_get_ex(header, "typ", NULL))
		return true;
	return typ &&
	       (strcasecmp(typ, "JWT") == 0 || strcasecmp(typ, "at+jwt") == 0 ||
		   strcasecmp(typ, "application/at+jwt") == 0);
}

static enum err
read_header(const struct site_check *check, const struct jwt_segment *segment,
    struct header *out, const char **why)
{
	AUTO_JSON struct json_object *o = NULL;
	if (jwt_object(check->arena, segment, &o) != OK)
		return refuse(why, "the header is not one JSON object");
	if (has_demands(o) || !is_identity(o))
		return refuse(why, "the header asks for what is not done");
	const char *alg = jwt_text(o, "alg");
	struct header h = {SITE_ALG__MAX, NULL};
	if (alg)
		h.alg = site_alg_named(alg, strlen(alg));
	if (h.alg == SITE_ALG__MAX || !(check->rules->algs & 1U << h.alg))
		return refuse(why, "the algorithm is not a configured one");
	if (json_object_object_get_ex(o, "kid", NULL)) {
		const char *kid = jwt_text(o, "kid");
		if (!kid || !*kid || strlen(kid) > SITE_KID_MAX)
			return refuse(why, "the kid is no name of a key");
		h.kid = arena_strdup(check->arena, kid);
		if (!h.kid)
			return ERR_TOO_LARGE;
	}
	*out = h;
	return OK;
}

static enum err
check_signature(const struct site_check *check, const struct header *h,
    const struct jwt_segments *s, const char **why)
{
	size_t n = 0;
	const unsigned char *bytes = jwt_bytes(check->arena, &s->signature, &n);
	if (!bytes)
		return ERR_TOO_LARGE;
	if (h->alg == SITE_HS256)
		return site_secret_verify(
			   check->rules->secret, &s->signed_text, bytes, n)
			   ? OK
			   : refuse(why, "the signature is wrong");
	const struct site_key *key = NULL;
	const struct site_key_ask ask = {h->alg, h->kid};
	enum err e = site_keys_find(
	    check->keys, check->rules, &ask, check->mono_ms, &key);
	if (*site_keys_why(check->keys))
		*why = arena_strdup(check->arena, site_keys_why(check->keys));
	if (e == ERR_IDENTITY_INVALID)
		return refuse(why, "no key of the site has this kid");
	if (e)
		return e;
	return site_key_verify(key, &s->signed_text, bytes, n)
		   ? OK
		   : refuse(why, "the signature is wrong");
}

/* Is `want` the audience, or one of them? */
static bool
has_audience(struct json_object *o, const char *want)
{
	struct json_object *aud = NULL;
	bool found = false;
	if (!json_object_object_get_ex(o, "aud", &aud))
		return false;
	if (!json_object_is_type(aud, json_type_array))
		return jwt_text_is(o, "aud", want);
	size_t n = json_object_array_length(aud);
	if (n > SITE_AUDS_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_array_get_idx(aud, i);
		if (!json_object_is_type(one, json_type_string))
			return false;
		found = found || strcmp(json_object_get_string(one), want) == 0;
	}
	return found;
}

static bool
has_controls(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	}
	return false;
}

/* The three times against our clock. */
static enum err
check_times(
    const struct site_check *check, struct json_object *o, const char **why)
{
	const struct site_rules *rules = check->rules;
	int64_t now = (int64_t)(check->wall_ms / 1000);
	int64_t issued, expires, not_before = 0;
	if (!jwt_number(o, "iat", &issued) || !jwt_number(o, "exp", &expires))
		return refuse(why, "iat or exp is not a whole number");
	if (json_object_object_get_ex(o, "nbf", NULL) &&
	    !jwt_number(o, "nbf", &not_before))
		return refuse(why, "nbf is not a whole number");
	if (expires <= issued)
		return refuse(why, "exp is not after iat");
	if (issued > now + rules->leeway_s ||
	    not_before > now + rules->leeway_s)
		return refuse(why, "iat or nbf lies ahead: compare the clocks");
	if (expires + rules->leeway_s <= now)
		*why = "the token has expired";
	else if (issued + rules->max_age_s + rules->leeway_s < now)
		*why = "the token is older than CHAT_EXCHANGE_MAX_AGE";
	else
		return OK;
	return ERR_IDENTITY_EXPIRED;
}

/* A text of the claim `name` for people, in the arena; NULL without. */
static const char *
person_text(struct arena *a, struct json_object *o, const char *name)
{
	const char *text = *name ? jwt_text(o, name) : NULL;
	if (!text || !*text || has_controls(text))
		return NULL;
	return arena_strndup(
	    a, text, text_prefix(text, strlen(text), NAME_MAX_BYTES));
}

static enum err
read_claims(const struct site_check *check, const struct jwt_segment *segment,
    struct site_claims *out, const char **why)
{
	AUTO_JSON struct json_object *o = NULL;
	enum err e = jwt_object(check->arena, segment, &o);
	if (e == ERR_TOO_LARGE)
		return e;
	if (e)
		return refuse(
		    why, "the claims are not one JSON object, each once");
	if (!jwt_text_is(o, "iss", check->rules->issuer))
		return refuse(why, "iss is not CHAT_EXCHANGE_ISSUER");
	if (!has_audience(o, check->rules->audience))
		return refuse(why, "aud has no CHAT_EXCHANGE_AUDIENCE");
	const char *sub = jwt_text(o, "sub");
	if (!sub || !*sub || has_controls(sub) ||
	    text_length(sub, strlen(sub)) > SITE_TEXT_MAX)
		return refuse(why, "sub is not 1 to 255 characters of text");
	e = check_times(check, o, why);
	if (e)
		return e;
	struct site_claims claims = {
	    .external_id = arena_strdup(check->arena, sub),
	    .username = person_text(check->arena, o, check->username_claim),
	    .name = person_text(check->arena, o, check->name_claim),
	    .time_zone = person_text(check->arena, o, "zoneinfo"),
	};
	if (!claims.external_id)
		return ERR_TOO_LARGE;
	*out = claims;
	return OK;
}

enum err
site_token_verify(const struct site_check *check, const char *token,
    struct site_claims *out_claims, const char **out_why)
{
	struct jwt_segments s;
	struct header header;
	*out_why = NULL;
	if (!jwt_split(token, SITE_TOKEN_MAX, &s))
		return refuse(out_why,
		    "it is not three segments of base64url, 8 KiB at most");
	enum err e = read_header(check, &s.header, &header, out_why);
	if (!e)
		e = check_signature(check, &header, &s, out_why);
	if (!e)
		e = read_claims(check, &s.claims, out_claims, out_why);
	return e;
}
