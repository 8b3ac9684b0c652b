/*
 * chat.model_prices, as superuser.
 */
#include <stdio.h>

#include "prices.h"
#include "stack.h"

void
price_set(const char *model, const char *price)
{
	char sql[256], got[8];

	snprintf(sql, sizeof(sql),
	    "INSERT INTO chat.model_prices (model, input, output)"
	    " VALUES ($1, %s, %s) ON CONFLICT (model) DO UPDATE"
	    " SET input = excluded.input, output = excluded.output",
	    price, price);
	db_value(sql, model, got, sizeof(got));
}

void
prices_forget(const char *begin)
{
	char got[8];

	db_value("DELETE FROM chat.model_prices WHERE starts_with(model, $1)",
	    begin, got, sizeof(got));
}
