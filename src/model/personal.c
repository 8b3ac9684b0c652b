/*
 * Walks over a text from one find to the next, and knows what an e-mail address
 * looks like. Numbers are personal_number.c's.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "model/personal.h"

/* Longest local part and domain that are looked at, in bytes. */
#define LOCAL_MAX  254
#define DOMAIN_MAX 255

/* Letters beyond ASCII in a name: Latin, Greek, Cyrillic, Armenian. Scripts
 * that put no space around an address would go along with it. */
static bool
is_lead(unsigned char c)
{
	return c >= 0xc3 && c <= 0xd6;
}

static bool
is_tail(unsigned char c)
{
	return c >= 0x80 && c <= 0xbf;
}

/* Bytes of the letter or digit at `at`, before `end`; 0: it is none. */
static size_t
letter_at(const char *p, size_t at, size_t end)
{
	unsigned char c;

	if (at >= end)
		return 0;
	c = (unsigned char)p[at];
	if (c < 0x80)
		return isalnum(c) != 0;
	return is_lead(c) && at + 1 < end && is_tail((unsigned char)p[at + 1])
		   ? 2
		   : 0;
}

/* The same of the character that ends at `at`, after `from`. */
static size_t
local_before(const char *p, size_t at, size_t from)
{
	unsigned char c;

	if (at <= from)
		return 0;
	c = (unsigned char)p[at - 1];
	if (c < 0x80)
		return isalnum(c) ||
		       (c != '\0' && strchr(".!#$%'*+^_`{|}~-", c) != NULL);
	return is_tail(c) && at - 1 > from && is_lead((unsigned char)p[at - 2])
		   ? 2
		   : 0;
}

/* Where the local part begins that ends at `at`; `at`: there is none. */
static size_t
local_start(const char *p, size_t at, size_t from)
{
	size_t start = at, n;

	while (at - start < LOCAL_MAX && (n = local_before(p, start, from)) > 0)
		start -= n;
	/* What stands around an address is no part of it. */
	while (start < at && letter_at(p, start, at) == 0)
		start++;
	return start;
}

static bool
is_number(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)p[i]))
			return false;
	return true;
}

/* A top-level domain: letters, or its ASCII form. Where it ends; 0: none. */
static size_t
top_end(const char *p, size_t at, size_t label_end)
{
	size_t end = at, n;

	if (label_end - at > 4 && strncasecmp(p + at, "xn--", 4) == 0)
		return label_end;
	while ((n = letter_at(p, end, label_end)) > 0 &&
	       !isdigit((unsigned char)p[end]))
		end += n;
	return end - at >= 2 && letter_at(p, end, label_end) == 0 ? end : 0;
}

/* "icon@2x.png" is a picture for a fine screen. */
static bool
is_picture(const char *p, size_t domain, size_t top, size_t end)
{
	static const char *const names[] = {
	    "png", "jpg", "jpeg", "gif", "webp", "svg", "avif", "ico"};

	if (top - domain != 3 || !isdigit((unsigned char)p[domain]) ||
	    p[domain + 1] != 'x')
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == end - top &&
		    strncasecmp(p + top, names[i], end - top) == 0)
			return true;
	return false;
}

/* Where the domain ends that begins at `at`; 0: it is none. */
static size_t
domain_end(const char *p, size_t at, size_t n)
{
	size_t start = at, label = at, end = 0, labels = 0, numbers = 0;

	if (n - at > DOMAIN_MAX)
		n = at + DOMAIN_MAX;
	while (letter_at(p, at, n) > 0) {
		size_t step, top;

		label = at;
		while ((step = letter_at(p, at, n)) > 0 ||
		       (at < n && p[at] == '-'))
			at += step > 0 ? step : 1;
		numbers += is_number(p + label, at - label);
		top = labels++ > 0 ? top_end(p, label, at) : 0;
		if (top > 0 && !is_picture(p, start, label, top))
			end = top;
		if (at >= n || p[at] != '.')
			break;
		at++;
	}
	/* "pkg@1.2.0.beta" is a version. */
	return numbers >= 2 ? 0 : end;
}

/* The first address from `from` on. */
static void
find_mail(struct personal_scan *s, size_t from)
{
	const char *at = s->p + from;

	s->mail = (struct personal){PERSONAL_EMAIL, s->n, s->n};
	while (s->n > 0 &&
	       (at = memchr(at, '@', s->n - (size_t)(at - s->p))) != NULL) {
		size_t k = (size_t)(at - s->p);
		size_t start = local_start(s->p, k, from);
		size_t end = start < k ? domain_end(s->p, k + 1, s->n) : 0;

		if (end > 0) {
			s->mail.start = start;
			s->mail.end = end;
			return;
		}
		at++;
	}
}

void
personal_scan_init(struct personal_scan *s, const char *p, size_t n)
{
	*s = (struct personal_scan){.p = p, .n = n};
	find_mail(s, 0);
}

bool
personal_scan_next(struct personal_scan *s, struct personal *out)
{
	size_t skip;

	while (s->at < s->mail.start) {
		if (strchr("0123456789+(", s->p[s->at]) == NULL ||
		    s->p[s->at] == '\0') {
			s->at++;
			continue;
		}
		if (personal_number(s, s->at, s->mail.start, out, &skip) > 0) {
			s->at = out->end;
			return true;
		}
		s->at += skip;
	}
	if (s->at >= s->n)
		return false;
	*out = s->mail;
	s->at = s->mail.end;
	find_mail(s, s->at);
	return true;
}
