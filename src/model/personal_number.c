/*
 * What a phone number and a card's look like. A number is read as groups of
 * digits with what stands between them; the shapes then say how many of the
 * groups belong together.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "model/personal.h"

#define GROUPS_MAX 10
#define DIGITS_MAX 40

/* What stands before a group. */
enum sep {
	SEP_NONE,
	SEP_SPACE,
	SEP_DASH,
	SEP_DOT,
	SEP_SLASH,
	SEP_WIDE, /* a dash or a slash between spaces */
};

struct group {
	size_t from, n; /* of its digits, in struct number */
	size_t end;     /* in the text, behind its parenthesis */
	enum sep sep;
	bool is_inside; /* of parentheses */
};

struct number {
	size_t start;
	struct group groups[GROUPS_MAX];
	size_t n_groups;
	char digits[DIGITS_MAX];
	size_t n_digits;
	bool is_long; /* a group had more digits than any number */
	bool is_open; /* "(+49)": the parenthesis before it closes later */
};

/* A separator of one character, of which some take two or three bytes. */
static const struct {
	const char *text;
	enum sep sep;
} seps[] = {
    {" ", SEP_SPACE},
    {"\xc2\xa0", SEP_SPACE},     /* no-break space */
    {"\xe2\x80\xaf", SEP_SPACE}, /* the narrow one */
    {"-", SEP_DASH},
    {"\xe2\x80\x91", SEP_DASH}, /* no-break hyphen */
    {"\xe2\x80\x93", SEP_DASH}, /* en dash */
    {".", SEP_DOT},
    {"/", SEP_SLASH},
};

static bool
is_digit_at(const char *p, size_t at, size_t end)
{
	return at < end && isdigit((unsigned char)p[at]);
}

/* A letter, a digit, or part of a word in another way. */
static bool
is_word(char c)
{
	unsigned char u = (unsigned char)c;

	return isalnum(u) || u == '_' || (u >= 0xc3 && u <= 0xd6);
}

static size_t
read_sep(const char *p, size_t at, size_t end, enum sep *out)
{
	for (size_t i = 0; i < sizeof(seps) / sizeof(seps[0]); i++) {
		size_t n = strlen(seps[i].text);

		if (end - at >= n && memcmp(p + at, seps[i].text, n) == 0) {
			*out = seps[i].sep;
			return n;
		}
	}
	*out = SEP_NONE;
	return 0;
}

/* One separator, or a dash or slash between spaces. */
static size_t
skip_seps(const char *p, size_t at, size_t end, enum sep *out)
{
	size_t n = read_sep(p, at, end, out), more;
	enum sep second, third;

	if (n == 0 || *out != SEP_SPACE)
		return n;
	more = read_sep(p, at + n, end, &second);
	if (second != SEP_DASH && second != SEP_SLASH)
		return n;
	n += more;
	n += read_sep(p, at + n, end, &third);
	*out = SEP_WIDE;
	return n;
}

/* Reads a group of digits, in parentheses or not; where it ends, 0: none. */
static size_t
read_group(struct number *x, const char *p, size_t at, size_t end)
{
	struct group *g = &x->groups[x->n_groups];
	bool is_inside = at < end && p[at] == '(';
	size_t n = 0;

	at += is_inside;
	while (is_digit_at(p, at + n, end))
		n++;
	if (n == 0 ||
	    (is_inside && (n > 5 || at + n >= end || p[at + n] != ')')))
		return 0;
	x->is_long |= n > 19;
	if (x->n_digits + n > DIGITS_MAX)
		return 0;
	g->from = x->n_digits;
	g->n = n;
	g->is_inside = is_inside;
	memcpy(x->digits + x->n_digits, p + at, n);
	x->n_digits += n;
	g->end = at + n + is_inside;
	x->n_groups++;
	return g->end;
}

static void
read_number(struct number *x, const char *p, size_t at, size_t end)
{
	enum sep sep = SEP_NONE;
	size_t next;

	x->start = at;
	while (x->n_groups < GROUPS_MAX) {
		x->groups[x->n_groups].sep = sep;
		at = read_group(x, p, at, end);
		if (at == 0 || x->is_long)
			return;
		if (x->is_open && x->n_groups == 1 && at < end && p[at] == ')')
			at++;
		next = at + skip_seps(p, at, end, &sep);
		/* Without any only before or behind a parenthesis. */
		if (next == at && !x->groups[x->n_groups - 1].is_inside &&
		    !(at < end && p[at] == '('))
			return;
		at = next;
	}
}

