/*
 * Checking a price list's members, and nothing else.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "ctl/price_list.h"

#define DIGITS "0123456789"

static enum err PRINTF_LIKE(2, 3) refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, PRICE_LIST_WHY, fmt, ap);
	va_end(ap);
	return ERR_INVALID_FIELD;
}

bool
price_is_number(const char *text)
{
	size_t whole = strspn(text, DIGITS), rest;

	if (whole < 1 || whole > 6)
		return false;
	if (text[whole] == '\0')
		return true;
	rest = strspn(text + whole + 1, DIGITS);
	return text[whole] == '.' && rest >= 1 && rest <= 6 &&
	       text[whole + 1 + rest] == '\0';
}

bool
price_is_model(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f)
			return false;
	return n > 0 && text_is_clean(name, n) &&
	       text_length(name, n) <= PRICE_MODEL_MAX;
}

/* YYYY-MM-DD; which days there are, Postgres knows. */
static bool
is_day(const char *s)
{
	static const char form[] = "0000-00-00";

	if (strlen(s) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == '-' ? s[i] != '-' : strchr(DIGITS, s[i]) == NULL)
			return false;
	return true;
}

static bool
is_currency(const char *s)
{
	return strlen(s) == 3 && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

/* A string's text; "" for what is none. */
static const char *
text_of(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	(void)json_object_object_get_ex(o, name, &v);
	return json_object_is_type(v, json_type_string)
		   ? json_object_get_string(v)
		   : "";
}

/* The first member that `known` does not name; NULL: there is none. */
static const char *
unknown(struct json_object *o, const char *const *known)
{
	json_object_object_foreach(o, key, value)
	{
		size_t i = 0;

		(void)value;
		while (known[i] != NULL && strcmp(known[i], key) != 0)
			i++;
		if (known[i] == NULL)
			return key;
	}
	return NULL;
}

static enum err
check_number(struct json_object *entry, const char *where, const char *name,
    bool is_required, char *why)
{
	struct json_object *v = NULL;

	(void)json_object_object_get_ex(entry, name, &v);
	if (v == NULL && !is_required)
		return OK;
	if (v == NULL)
		return refuse(why, "%s has no %s", where, name);
	if ((json_object_is_type(v, json_type_int) ||
		json_object_is_type(v, json_type_double)) &&
	    price_is_number(json_text(v, NULL)))
		return OK;
	return refuse(why, "%s: %s must be " PRICE_NUMBER_RULE, where, name);
}

static enum err
check_entry(struct json_object *entry, size_t i, char *why)
{
	static const char *const known[] = {
	    "model", "input", "cached_input", "output", NULL};
	const char *model, *bad;
	char where[128];
	enum err e;

	snprintf(where, sizeof(where), "entry %zu", i + 1);
	if (!json_object_is_type(entry, json_type_object))
		return refuse(why, "%s is no object", where);
	model = text_of(entry, "model");
	if (!price_is_model(model))
		return refuse(why,
		    "%s: model must be a name of 1 to %d characters without "
		    "blanks",
		    where, PRICE_MODEL_MAX);
	snprintf(where, sizeof(where), "entry %zu (%.80s)", i + 1, model);
	bad = unknown(entry, known);
	if (bad != NULL)
		return refuse(why, "%s: %.40s is not known", where, bad);
	e = check_number(entry, where, "input", true, why);
	if (e == OK)
		e = check_number(entry, where, "cached_input", false, why);
	return e == OK ? check_number(entry, where, "output", true, why) : e;
}

/* Each entry by itself, and none of them twice. */
static enum err
check_entries(struct json_object *prices, size_t n, char *why)
{
	AUTO_JSON struct json_object *seen = json_object_new_object();

	for (size_t i = 0; i < n; i++) {
		struct json_object *entry =
		    json_object_array_get_idx(prices, i);
		enum err e = check_entry(entry, i, why);
		const char *model;

		if (e != OK)
			return e;
		model = text_of(entry, "model");
		if (json_object_object_get_ex(seen, model, NULL))
			return refuse(why,
			    "entry %zu (%.80s): it is there "
			    "twice",
			    i + 1, model);
		json_put_flag(seen, model, true);
	}
	return OK;
}

static enum err
check_list(struct json_object *o, struct json_object **out_prices, char *why)
{
	static const char *const known[] = {
	    "about", "currency", "as_of", "prices", NULL};
	struct json_object *prices = NULL;
	const char *bad = unknown(o, known);
	size_t n = 0;

	if (bad != NULL)
		return refuse(why, "%.40s is not known", bad);
	if (!is_currency(text_of(o, "currency")))
		return refuse(why, "currency must be three letters such as "
				   "USD");
	if (!is_day(text_of(o, "as_of")))
		return refuse(why, "as_of must be a day such as 2026-01-31");
	(void)json_object_object_get_ex(o, "prices", &prices);
	if (json_object_is_type(prices, json_type_array))
		n = json_object_array_length(prices);
	if (n < 1 || n > PRICE_MODELS_MAX)
		return refuse(why, "prices must be an array of 1 to %d objects",
		    PRICE_MODELS_MAX);
	*out_prices = prices;
	return check_entries(prices, n, why);
}

enum err
price_list_read(const char *text, size_t n, struct price_list *out,
    char why[static PRICE_LIST_WHY])
{
	struct json_object *o = NULL, *prices = NULL;
	enum err e = json_parse_object(text, n, &o);

	if (e != OK)
		return refuse(why, "it is no JSON object");
	e = check_list(o, &prices, why);
	if (e != OK) {
		json_object_put(o);
		return e;
	}
	*out = (struct price_list){
	    .json = o,
	    .currency = text_of(o, "currency"),
	    .as_of = text_of(o, "as_of"),
	    .prices = json_text(prices, NULL),
	    .n = json_object_array_length(prices),
	};
	return OK;
}

void
price_list_clear(struct price_list *list)
{
	json_object_put(list->json);
	*list = (struct price_list){0};
}
