/*
 * natterctl prices: load, list, set, remove. Through functions of the database
 * that leave a row in the audit log.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/account.h"
#include "ctl/migration_files.h"
#include "ctl/price_list.h"
#include "ctl/prices.h"
#include "store/pg.h"

#define LOAD_SQL "SELECT changed, removed FROM chat.prices_load($1, $2, $3, $4)"
#define PUT_SQL  "SELECT changed, removed FROM chat.prices_put($1, $2, $3, $4)"

static enum ctl_exit
parse(const char *name, const char *text, size_t n, struct price_list *out)
{
	char why[PRICE_LIST_WHY];

	if (price_list_read(text, n, out, why) == OK)
		return CTL_OK;
	return ctl_refuse(CTL_FAILED, "%s: %s; nothing was changed", name, why);
}

/* The list of the file, or the shipped one for NULL. */
static enum ctl_exit
read_list(const char *path, struct price_list *out)
{
	const struct embedded_file *shipped;
	char *text = NULL;
	size_t n = 0;
	enum ctl_exit code;

	if (path == NULL) {
		shipped = embedded_find(PRICE_LIST_SHIPPED);
		return shipped != NULL
			   ? parse(
				 shipped->name, shipped->text, shipped->n, out)
			   : ctl_refuse(CTL_FAILED, "no prices are built in");
	}
	code = ctl_read_file(path, &text, &n);
	if (code == CTL_OK)
		code = parse(path, text, n, out);
	free(text);
	return code;
}

/* Hands the list to the database; the result says what changed. */
static enum ctl_exit
load(struct account *a, const char *sql, const struct price_list *list,
    bool replaces)
{
	const char *values[] = {
	    list->currency, list->as_of, list->prices, replaces ? "t" : "f"};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(a, sql, 4, values, &r);

	if (code == CTL_OK)
		printf("Loaded the prices of %zu models (%s, as of %s): %s "
		       "changed, %s removed.\n",
		    list->n, list->currency, list->as_of, pg_text(r, 0, 0),
		    pg_text(r, 0, 1));
	return code;
}

enum ctl_exit
prices_load_shipped(PGconn *conn, bool has_changed)
{
	struct account a = {.conn = conn};
	struct price_list list = {0};
	AUTO_PGRESULT PGresult *there = NULL, *any = NULL;
	enum ctl_exit code = account_call(&a,
	    "SELECT to_regprocedure('chat.prices_put(text, date, jsonb, "
	    "boolean)') IS NOT NULL",
	    0, NULL, &there);

	if (code != CTL_OK || !pg_flag(there, 0, 0))
		return code;
	code = account_call(
	    &a, "SELECT FROM chat.model_prices LIMIT 1", 0, NULL, &any);
	if (code != CTL_OK || PQntuples(any) > 0)
		return code;
	code = read_list(NULL, &list);
	if (code == CTL_OK)
		code = load(&a, has_changed ? PUT_SQL : LOAD_SQL, &list, false);
	price_list_clear(&list);
	return code;
}

enum ctl_exit
ctl_prices_load(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	struct price_list list = {0};
	bool replaces = false;
	const char *path = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"replace", OPTION_FLAG, &replaces},
	    {0},
	};

	if (!ctl_options_maybe(self, argc, argv, rows, &path, &code))
		return code;
	code = read_list(path, &list);
	if (code == CTL_OK)
		code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = load(&a, LOAD_SQL, &list, replaces);
	price_list_clear(&list);
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_prices_list(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	AUTO_PGRESULT PGresult *of = NULL, *r = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, NULL, 0, &code))
		return code;
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = account_call(&a,
		    "SELECT currency, as_of FROM chat.price_list", 0, NULL,
		    &of);
	if (code == CTL_OK)
		code = account_call(&a,
		    "SELECT model, input, coalesce(cached_input::text, '-'),"
		    " output FROM chat.model_prices ORDER BY model",
		    0, NULL, &r);
	if (code == CTL_OK && PQntuples(of) > 0)
		printf("%s for 1,000,000 tokens, as of %s\n", pg_text(of, 0, 0),
		    pg_text(of, 0, 1));
	if (code == CTL_OK)
		printf("%-32s  %13s  %13s  %13s\n", "model", "input",
		    "cached input", "output");
	for (int i = 0; code == CTL_OK && i < PQntuples(r); i++)
		printf("%-32s  %13s  %13s  %13s\n", pg_text(r, i, 0),
		    pg_text(r, i, 1), pg_text(r, i, 2), pg_text(r, i, 3));
	account_close(&a);
	return code;
}

static enum ctl_exit
judge(const char *model, const char *const prices[static 3])
{
	static const char *const names[] = {
	    "--input", "--cached-input", "--output"};

	if (!price_is_model(model))
		return ctl_refuse(CTL_USAGE,
		    "a model has a name of 1 to %d characters without blanks",
		    PRICE_MODEL_MAX);
	for (int i = 0; i < 3; i++)
		if (prices[i] == NULL ? i != 1 : !price_is_number(prices[i]))
			return ctl_refuse(
			    CTL_USAGE, "%s takes " PRICE_NUMBER_RULE, names[i]);
	return CTL_OK;
}

enum ctl_exit
ctl_prices_set(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *values[4] = {NULL};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"input", OPTION_TEXT, &values[1]},
	    {"cached-input", OPTION_TEXT, &values[2]},
	    {"output", OPTION_TEXT, &values[3]},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, values, 1, &code))
		return code;
	code = judge(values[0], &values[1]);
	if (code == CTL_OK)
		code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = account_call(
		    &a, "SELECT chat.price_set($1, $2, $3, $4)", 4, values, &r);
	if (code == CTL_OK)
		printf("%s the price of %s.\n",
		    pg_flag(r, 0, 0) ? "Set" : "Changed", values[0]);
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_prices_remove(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *model = NULL;
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &model, 1, &code))
		return code;
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = account_call(
		    &a, "SELECT chat.price_remove($1)", 1, &model, &r);
	if (code == CTL_OK && !pg_flag(r, 0, 0))
		code = ctl_refuse(CTL_FAILED,
		    "%s has no price of its own: natterctl prices list shows "
		    "them",
		    model);
	else if (code == CTL_OK)
		printf("Removed the price of %s.\n", model);
	account_close(&a);
	return code;
}
