/*
 * Ranges of addresses as they are written, and one parser for the table of
 * what lies inside and for what an administrator allows of it. Owns nothing.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"

#define WORD_MAX 280 /* a name of 253, brackets, a port */

/* Bits that all addresses of a range begin with. */
struct range {
	int family;
	unsigned bits;
	unsigned char bytes[16];
};

/* One word of a list. */
struct rule {
	struct range range; /* family 0: it is a name */
	char name[WORD_MAX];
	unsigned port; /* 0: all */
};

/* IANA's special-purpose registries; what a cloud puts elsewhere. */
static const char *const inside_four[] = {
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
    "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4",      /* multicast */
    "240.0.0.0/4",      /* reserved, broadcast */
    "168.63.129.16/32", /* Azure's own, in every machine of it */
};

/* Of IPv6 only this is given to anybody, without what is cut out of it. */
#define GLOBAL_SIX "2000::/3"
static const char *const inside_six[] = {
    "2001::/23", /* Teredo, benchmarks and the like */
    "2001:db8::/32",
    "2002::/16", /* 6to4: any IPv4 address in it */
    "2620:4f:8000::/48",
    "3fff::/20",
};

/* An IPv4 address behind a translator, in the last four bytes. */
#define TRANSLATED_SIX "64:ff9b::/96"

static bool
read_digits(const char *p, unsigned max, unsigned *out)
{
	unsigned n = 0;

	if (*p == '\0')
		return false;
	for (; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (unsigned)(*p - '0');
		if (n > max)
			return false;
	}
	*out = n;
	return true;
}

/* An address, or one with the bits that count behind it; spoils `text`. */
static bool
read_range(char *text, struct range *out)
{
	char *slash = strchr(text, '/');
	unsigned most;

	if (slash != NULL)
		*slash++ = '\0';
	if (inet_pton(AF_INET, text, out->bytes) == 1)
		out->family = AF_INET;
	else if (inet_pton(AF_INET6, text, out->bytes) == 1)
		out->family = AF_INET6;
	else
		return false;
	most = out->family == AF_INET ? 32 : 128;
	out->bits = most;
	return slash == NULL || read_digits(slash, most, &out->bits);
}

/* The bytes of an address; NULL of what is no IP. */
static const unsigned char *
bytes_of(const struct sockaddr *at)
{
	if (at->sa_family == AF_INET)
		return (const unsigned char *)&((const struct sockaddr_in *)at)
		    ->sin_addr;
	if (at->sa_family == AF_INET6)
		return ((const struct sockaddr_in6 *)at)->sin6_addr.s6_addr;
	return NULL;
}

static unsigned
port_of(const struct sockaddr *at)
{
	return ntohs(at->sa_family == AF_INET
			 ? ((const struct sockaddr_in *)at)->sin_port
			 : ((const struct sockaddr_in6 *)at)->sin6_port);
}

static bool
range_has(const struct range *r, const unsigned char *bytes)
{
	unsigned whole = r->bits / 8, rest = r->bits % 8;
	unsigned mask = 0xff00U >> rest & 0xff;

	if (memcmp(r->bytes, bytes, whole) != 0)
		return false;
	return rest == 0 || ((r->bytes[whole] ^ bytes[whole]) & mask) == 0;
}

static bool
written_has(const char *written, const unsigned char *bytes)
{
	struct range r;
	char text[WORD_MAX];

	(void)snprintf(text, sizeof(text), "%s", written);
	return read_range(text, &r) && range_has(&r, bytes);
}

static bool
is_outside_four(const unsigned char *bytes)
{
	for (size_t i = 0; i < sizeof(inside_four) / sizeof(*inside_four); i++)
		if (written_has(inside_four[i], bytes))
			return false;
	return true;
}

static bool
is_outside_six(const unsigned char *bytes)
{
	if (written_has(TRANSLATED_SIX, bytes))
		return is_outside_four(bytes + 12);
	if (!written_has(GLOBAL_SIX, bytes))
		return false;
	for (size_t i = 0; i < sizeof(inside_six) / sizeof(*inside_six); i++)
		if (written_has(inside_six[i], bytes))
			return false;
	return true;
}

bool
address_is_outside(const struct sockaddr *at)
{
	const unsigned char *bytes = bytes_of(at);

	if (bytes == NULL)
		return false;
	return at->sa_family == AF_INET ? is_outside_four(bytes)
					: is_outside_six(bytes);
}

/* Letters, digits, '-', '_' and dots; not what was meant to be an address. */
static bool
is_name(const char *text)
{
	size_t n = strlen(text), end = n;

	if (n == 0 || n > 253 || text[0] == '.' || text[n - 1] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (strchr(
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			"0123456789-_.",
			text[i]) == NULL)
			return false;
	while (end > 0 && text[end - 1] >= '0' && text[end - 1] <= '9')
		end--;
	return end == n || (end > 0 && text[end - 1] != '.');
}

/* Cuts the port off; false when it is none. */
static bool
take_port(char *word, struct rule *out)
{
	char *colon = strrchr(word, ':');

	if (word[0] == '[') {
		char *close = strchr(word, ']');

		if (close == NULL || (close[1] != '\0' && close[1] != ':'))
			return false;
		colon = close[1] == ':' ? close + 1 : NULL;
		*close = '\0';
		memmove(word, word + 1, (size_t)(close - word));
	} else if (colon != NULL && strchr(word, ':') != colon) {
		return true; /* IPv6 without brackets has no port */
	}
	if (colon == NULL)
		return true;
	*colon = '\0';
	return read_digits(colon + 1, 65535, &out->port) && out->port > 0;
}

static bool
read_rule(const char *p, size_t n, struct rule *out)
{
	char word[WORD_MAX];
	bool is_six = n > 0 && p[0] == '[';

	*out = (struct rule){0};
	if (n >= sizeof(word))
		return false;
	memcpy(word, p, n);
	word[n] = '\0';
	if (!take_port(word, out))
		return false;
	memcpy(out->name, word, strlen(word) + 1);
	if (read_range(word, &out->range))
		return out->range.family == AF_INET6 || !is_six;
	out->range.family = 0;
	return !is_six && is_name(out->name);
}

/* The next word of a list; 0 at its end. */
static size_t
next_word(const char **at)
{
	*at += strspn(*at, " ");
	return strcspn(*at, " ");
}

enum err
address_list_check(const char *list, char why[static ADDRESS_WHY])
{
	struct rule rule;
	size_t n;

	for (const char *p = list; (n = next_word(&p)) > 0; p += n) {
		if (read_rule(p, n, &rule))
			continue;
		snprintf(why, ADDRESS_WHY,
		    "\"%.*s\" is no host, host:port, address or 10.0.0.0/8",
		    n > 80 ? 80 : (int)n, p);
		return ERR_INVALID_FIELD;
	}
	return OK;
}

static bool
rule_has(const struct rule *rule, const char *host, const struct sockaddr *at)
{
	if (rule->port != 0 && rule->port != port_of(at))
		return false;
	if (rule->range.family != 0)
		return rule->range.family == at->sa_family &&
		       range_has(&rule->range, bytes_of(at));
	return strcasecmp(rule->name, host) == 0;
}

bool
address_list_has(const char *list, const char *host, const struct sockaddr *at)
{
	struct rule rule;
	size_t n;

	if (bytes_of(at) == NULL)
		return false;
	for (const char *p = list; (n = next_word(&p)) > 0; p += n)
		if (read_rule(p, n, &rule) && rule_has(&rule, host, at))
			return true;
	return false;
}
