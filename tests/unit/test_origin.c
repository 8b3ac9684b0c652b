/*
 * Which pages may talk to us: the list of origins, the check that stands
 * before cookies, and the headers for pages of other origins.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/arena.h"
#include "base/config.h"
#include "http/origin.h"
#include "http/reply.h"
#include "http/request.h"

#define APP "https://app.example.com"

static struct config config;
static struct services services = {.config = &config};
static struct request req;
static struct reply rep;

static void
set_up(void)
{
	config.origins = (char *)"http://localhost:5173  " APP;
	req = (struct request){
	    .arena = arena_new(65536),
	    .services = &services,
	    .method = HTTP_POST,
	    .method_name = "POST",
	    .content_type = "application/json",
	    .natter_client = "web",
	    .origin = "",
	    .sec_fetch_site = "",
	    .cors_method = "",
	    .cors_headers = "",
	    .path = "/api/v1/me",
	};
	rep = (struct reply){0};
}

static void
tear_down(void)
{
	arena_free(req.arena);
}

TestSuite(origin, .init = set_up, .fini = tear_down);

static const char *
header(const char *name)
{
	for (size_t i = 0; i < rep.n_headers; i++)
		if (strcmp(rep.headers[i].name, name) == 0)
			return rep.headers[i].value;
	return NULL;
}

Test(origin, a_list_has_origins_as_browsers_send_them)
{
	static const char *const fit[] = {"", " ", APP, " " APP " " APP " ",
	    "http://localhost", "http://localhost:1", "https://a:80",
	    "http://a:443", "http://127.0.0.1:8080", "http://[::1]:8080",
	    "https://[2001:db8::1]", "http://a:8", "https://a:44"};
	static const char *const unfit[] = {"*", "null", "app.example.com",
	    "https://", "https://*.example.com", "HTTPS://a", "https://A",
	    "https://a/", "https://a/b", "https://a:", "https://a:x",
	    "https://a:123456", "https://a:443", "http://a:80", "https://a?b",
	    "https://u@a", "ftp://a", "https://[::1", "https://[]",
	    "https://a,https://b", APP " null", "https://a\n", "http:// a"};
	for (size_t i = 0; i < sizeof fit / sizeof *fit; i++)
		cr_expect(origin_list_is_fit(fit[i]), "%s", fit[i]);
	for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++)
		cr_expect_not(origin_list_is_fit(unfit[i]), "%s", unfit[i]);
}

Test(origin, only_the_listed_are_allowed_letter_by_letter)
{
	static const char *const strangers[] = {"", "null", "https://app",
	    "https://app.example.co", APP ".evil", APP ":443", "http://",
	    "http://app.example.com", "https://APP.example.com",
	    "http://localhost:5173  " APP, " "};
	cr_expect(origin_is_allowed(&config, APP));
	cr_expect(origin_is_allowed(&config, "http://localhost:5173"));
	for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
		cr_expect_not(origin_is_allowed(&config, strangers[i]), "%s",
		    strangers[i]);
	config.origins = NULL;
	cr_expect_not(origin_is_allowed(&config, APP));
}

Test(origin, cookies_count_only_from_our_own_pages)
{
	static const struct {
		const char *site, *origin;
		enum err want;
	} rows[] = {
	    {"same-origin", "", OK},
	    {"same-origin", APP, OK},
	    {"", APP, OK},
	    {"same-site", APP, OK},
	    {"cross-site", APP, OK}, /* the operator listed it */
	    {"", "", ERR_CSRF_FAILED},
	    {"", "null", ERR_CSRF_FAILED},
	    {"", "https://evil.example", ERR_CSRF_FAILED},
	    {"none", "", ERR_CSRF_FAILED},
	    {"same-site", "", ERR_CSRF_FAILED},
	    {"same-site", "https://other.example.com", ERR_CSRF_FAILED},
	    {"cross-site", "https://evil.example", ERR_CSRF_FAILED},
	    {"Same-Origin", "", ERR_CSRF_FAILED},
	    {"same-origin, cross-site", "", ERR_CSRF_FAILED},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		req.sec_fetch_site = rows[i].site;
		req.origin = rows[i].origin;
		cr_expect_eq(origin_check(&req), rows[i].want, "%zu", i);
	}
}

Test(origin, cookies_count_only_with_what_no_form_can_send)
{
	req.sec_fetch_site = "same-origin";
	cr_assert_eq(origin_check(&req), OK);
	req.natter_client = "";
	cr_expect_eq(origin_check(&req), ERR_CSRF_FAILED);
	req.natter_client = "web";
	req.content_type = "text/plain";
	cr_expect_eq(origin_check(&req), ERR_CSRF_FAILED);
	req.content_type = "";
	cr_expect_eq(origin_check(&req), ERR_CSRF_FAILED);
	req.content_type = "application/json-patch";
	cr_expect_eq(origin_check(&req), ERR_CSRF_FAILED);
	req.content_type = "application/json; charset=utf-8";
	cr_expect_eq(origin_check(&req), OK);
	req.method = HTTP_GET;
	cr_expect_eq(origin_check(&req), ERR_CSRF_FAILED);
	cr_expect_not_null(req.why);
}

Test(origin, a_page_of_an_allowed_origin_may_read_the_reply)
{
	origin_allow(&config, APP, &rep);
	cr_expect_str_eq(header("Access-Control-Allow-Origin"), APP);
	cr_expect_str_eq(header("Access-Control-Allow-Credentials"), "true");
	cr_expect_str_eq(header("Vary"), "Origin");
	cr_expect_not_null(header("Access-Control-Expose-Headers"));
}

Test(origin, a_stranger_learns_nothing_but_caches_are_told)
{
	origin_allow(&config, "https://evil.example", &rep);
	cr_expect_eq(rep.n_headers, 1);
	cr_expect_str_eq(header("Vary"), "Origin");
	rep = (struct reply){0};
	config.origins = (char *)"";
	origin_allow(&config, APP, &rep);
	cr_expect_eq(rep.n_headers, 0);
}

Test(origin, a_preflight_is_of_an_allowed_origin_and_names_a_method)
{
	req.method_name = "OPTIONS";
	req.origin = APP;
	cr_expect_not(origin_is_preflight(&req));
	req.cors_method = "POST";
	cr_expect(origin_is_preflight(&req));
	req.origin = "https://evil.example";
	cr_expect_not(origin_is_preflight(&req));
	req.origin = APP;
	req.method_name = "GET";
	cr_expect_not(origin_is_preflight(&req));
}

/* What the libraries send that speak OpenAI's protocol nobody can list. */
Test(origin, a_page_may_send_any_header_to_openai_paths_alone)
{
	static const struct {
		const char *path, *asked;
		bool is_echoed;
	} rows[] = {
	    {"/openai/v1/models", "authorization,x-stainless-os", true},
	    {"/openai/v1/models", "a, b", true},
	    {"/openai/v1/models", "", false},
	    {"/openai/v1/models", "a\r\nb", false},
	    {"/openai/v1/models", "a;b", false},
	    {"/api/v1/me", "x-stainless-os", false},
	    {"/openaix", "x-stainless-os", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		rep = (struct reply){0};
		req.path = rows[i].path;
		req.cors_headers = rows[i].asked;
		origin_permit(&req, &rep, "GET");
		const char *may = header("Access-Control-Allow-Headers");
		cr_assert_not_null(may);
		if (rows[i].is_echoed)
			cr_expect_str_eq(may, rows[i].asked);
		else
			cr_expect_not_null(strstr(may, "X-Natter-Client"));
	}
}
