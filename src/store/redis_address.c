/*
 * Where Redis is: the parser of REDIS_URL. Owns the grammar and nothing else;
 * whatever it does not understand it refuses, because a part that is silently
 * dropped is a password that is not sent.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis.h"

#define DEFAULT_PORT 6379
#define PORT_MAX     65535
#define DB_MAX       1000000

/* A part of the URL. */
struct part {
	const char *p;
	size_t n;
};

static bool
part_has(struct part s, char c)
{
	return memchr(s.p, c, s.n) != NULL;
}

/* Cuts `s` before its first `c`: what follows it goes to *out_rest. */
static bool
part_cut(struct part *s, char c, struct part *out_rest)
{
	const char *at = memchr(s->p, c, s->n);

	if (at == NULL)
		return false;
	*out_rest = (struct part){at + 1, s->n - (size_t)(at - s->p) - 1};
	s->n = (size_t)(at - s->p);
	return true;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The part percent-decoded, to be freed; NULL: malformed or no memory. */
static char *
part_decode(struct part s)
{
	char *text = malloc(s.n + 1), *end = text;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < s.n; i++) {
		int high, low;

		if (s.p[i] != '%') {
			*end++ = s.p[i];
			continue;
		}
		high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
		low = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;
		if (high < 0 || low < 0 || high + low == 0) {
			explicit_bzero(text, s.n + 1);
			free(text);
			return NULL;
		}
		*end++ = (char)(high * 16 + low);
		i += 2;
	}
	*end = '\0';
	return text;
}

/* Plain digits, at most `max`. */
static bool
part_number(struct part s, int max, int *out_number)
{
	int number = 0;

	if (s.n == 0 || s.n > 9)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!isdigit((unsigned char)s.p[i]))
			return false;
		number = number * 10 + (s.p[i] - '0');
	}
	if (number > max)
		return false;
	*out_number = number;
	return true;
}

/* [user:]password; an empty user is the default one. */
static bool
read_login(struct part login, struct redis_address *a)
{
	struct part password = login;

	if (part_cut(&login, ':', &password) && login.n > 0) {
		a->user = part_decode(login);
		if (a->user == NULL)
			return false;
	}
	a->password = password.n > 0 ? part_decode(password) : NULL;
	return a->password != NULL;
}

/* host, host:port, [address] or [address]:port. */
static bool
read_host(struct part host, struct redis_address *a)
{
	struct part port = {NULL, 0};
	bool has_port;

	if (host.n > 0 && host.p[0] == '[') {
		host.p++;
		host.n--;
		if (!part_cut(&host, ']', &port))
			return false;
		has_port = port.n > 0;
		if (has_port && port.p[0] != ':')
			return false;
		if (has_port) {
			port.p++;
			port.n--;
		}
	} else {
		has_port = part_cut(&host, ':', &port);
	}
	if (host.n == 0)
		return false;
	if (has_port &&
	    (!part_number(port, PORT_MAX, &a->port) || a->port == 0))
		return false;
	a->host = part_decode(host);
	return a->host != NULL;
}

/* redis://[login@]host[:port][/db] */
static bool
read_tcp(struct part s, struct redis_address *a)
{
	struct part db = {NULL, 0}, host = s;

	if (part_has(s, '?') || part_has(s, '#'))
		return false;
	(void)part_cut(&s, '/', &db);
	host = s;
	if (part_cut(&s, '@', &host) && !read_login(s, a))
		return false;
	if (db.n > 0 && !part_number(db, DB_MAX, &a->db))
		return false;
	return !part_has(host, '@') && read_host(host, a);
}

/* unix://[login@]/path[?db=N] */
static bool
read_unix(struct part s, struct redis_address *a)
{
	struct part query = {NULL, 0}, path = s, db;

	if (part_cut(&s, '?', &query)) {
		if (query.n < 3 || memcmp(query.p, "db=", 3) != 0)
			return false;
		db = (struct part){query.p + 3, query.n - 3};
		if (!part_number(db, DB_MAX, &a->db))
			return false;
	}
	path = s;
	if (s.n > 0 && s.p[0] != '/') {
		if (!part_cut(&s, '@', &path) || !read_login(s, a))
			return false;
	}
	if (path.n < 2 || path.p[0] != '/')
		return false;
	a->path = part_decode(path);
	return a->path != NULL;
}

enum err
redis_address_parse(const char *url, struct redis_address *out)
{
	struct redis_address a = {.port = DEFAULT_PORT};
	bool is_good = false;

	if (strncmp(url, "redis://", 8) == 0)
		is_good = read_tcp((struct part){url + 8, strlen(url + 8)}, &a);
	else if (strncmp(url, "unix://", 7) == 0)
		is_good =
		    read_unix((struct part){url + 7, strlen(url + 7)}, &a);
	if (!is_good) {
		redis_address_clear(&a);
		return ERR_INVALID_FIELD;
	}
	*out = a;
	return OK;
}

void
redis_address_clear(struct redis_address *a)
{
	if (a->password != NULL)
		explicit_bzero(a->password, strlen(a->password));
	free(a->password);
	free(a->path);
	free(a->host);
	free(a->user);
	*a = (struct redis_address){0};
}
