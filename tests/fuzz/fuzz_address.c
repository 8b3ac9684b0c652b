/*
 * Addresses. However one is written that lies inside, and by whatever way IPv6
 * carries it, libcurl's parser and the resolver lead to an address that is
 * refused; an address that is read, printed and read again is judged the same.
 * A list of what is allowed is the sum of its words, and allows no address that
 * none of them names. The first 18 bytes of an input are an address and a port,
 * the rest is a list.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "base/address.h"
#include "base/text.h"
#include "fuzz.h"

#define CONTROL  18
#define LIST_MAX 512

union at {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

static bool
is_outside_four(const uint8_t *bytes)
{
	union at at = {.four = {.sin_family = AF_INET}};

	memcpy(&at.four.sin_addr, bytes, 4);
	return address_is_outside(&at.any);
}

static bool
is_outside_six(const uint8_t *bytes)
{
	union at at = {.six = {.sin6_family = AF_INET6}};

	memcpy(&at.six.sin6_addr, bytes, 16);
	return address_is_outside(&at.any);
}

/* What a URL with this host would connect to; -1: nothing. */
static int
judge_url(const char *host)
{
	const struct addrinfo hints = {
	    .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char url[160], bare[128], *name = NULL;
	CURLU *parser = curl_url();
	int verdict = -1;

	(void)snprintf(url, sizeof(url), "http://%s/", host);
	if (curl_url_set(parser, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parser, CURLUPART_HOST, &name, 0) == CURLUE_OK) {
		(void)snprintf(bare, sizeof(bare), "%s", name + (*name == '['));
		bare[strcspn(bare, "]")] = '\0';
		if (getaddrinfo(bare, "80", &hints, &found) == 0)
			verdict = address_is_outside(found->ai_addr);
	}
	if (found != NULL)
		freeaddrinfo(found);
	curl_free(name);
	curl_url_cleanup(parser);
	return verdict;
}

/* All the ways to write an IPv4 address. */
static void
check_writings(const uint8_t *b)
{
	bool is_outside = is_outside_four(b);
	uint32_t whole = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
			 (uint32_t)b[2] << 8 | b[3];
	char host[96];

#define WRITTEN(...)                                              \
	do {                                                      \
		(void)snprintf(host, sizeof(host), __VA_ARGS__);  \
		FUZZ_PROMISE(is_outside || judge_url(host) != 1); \
	} while (0)
#define FOUR(format) WRITTEN(format, b[0], b[1], b[2], b[3])
	FOUR("%u.%u.%u.%u");
	FOUR("0x%x.0x%x.0x%x.0x%x");
	FOUR("0%o.0%o.0%o.0%o");
	FOUR("%u.0x%x.0%o.%u");
	FOUR("00%o.%u.0X%X.%u");
	FOUR("%u.%u.%u.%u.");
	FOUR("[::ffff:%u.%u.%u.%u]");
	FOUR("[0:0:0:0:0:FFFF:%u.%u.%u.%u]");
	FOUR("[::%u.%u.%u.%u]");
	FOUR("[64:ff9b::%u.%u.%u.%u]");
	WRITTEN("%u.%u.%u", b[0], b[1], whole & 0xffff);
	WRITTEN("%u.%u", b[0], whole & 0xffffff);
	WRITTEN("0x%x.%u", b[0], whole & 0xffffff);
	WRITTEN("%u", whole);
	WRITTEN("0x%x", whole);
	WRITTEN("0%o", whole);
	WRITTEN("%%%02x%%%02x%x", '0', 'x', whole);
#undef FOUR
#undef WRITTEN
	FUZZ_PROMISE(judge_url("8.8.8.8") == 1);
}

/* IPv6 that has the address in it, as tunnels and translators do. */
static void
check_carried(const uint8_t *b)
{
	static const uint8_t prefixes[][12] = {
	    {[10] = 0xff, [11] = 0xff},             /* mapped */
	    {0},                                    /* compatible */
	    {0x00, 0x64, 0xff, 0x9b},               /* translated */
	    {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01},   /* there, by a site */
	    {[8] = 0xff, [9] = 0xff},               /* translated, of old */
	    {0xfe, 0x80, [10] = 0x5e, [11] = 0xfe}, /* ISATAP */
	};
	uint8_t six[16] = {0x20, 0x02};
	bool is_outside = is_outside_four(b);

	memcpy(six + 2, b, 4); /* 6to4 */
	FUZZ_PROMISE(!is_outside_six(six));
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		memcpy(six, prefixes[i], 12);
		memcpy(six + 12, b, 4);
		FUZZ_PROMISE(is_outside || !is_outside_six(six));
	}
	memset(six, 0, sizeof(six)); /* Teredo: inverted, at its end */
	six[0] = 0x20;
	six[1] = 0x01;
	for (int i = 0; i < 4; i++)
		six[12 + i] = b[i] ^ 0xff;
	FUZZ_PROMISE(!is_outside_six(six));
}

static void
check_printed(const uint8_t *bytes)
{
	char text[INET6_ADDRSTRLEN], host[64];

	FUZZ_PROMISE(inet_ntop(AF_INET6, bytes, text, sizeof(text)) != NULL);
	(void)snprintf(host, sizeof(host), "[%s]", text);
	FUZZ_PROMISE(judge_url(host) == (int)is_outside_six(bytes));
	/* Nothing but what IANA has given out. */
	FUZZ_PROMISE(!is_outside_six(bytes) || (bytes[0] & 0xe0) == 0x20 ||
		     memcmp(bytes, "\x00\x64\xff\x9b", 4) == 0);
}

static bool
word_has(const char *word, size_t n, const struct sockaddr *at)
{
	char one[LIST_MAX];

	(void)snprintf(one, sizeof(one), "%.*s", (int)n, word);
	return address_list_has(one, "shop.internal", at);
}

static void
check_list(const char *list, const struct sockaddr *at)
{
	char why[ADDRESS_WHY] = "";
	bool is_sound = address_list_check(list, why) == OK;
	bool has_any = false;

	FUZZ_PROMISE(is_sound == (why[0] == '\0'));
	for (const char *p = list + strspn(list, " "); *p != '\0';
	     p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		has_any = has_any || word_has(p, n, at);
		p += n;
	}
	FUZZ_PROMISE(address_list_has(list, "shop.internal", at) == has_any);
	FUZZ_PROMISE(!address_list_has("", "shop.internal", at));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char list[LIST_MAX];

	if (size < CONTROL || size - CONTROL >= sizeof(list))
		return 0;
	memcpy(list, data + CONTROL, size - CONTROL);
	list[size - CONTROL] = '\0';
	check_writings(data);
	check_carried(data);
	check_printed(data);
	union at four = {.four = {.sin_family = AF_INET}};
	union at six = {.six = {.sin6_family = AF_INET6}};
	memcpy(&four.four.sin_addr, data, 4);
	memcpy(&four.four.sin_port, data + 16, 2);
	memcpy(&six.six.sin6_addr, data, 16);
	memcpy(&six.six.sin6_port, data + 16, 2);
	check_list(list, &four.any);
	check_list(list, &six.any);
	return 0;
}
