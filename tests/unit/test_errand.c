/*
 * Errands against a server that misbehaves, with a resolver of the test's own:
 * getaddrinfo here stands before libc's for libcurl too. A name may lead
 * anywhere, and somewhere else the next time.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/config.h"
#include "jwks_server.h"
#include "server/errand.h"
#include "server/relay_priv.h"

/* What names lead to: by turns, one list of addresses each. */
static struct {
	const char *answers[4]; /* "10.0.0.1,::1"; NULL: the last one again */
	_Atomic int asked;
	int delay_ms;
} names;

static struct addrinfo *
info_of(char *word, const char *service)
{
	struct addrinfo *i =
	    calloc(1, sizeof(*i) + sizeof(struct sockaddr_in6));
	struct sockaddr_in *four = (struct sockaddr_in *)(i + 1);
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)(i + 1);
	in_port_t port = htons((in_port_t)(service ? atoi(service) : 0));

	i->ai_socktype = SOCK_STREAM;
	i->ai_protocol = IPPROTO_TCP;
	i->ai_addr = (struct sockaddr *)(i + 1);
	if (inet_pton(AF_INET, word, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = port;
		i->ai_addrlen = sizeof(*four);
	} else {
		six->sin6_family = AF_INET6;
		six->sin6_port = port;
		if (inet_pton(AF_INET6, word, &six->sin6_addr) != 1)
			abort();
		i->ai_addrlen = sizeof(*six);
	}
	i->ai_family = i->ai_addr->sa_family;
	return i;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **out)
{
	struct timespec t = {.tv_sec = names.delay_ms / 1000,
	    .tv_nsec = names.delay_ms % 1000 * 1000000L};
	int which = names.asked++;
	char list[128], *rest = NULL;
	struct addrinfo **at = out;

	(void)node;
	(void)hints;
	nanosleep(&t, NULL);
	while (which > 0 && (which > 3 || names.answers[which] == NULL))
		which--;
	if (names.answers[which] == NULL)
		return EAI_NONAME;
	snprintf(list, sizeof(list), "%s", names.answers[which]);
	*out = NULL;
	for (char *w = strtok_r(list, ",", &rest); w != NULL;
	     w = strtok_r(NULL, ",", &rest)) {
		*at = info_of(w, service);
		at = &(*at)->ai_next;
	}
	return 0;
}

void
freeaddrinfo(struct addrinfo *i)
{
	while (i != NULL) {
		struct addrinfo *next = i->ai_next;

		free(i);
		i = next;
	}
}

static struct config config = {.openai_api_key = (char[]){""},
    .openai_base_url = (char[]){"http://model.test/v1"},
    .connect_timeout_ms = 2000,
    .tools_allow = (char[256]){""}};
static struct relay relay = {.config = &config};
static struct jwks_server server;
static int port;

/* What came of the last errand. */
static struct {
	int n;
	CURLcode code;
	long status;
	char body[4096], why[256], type[64];
	bool is_too_large, is_inside, was_sent;
} got;

static void
woken(uv_async_t *handle)
{
	(void)handle;
}

static void
setup(void)
{
	jwks_server_start(&server, "{\"state\":\"sent\"}");
	port = atoi(strrchr(server.url, ':') + 1);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	uv_loop_init(&relay.loop);
	uv_async_init(&relay.loop, &relay.wake, woken);
	relay.upstream = upstream_new(&relay.loop, &config);
	cr_assert_not_null(relay.upstream);
	setenv("http_proxy", "http://127.0.0.1:9", 1);
	setenv("all_proxy", "http://127.0.0.1:9", 1);
}

/* Everything that was begun has ended: nothing keeps the loop. */
static void
teardown(void)
{
	cr_expect_null(relay.errands);
	upstream_free(relay.upstream);
	uv_close((uv_handle_t *)&relay.wake, NULL);
	uv_run(&relay.loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&relay.loop), 0);
	jwks_server_stop(&server);
}

TestSuite(errand, .init = setup, .fini = teardown, .timeout = 60);

static void
allow(const char *list)
{
	snprintf(config.tools_allow, 256, "%s", list);
}

static void
ended(void *arg, const struct errand_end *end)
{
	(void)arg;
	got.n++;
	got.code = end->code;
	got.status = end->status;
	got.is_too_large = end->is_too_large;
	got.is_inside = end->is_inside;
	got.was_sent = end->was_sent;
	cr_expect_eq(strlen(end->body), end->n);
	snprintf(got.body, sizeof(got.body), "%s", end->body);
	snprintf(got.why, sizeof(got.why), "%s", end->why);
	snprintf(got.type, sizeof(got.type), "%s", end->type);
	uv_stop(&relay.loop);
}