/* Digits of the first n groups. */
static size_t
digits_of(const struct number *x, size_t n)
{
	return n == 0 ? 0 : x->groups[n - 1].from + x->groups[n - 1].n;
}

/* Does a part of a word, of a time or of a larger number follow? */
static bool
goes_on(const struct personal_scan *s, const struct number *x, size_t n)
{
	size_t end = x->groups[n - 1].end;
	const char *p = s->p;

	if (end < s->n && is_word(p[end]))
		return true;
	if (end < s->n && p[end] == ':' && is_digit_at(p, end + 1, s->n))
		return true;
	if (end < s->n && p[end] == ',' && is_digit_at(p, end + 1, s->n))
		return true;
	return n < x->n_groups &&
	       (x->groups[n].sep == SEP_DASH || x->groups[n].sep == SEP_DOT);
}

static bool
luhn_holds(const char *digits, size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned d = (unsigned)(digits[n - 1 - i] - '0');

		if (i % 2 == 1)
			d *= 2;
		sum += d > 9 ? d - 9 : d;
	}
	return sum % 10 == 0;
}

/* Who issues cards under which first digits, and how long their numbers are. */
static const struct {
	unsigned from, to; /* of the first four digits */
	size_t shortest, longest;
} issuers[] = {
    {3000, 3059, 14, 14}, /* Diners Club */
    {3400, 3499, 15, 15}, /* American Express */
    {3528, 3589, 16, 19}, /* JCB */
    {3600, 3699, 14, 14}, /* Diners Club */
    {3700, 3799, 15, 15}, /* American Express */
    {3800, 3999, 14, 14}, /* Diners Club */
    {4000, 4999, 16, 16}, /* Visa */
    {4000, 4999, 19, 19}, /* Visa */
    {5000, 5099, 16, 19}, /* Maestro */
    {5100, 5599, 16, 16}, /* Mastercard */
    {5600, 5899, 16, 19}, /* Maestro */
    {6000, 6999, 16, 19}, /* Discover, UnionPay, Maestro, RuPay */
    {2200, 2204, 16, 19}, /* Mir */
    {2221, 2720, 16, 16}, /* Mastercard */
    {8100, 8171, 16, 19}, /* UnionPay */
    {9792, 9792, 16, 16}, /* Troy */
};

static bool
is_issued(const char *digits, size_t n)
{
	unsigned first = 0;

	for (size_t i = 0; i < 4; i++)
		first = first * 10 + (unsigned)(digits[i] - '0');
	for (size_t i = 0; i < sizeof(issuers) / sizeof(issuers[0]); i++)
		if (first >= issuers[i].from && first <= issuers[i].to &&
		    n >= issuers[i].shortest && n <= issuers[i].longest)
			return true;
	return false;
}

/* How many groups are a card's number; 0: none. */
static size_t
match_card(const struct personal_scan *s, const struct number *x)
{
	size_t last = 0;

	while (last < x->n_groups && !x->groups[last].is_inside &&
	       (last == 0 || x->groups[last].sep == SEP_SPACE ||
		   x->groups[last].sep == SEP_DASH))
		last++;
	for (; last > 0; last--) {
		size_t n = digits_of(x, last);

		if (n < 14 || n > 19 || (last > 1 && x->groups[0].n > 8))
			continue;
		if (is_issued(x->digits, n) && luhn_holds(x->digits, n) &&
		    !(last == 1 && goes_on(s, x, last)))
			return last;
	}
	return 0;
}

/* +49 … : E.164, at most 15 digits. */
static size_t
match_plus(const struct personal_scan *s, const struct number *x)
{
	const char *d = x->digits;
	size_t last = x->n_groups;

	if (d[0] == '0' || x->is_long)
		return 0;
	/* Countries 1 and 7 have numbers of one length. */
	if (d[0] == '1' || d[0] == '7') {
		while (last > 0 && digits_of(x, last) != 11)
			last--;
		return last;
	}
	while (last > 1 && (digits_of(x, last) > 15 || goes_on(s, x, last)))
		last--;
	/* A decimal fraction; a number that is round. */
	if (last == 2 && x->groups[1].sep == SEP_DOT && digits_of(x, 2) <= 10)
		return 0;
	if (last == 0 || digits_of(x, last) < 8 || digits_of(x, last) > 15 ||
	    (d[2] == '0' && d[3] == '0'))
		return 0;
	return last;
}

