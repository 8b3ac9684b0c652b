/*
 * A file of models' prices, as share/prices.json is one: read and checked as a
 * whole, so that a list is loaded or refused with the entry that is wrong.
 * Knows no database.
 *
 * Thread: there is one.
 */
#ifndef CTL_PRICE_LIST_H
#define CTL_PRICE_LIST_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/errors.h"

#define PRICE_LIST_WHY     256
#define PRICE_MODELS_MAX   2000
#define PRICE_MODEL_MAX    200 /* characters */
#define PRICE_NUMBER_RULE  "a number from 0 to 999999.999999"
#define PRICE_LIST_SHIPPED "prices.json"

/* Everything belongs to `json`: price_list_clear. */
struct price_list {
	struct json_object *json;
	const char *currency;
	const char *as_of;
	const char *prices; /* JSON, as chat.prices_put takes it */
	size_t n;
};

/* ERR_INVALID_FIELD: `why` names the entry and says what is wrong with it. */
enum err price_list_read(const char *text, size_t n, struct price_list *out,
    char why[static PRICE_LIST_WHY]) MUST_CHECK;
void price_list_clear(struct price_list *list);

/* Is it a price: digits, at most six before and six after the point? */
bool price_is_number(const char *text);

/* May a model be called so? */
bool price_is_model(const char *name);

#endif