static const char *const headers[] = {
    "Content-Type: application/json", "X-One: 1", NULL};

static struct errand_ask
ask_at(const char *host)
{
	static char url[256];

	snprintf(url, sizeof(url), "http://%s:%d/orders", host, port);
	return (struct errand_ask){.url = url,
	    .headers = headers,
	    .body = "{\"order\":\"12345\"}",
	    .n = 17,
	    .timeout_ms = 3000,
	    .max_bytes = 1000,
	    .reach = ERRAND_OUTSIDE};
}

static void
run(const struct errand_ask *ask)
{
	memset(&got, 0, sizeof(got));
	names.asked = 0;
	cr_assert_not_null(
	    errand_start(&relay, ask, ended, NULL), "%s", ask->url);
	cr_assert_eq(got.n, 0, "never from inside");
	uv_run(&relay.loop, UV_RUN_DEFAULT);
	cr_assert_eq(got.n, 1, "%s", ask->url);
	cr_expect_null(relay.errands);
}

Test(errand, what_was_asked_and_what_was_answered)
{
	char want[128];
	struct errand_ask ask = ask_at("127.0.0.1");

	allow("127.0.0.1");
	run(&ask);
	cr_expect_eq(got.code, CURLE_OK, "%s", got.why);
	cr_expect_eq(got.status, 200);
	cr_expect_str_eq(got.body, "{\"state\":\"sent\"}");
	cr_expect_str_eq(got.type, "application/json");
	cr_expect_eq(strncmp(server.last, "POST /orders HTTP/1.1\r\n", 23), 0);
	snprintf(want, sizeof(want), "\r\nHost: 127.0.0.1:%d\r\n", port);
	cr_expect_not_null(strstr(server.last, want));
	cr_expect_not_null(strstr(server.last, "\r\nX-One: 1\r\n"));
	cr_expect_null(strstr(server.last, "\r\nExpect"));
	cr_expect_null(strstr(server.last, "Accept-Encoding"));
	cr_expect_not_null(
	    strstr(server.last, "\r\nContent-Type: application/json\r\n"));
	cr_expect_not_null(strstr(server.last, "\r\nContent-Length: 17\r\n"));
	cr_expect_not_null(
	    strstr(server.last, "\r\n\r\n{\"order\":\"12345\"}"));

	ask.body = NULL;
	run(&ask);
	cr_expect_eq(strncmp(server.last, "GET /orders", 11), 0);
	ask.body = "{}";
	ask.n = 2;
	ask.method = "PUT";
	run(&ask);
	cr_expect_eq(strncmp(server.last, "PUT /orders", 11), 0);
	cr_expect_not_null(strstr(server.last, "\r\n\r\n{}"));
}

/* As URLs spell them, and as names lead to them. */
Test(errand, nothing_inside_the_network_is_ever_connected_to)
{
	static const char *const literal[] = {"127.0.0.1", "127.1",
	    "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0.0.0.0", "10.0.0.1",
	    "169.254.169.254", "192.168.1.1", "100.64.0.1", "224.0.0.1",
	    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
	    "[64:ff9b::7f00:1]", "[fd00:ec2::254]", "[fe80::1]", "[ff02::1]",
	    "[2002:7f00:1::]", "localhost", "x.localhost", "LOCALHOST."};
	static const char *const named[] = {"127.0.0.1", "10.0.0.1",
	    "169.254.169.254", "172.31.0.1", "100.127.0.1", "0.0.0.0", "::1",
	    "fd00::1", "fe80::1", "::ffff:127.0.0.1", "::ffff:93.184.215.14",
	    "64:ff9b::10.0.0.1", "127.0.0.1,::1", "::1,10.0.0.1,fd00::1"};
	struct errand_ask ask;

	allow("");
	names.answers[0] = "127.0.0.1"; /* of what is no literal to libcurl */
	for (size_t i = 0; i < sizeof literal / sizeof *literal; i++) {
		ask = ask_at(literal[i]);
		run(&ask);
		cr_expect(got.is_inside, "%s: %s", literal[i], got.why);
		cr_expect_not(got.was_sent);
		cr_expect_not_null(strstr(got.why, "CHAT_TOOLS_ALLOW"));
	}
	for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
		names.answers[0] = named[i];
		ask = ask_at("shop.test");
		run(&ask);
		cr_expect(got.is_inside, "%s: %s", named[i], got.why);
		cr_expect_eq(got.code, CURLE_COULDNT_CONNECT);
	}
	cr_expect_eq(server.hits, 0);
}