/* 0049 … : the same, dialled. Leading zeros alone are no phone. */
static size_t
match_double_zero(const struct personal_scan *s, const struct number *x)
{
	const char *d = x->digits;
	size_t last = x->n_groups, n;

	while (last > 1 && (digits_of(x, last) > 17 || goes_on(s, x, last)))
		last--;
	n = digits_of(x, last);
	if (d[2] == '0' || n > 17 || goes_on(s, x, last))
		return 0;
	if (d[2] == '1' || d[2] == '7')
		return n == 13 ? last : 0;
	return n >= (last > 1 ? 11 : 12) ? last : 0;
}

/* Do four groups of up to three digits with dots between make an address? */
static bool
is_host(const struct number *x)
{
	if (x->n_groups < 4)
		return false;
	for (size_t i = 0; i < 4; i++)
		if (x->groups[i].n > 3 ||
		    (i > 0 && x->groups[i].sep != SEP_DOT))
			return false;
	return true;
}

static int
value_of(const struct number *x, size_t group)
{
	const struct group *g = &x->groups[group];
	int v = 0;

	for (size_t i = 0; i < g->n; i++)
		v = v * 10 + (x->digits[g->from + i] - '0');
	return v;
}

/* Are the first three groups a date, in any of the usual orders? */
static bool
is_date(const struct number *x)
{
	const struct group *g = x->groups;
	int a, b, c;

	if (x->n_groups < 3 || g[0].n > 4 || g[1].n > 2 || g[2].n > 4 ||
	    g[1].sep != g[2].sep || g[1].sep == SEP_SPACE ||
	    g[1].sep == SEP_NONE)
		return false;
	a = value_of(x, 0);
	b = value_of(x, 1);
	c = value_of(x, 2);
	if (g[0].n == 4)
		return g[2].n <= 2 && b >= 1 && b <= 12 && c >= 1 && c <= 31;
	return g[0].n <= 2 && (g[2].n == 2 || g[2].n == 4) && a >= 1 &&
	       b >= 1 && ((a <= 31 && b <= 12) || (a <= 12 && b <= 31));
}

/* 06.12.34.56.78: more pairs than a date or a host's address has. */
static bool
is_pairs(const struct number *x)
{
	if (x->n_groups != 5)
		return false;
	for (size_t i = 0; i < 5; i++)
		if (x->groups[i].n != 2 ||
		    (i > 1 && x->groups[i].sep != x->groups[1].sep))
			return false;
	return true;
}

/* 030 1234567, (020) 7946 0958 */
static size_t
match_national(const struct personal_scan *s, const struct number *x)
{
	size_t last = x->n_groups;

	if (x->digits[1] == '0' || x->groups[0].n < 2 || x->groups[0].n > 6 ||
	    (!is_pairs(x) && (is_host(x) || is_date(x))))
		return 0;
	while (last > 1 && (digits_of(x, last) > 12 || goes_on(s, x, last)))
		last--;
	return last > 1 && digits_of(x, last) >= 9 ? last : 0;
}

/* (415) 555-2671, 1-415-555-2671 */
static size_t
match_american(const struct personal_scan *s, const struct number *x)
{
	size_t i = x->groups[0].n == 1 && x->digits[0] == '1';
	const struct group *g = x->groups + i;

	if (x->n_groups < i + 3 || g[0].n != 3 || g[1].n != 3 || g[2].n != 4)
		return 0;
	if (x->digits[g[0].from] < '2' || x->digits[g[1].from] < '2')
		return 0;
	return goes_on(s, x, i + 3) ? 0 : i + 3;
}

/* The word that ends before `at`; *out_n 0: none. Gives where it begins. */
static size_t
word_before(const char *p, size_t at, size_t *out_n)
{
	size_t end, least = at > 4 ? at - 4 : 0;

	while (at > least && strchr(" :#.=-\t", p[at - 1]) != NULL)
		at--;
	end = at;
	while (at > 0 && end - at < 24 && isalpha((unsigned char)p[at - 1]))
		at--;
	*out_n = end - at;
	return at;
}

