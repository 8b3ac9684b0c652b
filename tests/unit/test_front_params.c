/*
 * From FastCGI parameters to struct request.
 */
#include <string.h>

#include <criterion/criterion.h>

#include "base/arena.h"
#include "http/request.h"
#include "server/front_params.h"

static struct arena *arena;
static struct request req;

static void
setup(void)
{
	arena = arena_new(128 << 10);
	req = (struct request){.arena = arena};
}

static void
teardown(void)
{
	arena_free(arena);
}

TestSuite(front_params, .init = setup, .fini = teardown);

static enum err
read_params(char **envp, size_t *length)
{
	return front_params_read(&req, envp, length);
}

Test(front_params, what_nginx_sends_is_found)
{
	char *envp[] = {"REQUEST_METHOD=POST", "QUERY_STRING=a=b&c=d",
	    "CONTENT_TYPE=application/json", "CONTENT_LENGTH=12",
	    "REQUEST_URI=/api/v1/me%20x?a=b", "REMOTE_ADDR=192.0.2.7",
	    "REQUEST_ID=0123456789abcdef", "HTTP_AUTHORIZATION=Bearer x=y",
	    "HTTP_USER_AGENT=curl/8", "HTTP_X_FORWARDED_FOR=6.6.6.6",
	    "NONSENSE", NULL};
	size_t length = 99;

	cr_assert_eq(read_params(envp, &length), OK);
	cr_expect_eq(length, 12);
	cr_expect_eq(req.method, HTTP_POST);
	cr_expect_str_eq(req.path, "/api/v1/me x");
	cr_expect_str_eq(req.query, "a=b&c=d");
	cr_expect_str_eq(req.authorization, "Bearer x=y");
	cr_expect_str_eq(req.remote_addr, "192.0.2.7");
	cr_expect_str_eq(req.request_id, "0123456789abcdef");
	cr_expect_str_eq(req.cookie, "");
}

Test(front_params, a_header_that_comes_twice_is_one)
{
	char *envp[] = {"REQUEST_METHOD=POST", "REQUEST_METHOD=GET",
	    "REQUEST_URI=/", "HTTP_IDEMPOTENCY_KEY=\"a\"",
	    "HTTP_IDEMPOTENCY_KEY=\"b\"", "HTTP_COOKIE=a=1", "HTTP_COOKIE=b=2",
	    NULL};
	size_t length;

	cr_assert_eq(read_params(envp, &length), OK);
	cr_expect_str_eq(req.idempotency_key, "\"a\", \"b\"");
	cr_expect_str_eq(req.cookie, "a=1; b=2");
	cr_expect_eq(req.method, HTTP_GET);
}

Test(front_params, one_that_is_too_long_together_is_refused)
{
	char half[512], *envp[] = {"REQUEST_METHOD=POST", "REQUEST_URI=/", half,
			    half, NULL};
	size_t length;

	memset(half, 'x', sizeof(half));
	memcpy(half, "HTTP_IDEMPOTENCY_KEY=", 21);
	half[511] = '\0';
	cr_expect_eq(read_params(envp, &length), ERR_HEADERS_TOO_LARGE);
	envp[3] = NULL;
	teardown();
	setup();
	cr_expect_eq(read_params(envp, &length), OK);
}

Test(front_params, a_bad_request_id_is_replaced)
{
	static const char *const bad[] = {"REQUEST_ID=", "REQUEST_ID=short",
	    "REQUEST_ID=has space in it", "REQUEST_ID=crlf\r\nX-Evil: 1",
	    "REQUEST_ID=\xc3\xa9t\xc3\xa9-t\xc3\xa9"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char line[64];
		char *envp[] = {
		    "REQUEST_METHOD=GET", "REQUEST_URI=/", line, NULL};
		size_t length;

		strcpy(line, bad[i]);
		cr_assert_eq(read_params(envp, &length), OK);
		cr_expect_eq(strlen(req.request_id), 36, "%s", bad[i]);
	}
}

Test(front_params, a_length_that_is_no_number_is_refused)
{
	static const char *const bad[] = {"CONTENT_LENGTH=-1",
	    "CONTENT_LENGTH=1x", "CONTENT_LENGTH= 1", "CONTENT_LENGTH=0x10",
	    "CONTENT_LENGTH=99999999999999999999"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char line[64];
		char *envp[] = {
		    "REQUEST_METHOD=POST", "REQUEST_URI=/", line, NULL};
		size_t length;

		strcpy(line, bad[i]);
		cr_expect_eq(
		    read_params(envp, &length), ERR_BAD_REQUEST, "%s", bad[i]);
	}
}

Test(front_params, too_long_headers_are_refused_or_cut)
{
	static char token[6000], agent[6000];
	char *envp[] = {
	    "REQUEST_METHOD=GET", "REQUEST_URI=/", agent, NULL, NULL};
	size_t length;

	memset(token, 'x', sizeof(token) - 1);
	memcpy(token, "HTTP_AUTHORIZATION=", 19);
	memset(agent, 'x', sizeof(agent) - 1);
	memcpy(agent, "HTTP_USER_AGENT=", 16);
	cr_assert_eq(read_params(envp, &length), OK);
	cr_expect_eq(strlen(req.user_agent), 512);
	envp[3] = token;
	cr_expect_eq(read_params(envp, &length), ERR_HEADERS_TOO_LARGE);
	cr_expect_neq(req.request_id[0], '\0', "fit for an error reply");
}

Test(front_params, an_empty_environment_is_refused_without_a_crash)
{
	char *envp[] = {NULL};
	size_t length;

	cr_expect_eq(read_params(envp, &length), ERR_BAD_REQUEST);
	cr_expect_eq(req.method, HTTP_METHOD__MAX);
	cr_expect_str_eq(req.body, "");
}