Test(errand, a_name_that_changes_its_mind_is_refused_all_the_same)
{
	struct errand_ask ask = ask_at("rebinding.test");

	/* 203.0.113.0 is no outside either; 1.2.3.4 is, and is not there. */
	names.answers[0] = "127.0.0.1";
	names.answers[1] = "127.0.0.1";
	allow("127.0.0.1");
	run(&ask);
	cr_expect_eq(got.status, 200, "%s", got.why);
	allow("");
	run(&ask); /* the name is known still: what was allowed is not */
	cr_expect(got.is_inside, "%s", got.why);
	cr_expect_eq(server.hits, 1);
}

/* The model's own server may lie inside, with connections kept to it. */
Test(errand, a_connection_to_the_inside_is_not_lent_out)
{
	struct errand_ask ask = ask_at("127.0.0.1");

	server.keeps_alive = true;
	allow("");
	ask.reach = ERRAND_TRUSTED;
	run(&ask);
	run(&ask);
	cr_expect_eq(got.status, 200, "%s", got.why);
	cr_expect_eq(server.accepts, 1, "one connection for both");
	ask.reach = ERRAND_OUTSIDE;
	run(&ask);
	cr_expect(got.is_inside, "%s", got.why);
	cr_expect_eq(server.hits, 2);
}

Test(errand, what_the_administrator_allows_is_connected_to)
{
	char list[64];
	struct errand_ask ask = ask_at("shop.test");

	names.answers[0] = "127.0.0.1";
	allow("shop.test");
	run(&ask);
	cr_expect_eq(got.status, 200, "%s", got.why);
	allow("127.0.0.0/8");
	run(&ask);
	cr_expect_eq(got.status, 200, "%s", got.why);
	snprintf(list, sizeof(list), "shop.test:%d", port);
	allow(list);
	run(&ask);
	cr_expect_eq(got.status, 200, "%s", got.why);
	snprintf(list, sizeof(list), "shop.test:%d other.test", port + 1);
	allow(list);
	run(&ask);
	cr_expect(got.is_inside, "another port: %s", got.why);
	cr_expect_eq(server.hits, 3);
}

Test(errand, a_redirect_is_an_answer_and_nothing_more)
{
	struct errand_ask ask = ask_at("127.0.0.1");
	struct jwks_server other;
	char location[128];

	jwks_server_start(&other, "secret");
	snprintf(location, sizeof(location), "Location: %s\r\n", other.url);
	server.status = "302 Found";
	server.headers = location;
	allow("127.0.0.1");
	run(&ask);
	cr_expect_eq(got.status, 302);
	cr_expect_eq(other.hits, 0);
	jwks_server_stop(&other);
}

Test(errand, other_schemes_are_refused)
{
	static const char *const urls[] = {"file:///etc/passwd",
	    "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "ldap://127.0.0.1/",
	    "dict://127.0.0.1/", "telnet://127.0.0.1/"};
	struct errand_ask ask = ask_at("127.0.0.1");

	allow("0.0.0.0/0");
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		ask.url = urls[i];
		if (i == 0) { /* not even a host */
			cr_expect_null(errand_start(&relay, &ask, ended, NULL));
			continue;
		}
		run(&ask);
		cr_expect_eq(got.code, CURLE_UNSUPPORTED_PROTOCOL, "%s: %s",
		    urls[i], got.why);
	}
	ask.url = "http://";
	cr_expect_null(errand_start(&relay, &ask, ended, NULL));
}

Test(errand, a_slow_server_ends_with_its_time)
{
	struct errand_ask ask = ask_at("127.0.0.1");

	allow("127.0.0.1");
	ask.timeout_ms = 1000;
	server.delay_ms = 20000;
	run(&ask);
	cr_expect_eq(got.code, CURLE_OPERATION_TIMEDOUT, "%s", got.why);
	cr_expect(got.was_sent);
	server.delay_ms = 0;
	server.drip_ms = 1000; /* a byte now and then keeps nothing alive */
	run(&ask);
	cr_expect_eq(got.code, CURLE_OPERATION_TIMEDOUT, "%s", got.why);
}

