/*
 * Where models are asked: the settings, the URL and the header with the key.
 */
#include <string.h>

#include <criterion/criterion.h>

#include "base/buf.h"
#include "base/config.h"
#include "model/model_server.h"

static struct config
settings(void)
{
	return (struct config){
	    .openai_base_url = (char *)"",
	    .openai_api_key = (char *)"",
	    .second_base_url = (char *)"",
	    .second_api_key = (char *)"",
	};
}

Test(model_server, without_an_address_it_is_openai)
{
	struct config c = settings();

	c.openai_base_url = (char *)"http://one.test/v1";
	c.second_api_key = (char *)"k";
	cr_expect_str_eq(
	    model_server(&c, MODEL_AT_MAIN).base_url, "http://one.test/v1");
	cr_expect_str_eq(model_server(&c, MODEL_AT_MAIN).key, "");
	cr_expect_str_eq(model_server(&c, MODEL_AT_SECOND).base_url,
	    "https://api.openai.com/v1");
	cr_expect_str_eq(model_server(&c, MODEL_AT_SECOND).key, "k");
}

Test(model_server, an_address_or_a_key_sets_it)
{
	struct config c = settings();

	cr_expect(!model_is_configured(&c));
	cr_expect(!model_server_is_set(&c, MODEL_AT_SECOND));
	c.second_api_key = (char *)"k";
	cr_expect(model_server_is_set(&c, MODEL_AT_SECOND));
	cr_expect(!model_is_configured(&c));
	c.second_api_key = (char *)"";
	c.second_base_url = (char *)"http://two.test";
	cr_expect(model_server_is_set(&c, MODEL_AT_SECOND));
	c.openai_base_url = (char *)"http://one.test";
	cr_expect(model_is_configured(&c));
	c.openai_base_url = NULL;
	c.openai_api_key = (char *)"k";
	cr_expect(model_is_configured(&c));
	c.openai_api_key = NULL;
	cr_expect(!model_is_configured(&c));
}

Test(model_server, slashes_at_the_end_of_its_address_do_not_count)
{
	static const struct {
		const char *base, *url;
	} rows[] = {
	    {"http://a.test/v1", "http://a.test/v1/embeddings"},
	    {"http://a.test/v1/", "http://a.test/v1/embeddings"},
	    {"http://a.test//", "http://a.test/embeddings"},
	    {"//", "/embeddings"},
	    {"", "/embeddings"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct model_server s = {rows[i].base, ""};
		struct buf url = {0};

		model_server_url(&s, "/embeddings", &url);
		cr_expect_str_eq(buf_text(&url), rows[i].url);
		buf_free(&url);
	}
}

Test(model_server, a_socket_stands_before_the_path)
{
	static const struct {
		const char *base, *socket, *url;
	} rows[] = {
	    {"http://unix:/run/llama.sock:/v1", "/run/llama.sock",
		"http://localhost/v1/embeddings"},
	    {"http://unix:/run/llama.sock:/v1/", "/run/llama.sock",
		"http://localhost/v1/embeddings"},
	    {"HTTP://UNIX:/run/llama.sock:", "/run/llama.sock",
		"http://localhost/embeddings"},
	    {"http://unix:/run/llama.sock", "/run/llama.sock",
		"http://localhost/embeddings"},
	    {"http://unix.test/v1", "", "http://unix.test/v1/embeddings"},
	    {"https://unix:443/v1", "", "https://unix:443/v1/embeddings"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct model_server s = {rows[i].base, ""};
		char socket[MODEL_SOCKET_MAX];
		struct buf url = {0};

		model_server_socket(&s, socket);
		model_server_url(&s, "/embeddings", &url);
		cr_expect_str_eq(socket, rows[i].socket);
		cr_expect_str_eq(buf_text(&url), rows[i].url);
		cr_expect(model_server_is_url(rows[i].base));
		buf_free(&url);
	}
}

Test(model_server, what_is_no_address_is_refused)
{
	static const char *const refused[] = {"", "ftp://a.test", "a.test/v1",
	    "unix:/run/llama.sock:/v1", "http://unix:", "http://unix::/v1",
	    "http://unix:run/llama.sock:/v1", "http://unix:/run/llama.sock:v1",
	    "https:/a.test"};
	char longest[32 + MODEL_SOCKET_MAX] = "http://unix:/";
	size_t n = strlen(longest);

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		cr_expect(!model_server_is_url(refused[i]), "%s", refused[i]);
	memset(longest + n, 's', MODEL_SOCKET_MAX - 2);
	cr_expect(model_server_is_url(longest));
	strcat(longest, "s:/v1");
	cr_expect(!model_server_is_url(longest));
}

Test(model_server, a_url_longer_than_its_room_is_a_failure)
{
	const struct model_server s = {"http://a.test/v1", ""};
	struct buf url = {.cap = 20};

	model_server_url(&s, "/embeddings", &url);
	cr_expect(url.failed);
	buf_free(&url);
}

Test(model_server, its_key_is_a_header_line)
{
	const struct model_server with = {"http://a.test", "sk-1"};
	const struct model_server without = {"http://a.test", ""};
	struct buf line = {0};

	model_server_authorization(&without, &line);
	cr_expect_eq(line.n, 0);
	cr_expect(!line.failed);
	model_server_authorization(&with, &line);
	cr_expect_str_eq(buf_text(&line), "Authorization: Bearer sk-1");
	buf_wipe(&line);
	cr_expect_eq(line.n, 0);
}

Test(model_server, a_key_has_its_room_before_it_is_written)
{
	char key[2000];
	const struct model_server s = {"http://a.test", key};
	struct buf line = {0}, small = {.cap = 100};
	size_t room;

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	model_server_authorization(&s, &line);
	room = line.room;
	cr_expect_eq(strlen(buf_text(&line)), 22 + sizeof(key) - 1);
	cr_expect_eq(line.room, room);
	buf_wipe(&line);
	model_server_authorization(&s, &small);
	cr_expect(small.failed);
	cr_expect_eq(small.n, 0);
	buf_wipe(&small);
}