static bool
is_among(const char *p, size_t n, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strlen(*words) == n && strncasecmp(p, *words, n) == 0)
			return true;
	return false;
}

/* Does what stands before it say that it is a number of something else? */
static bool
is_labelled(const char *p, size_t at)
{
	static const char *const neutral[] = {
	    "number", "no", "nr", "num", "nummer", "is", "id", "code", NULL};
	static const char *const things[] = {"order", "invoice", "ticket",
	    "case", "ref", "reference", "tracking", "parcel", "shipment",
	    "isbn", "issn", "sku", "article", "item", "part", "customer",
	    "account", "contract", "serial", "version", "build", "bestellung",
	    "bestellnummer", "rechnung", "rechnungsnummer", "auftrag",
	    "auftragsnummer", "kundennummer", "sendung", "artikel",
	    "artikelnummer", "commande", "facture", "pedido", "factura", NULL};
	size_t n;

	if (at > 0 && p[at - 1] == '#')
		return true;
	for (int i = 0; i < 3; i++) {
		at = word_before(p, at, &n);
		if (n == 0)
			return false;
		if (is_among(p + at, n, things))
			return true;
		if (!is_among(p + at, n, neutral))
			return false;
	}
	return false;
}

/* May a number begin here, or is this the middle of something? */
static bool
is_beginning(const char *p, size_t at)
{
	if (at == 0)
		return true;
	if (is_word(p[at - 1]))
		return false;
	return at < 2 || strchr(".,-/", p[at - 1]) == NULL ||
	       !isdigit((unsigned char)p[at - 2]);
}

/* "DE89 3704 0044 …": what follows two capitals and digits is theirs. */
static bool
is_code(const char *p, size_t at)
{
	return at >= 2 && isupper((unsigned char)p[at - 1]) &&
	       isupper((unsigned char)p[at - 2]) &&
	       (at == 2 || !is_word(p[at - 3]));
}

static size_t
match_phone(const struct personal_scan *s, const struct number *x)
{
	size_t n;

	if (x->is_long || is_labelled(s->p, x->start))
		return 0;
	if (x->digits[0] != '0')
		return match_american(s, x);
	if (x->n_digits < 9)
		return 0;
	n = x->digits[1] == '0' ? match_double_zero(s, x) : 0;
	return n > 0 ? n : match_national(s, x);
}

static size_t
found(struct personal *out, enum personal_kind kind, const struct number *x,
    size_t last)
{
	*out = (struct personal){kind, x->start, x->groups[last - 1].end};
	return out->end - out->start;
}

/* Of a number that is none: the groups that need not be looked at again. */
static size_t
skip_of(const struct number *x, const char *p, size_t at)
{
	size_t groups = 1;

	if (is_code(p, at))
		groups = x->n_groups;
	else if (is_date(x))
		groups = 3;
	return x->groups[groups - 1].end - at;
}

static size_t
match_international(
    const struct personal_scan *s, size_t at, size_t end, struct personal *out)
{
	struct number x = {0};
	size_t last;

	if (at > 0 && (is_word(s->p[at - 1]) || s->p[at - 1] == '+'))
		return 0;
	if (!is_digit_at(s->p, at + 1, end))
		return 0;
	x.is_open = at > 0 && s->p[at - 1] == '(';
	read_number(&x, s->p, at + 1, end);
	last = x.n_groups > 0 ? match_plus(s, &x) : 0;
	x.start = at;
	return last > 0 ? found(out, PERSONAL_PHONE, &x, last) : 0;
}

size_t
personal_number(const struct personal_scan *s, size_t at, size_t end,
    struct personal *out, size_t *out_skip)
{
	struct number x = {0};
	size_t last;

	*out_skip = 1;
	if (s->p[at] == '+')
		return match_international(s, at, end, out);
	read_number(&x, s->p, at, end);
	if (x.n_groups == 0) {
		while (is_digit_at(s->p, at + *out_skip, end))
			(*out_skip)++;
		return 0;
	}
	*out_skip = skip_of(&x, s->p, at);
	if (!is_beginning(s->p, at))
		return 0;
	last = match_card(s, &x);
	if (last > 0)
		return found(out, PERSONAL_CARD, &x, last);
	last = match_phone(s, &x);
	return last > 0 ? found(out, PERSONAL_PHONE, &x, last) : 0;
}