Test(errand, a_slow_name_server_ends_with_its_time)
{
	struct errand_ask ask = ask_at("slow.test");
	uint64_t began;

	names.answers[0] = "127.0.0.1";
	names.delay_ms = 4000;
	ask.timeout_ms = 200;
	began = clock_mono_ms();
	run(&ask);
	cr_expect_eq(got.code, CURLE_OPERATION_TIMEDOUT, "%s", got.why);
	cr_expect_not(got.was_sent);
	cr_expect_lt(clock_mono_ms() - began, 3000);
}

Test(errand, an_answer_is_cut_at_its_largest_size)
{
	struct errand_ask ask = ask_at("127.0.0.1");

	allow("127.0.0.1");
	server.padding = 100 << 20;
	run(&ask);
	cr_expect(got.is_too_large);
	cr_expect_eq(strlen(got.body), 1000);
	cr_expect_eq(
	    strncmp(got.body, "{\"state\":\"sent\"} ", 17), 0, "%s", got.body);
	server.padding = 0;
	ask.max_bytes = strlen(server.body);
	run(&ask);
	cr_expect_not(got.is_too_large);
	cr_expect_str_eq(got.body, server.body);
	ask.max_bytes--;
	run(&ask);
	cr_expect(got.is_too_large);
	cr_expect_eq(strlen(got.body), ask.max_bytes);
}

Test(errand, a_head_without_end_is_cut)
{
	static char head[80000];
	struct errand_ask ask = ask_at("127.0.0.1");

	for (size_t i = 0; i + 100 < sizeof(head); i += 100)
		snprintf(head + i, 101, "X: %095d\r\n", 0);
	server.headers = head;
	allow("127.0.0.1");
	run(&ask);
	cr_expect_neq(got.code, CURLE_OK);
	cr_expect_str_eq(got.why, "the answer's head is too large");
	head[50000] = '\0';
	run(&ask);
	cr_expect_eq(got.code, CURLE_OK, "%s", got.why);
}

Test(errand, a_server_that_hangs_up_or_speaks_otherwise)
{
	struct errand_ask ask = ask_at("127.0.0.1");

	allow("127.0.0.1");
	server.hangs_up = true;
	run(&ask);
	cr_expect_eq(got.code, CURLE_GOT_NOTHING, "%s", got.why);
	cr_expect(got.was_sent);
	server.hangs_up = false;
	server.status = "500 No";
	run(&ask);
	cr_expect_eq(got.status, 500);
	cr_expect_str_eq(got.body, server.body, "errors have bodies too");
	ask.url = "http://127.0.0.1:1/";
	run(&ask);
	cr_expect_eq(got.code, CURLE_COULDNT_CONNECT);
	cr_expect_not(got.was_sent);
	cr_expect_not(got.is_inside);
}

Test(errand, plain_http_is_no_tls)
{
	char url[64];
	struct errand_ask ask = ask_at("127.0.0.1");

	allow("127.0.0.1");
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/", port);
	ask.url = url;
	server.hangs_up = true;
	ask.timeout_ms = 1000;
	run(&ask);
	cr_expect_neq(got.code, CURLE_OK);
	cr_expect_not(got.was_sent, "%s", got.why);
}

Test(errand, what_is_stopped_says_nothing_any_more)
{
	struct errand_ask ask = ask_at("127.0.0.1");
	struct errand *one, *two;

	allow("127.0.0.1");
	memset(&got, 0, sizeof(got));
	one = errand_start(&relay, &ask, ended, NULL);
	two = errand_start(&relay, &ask, ended, NULL);
	errand_stop(one);
	errand_stop(NULL);
	uv_run(&relay.loop, UV_RUN_DEFAULT);
	cr_expect_eq(got.n, 1);
	(void)two;
}

Test(errand, the_end_of_a_worker_ends_all)
{
	struct errand_ask ask = ask_at("127.0.0.1");

	allow("127.0.0.1");
	server.delay_ms = 10000;
	memset(&got, 0, sizeof(got));
	for (int i = 0; i < 3; i++)
		cr_assert_not_null(errand_start(&relay, &ask, ended, NULL));
	errands_end(&relay);
	cr_expect_eq(got.n, 3);
	cr_expect_eq(got.code, CURLE_ABORTED_BY_CALLBACK);
	cr_expect_null(errand_start(&relay, &ask, ended, NULL));
	uv_run(&relay.loop, UV_RUN_NOWAIT);
}
