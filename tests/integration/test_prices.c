/*
 * natterctl prices and usage on a database of their own: what is loaded and
 * when, what is refused, what a reply costs, and which models doctor names.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "expect.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	admin_provide_schema();
}

static char database[48];
static char file[] = "/tmp/natter-prices-XXXXXX";

static void
begin(void)
{
	int fd = mkstemp(file);

	cr_assert_geq(fd, 0);
	close(fd);
	snprintf(database, sizeof(database), "natter_prices_%d", getpid());
	admin_schema(database);
}

static void
end(void)
{
	admin_drop(database);
	unlink(file);
}

TestSuite(prices, .init = begin, .fini = end, .timeout = 240);

static void
write_file(const char *text)
{
	FILE *f = fopen(file, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

#define COUNT "SELECT count(*) FROM chat.model_prices"
#define LIST(currency, entries)                                    \
	"{\"currency\":\"" currency "\",\"as_of\":\"2026-01-31\"," \
	"\"prices\":[" entries "]}"
#define ENTRY(model, in, out) \
	"{\"model\":\"" model "\",\"input\":" in ",\"output\":" out "}"

Test(prices, migrate_up_loads_the_shipped_ones_once)
{
	char *n;

	admin_database(database);
	EXPECT(0, "Loaded the prices of ", "migrate", "up");
	n = admin_value(COUNT);
	cr_expect_gt(atoi(n), 10);
	EXPECT_VALUE("SELECT currency FROM chat.price_list", "USD");
	/* The schema's record says it; the audit log need not. */
	EXPECT_VALUE("SELECT count(*) FROM audit.log", "0");
	/* What was changed stays. */
	EXPECT(0, "Removed the price of gpt-4o.", "prices", "remove", "gpt-4o");
	EXPECT(0, "Nothing to do", "migrate", "up");
	EXPECT_VALUE("SELECT count(*) FROM chat.model_prices WHERE model = "
		     "'gpt-4o'",
	    "0");
	/* Without any, they come again, and then it is noted. */
	admin_sql("DELETE FROM chat.model_prices");
	EXPECT(0, "Loaded the prices of ", "migrate", "up");
	EXPECT_VALUE(COUNT, n);
	EXPECT_VALUE("SELECT count(*) FROM audit.log WHERE action = "
		     "'prices.load' AND actor_kind = 'natterctl'",
	    "1");
	admin_sql("DELETE FROM chat.model_prices");
	EXPECT(0, "would take back", "migrate", "down", "--dry-run");
	EXPECT_VALUE(COUNT, "0");
	EXPECT(0, "All is well", "migrate", "verify");
	free(n);
}

Test(prices, a_list_is_merged_or_replaces_and_is_loaded_whole)
{
	write_file(LIST(
	    "USD", ENTRY("gpt-4o", "7", "8") "," ENTRY("own", "0.5", "1.25")));
	EXPECT(0,
	    "Loaded the prices of 2 models (USD, as of 2026-01-31): 2 "
	    "changed, 0 removed.",
	    "prices", "load", file);
	EXPECT_VALUE("SELECT input || ' ' || coalesce(cached_input::text, '-')"
		     " || ' ' || output FROM chat.model_prices WHERE model = "
		     "'gpt-4o'",
	    "7.000000 - 8.000000");
	EXPECT_VALUE("SELECT count(*) > 10 FROM chat.model_prices", "t");
	EXPECT(0, "0 changed, 0 removed", "prices", "load", file);
	/* One that is wrong, and nothing is loaded. */
	write_file(
	    LIST("USD", ENTRY("new", "1", "1") "," ENTRY("bad", "-1", "1")));
	EXPECT(1, "entry 2 (bad): input must be", "prices", "load", file);
	write_file(LIST("USD", ENTRY("new", "1", "1")) "x");
	EXPECT(
	    1, "no JSON object; nothing was changed", "prices", "load", file);
	write_file(
	    "{\"currency\":\"USD\",\"as_of\":\"2026-02-31\",\"prices\":[" ENTRY(
		"new", "1", "1") "]}");
	EXPECT(1, "date/time field value out of range", "prices", "load", file);
	/* Two currencies at once would be sums of nothing. */
	write_file(LIST("EUR", ENTRY("new", "1", "1")));
	EXPECT(1, "these prices are in EUR, those that are there in USD",
	    "prices", "load", file);
	EXPECT_VALUE("SELECT count(*) FROM chat.model_prices WHERE model IN "
		     "('new', 'bad')",
	    "0");
	EXPECT(0, "1 changed", "prices", "load", "--replace", file);
	EXPECT_VALUE(COUNT, "1");
	EXPECT(
	    0, "EUR for 1,000,000 tokens, as of 2026-01-31", "prices", "list");
	EXPECT(0, "USD", "prices", "load", "--replace");
	EXPECT_VALUE("SELECT count(*) FROM chat.model_prices WHERE model = "
		     "'new'",
	    "0");
	EXPECT(1, "cannot be opened", "prices", "load", "/nowhere/p.json");
	EXPECT(2, "usage: natterctl prices load", "prices", "load", "a", "b");
}

Test(prices, one_is_set_listed_and_removed)
{
	EXPECT(0, "Set the price of my-model.", "prices", "set", "my-model",
	    "--input", "0.5", "--output", "2");
	EXPECT(0,
	    "my-model                               0.500000              "
	    "-       2.000000",
	    "prices", "list");
	EXPECT(0, "Changed the price of my-model.", "prices", "set", "my-model",
	    "--input", "1", "--cached-input", "0.25", "--output", "2");
	EXPECT_VALUE("SELECT cached_input FROM chat.model_prices WHERE model = "
		     "'my-model'",
	    "0.250000");
	EXPECT(2, "--input takes", "prices", "set", "m", "--output", "1");
	EXPECT(2, "--output takes", "prices", "set", "m", "--input", "1",
	    "--output", "1e3");
	EXPECT(2, "--cached-input takes", "prices", "set", "m", "--input", "1",
	    "--cached-input", "x", "--output", "1");
	EXPECT(2, "a model has a name", "prices", "set", "a b", "--input", "1",
	    "--output", "1");
	EXPECT(0, "Removed", "prices", "remove", "my-model");
	EXPECT(1, "my-model has no price of its own", "prices", "remove",
	    "my-model");
}

/* By hand: (sent - cached) * input + cached * cached_input + received * output,
 * for a million. */
Test(prices, a_reply_costs_what_the_list_says)
{
	static const struct {
		const char *of; /* model, sent, cached, received */
		const char *cost;
	} rows[] = {
	    {"'gpt-4o', 1000, 0, 0", "0.0025"},
	    {"'gpt-4o', 0, 0, 1000", "0.01"},
	    {"'gpt-4o', 1000, 400, 100", "0.003"},
	    {"'gpt-4o', 1000, 1000, 0", "0.00125"},
	    /* A model that says more is cached than was sent. */
	    {"'gpt-4o', 1000, 5000, 0", "0.00125"},
	    {"'gpt-4o-mini', 1000, 0, 1000", "0.00075"},
	    /* A version is its model's, and the longest name counts. */
	    {"'gpt-4o-2024-08-06', 1000, 0, 0", "0.0025"},
	    {"'gpt-4o-mini-2024-07-18', 1000, 0, 1000", "0.00075"},
	    {"'gpt-4o-mini-2024-07-18', 1000, 1000, 0", "0.000075"},
	    {"'gpt-4o-2024-05-13', 1000, 1000, 1000", "0.02"},
	    {"'gpt-4.1-nano-2025-04-14', 1, 0, 0", "0.0000001"},
	    {"'gpt-5-nano', 3, 2, 1", "0.00000046"},
	    {"'o3-mini', 1000, 0, 0", "0.0011"},
	    {"'o3-pro-2025-06-10', 1000, 500, 1", "0.02008"},
	    {"'natter-local', 100000, 0, 100000", "0"},
	    {"'gpt-4o', 2000000000, 0, 2000000000", "25000"},
	    /* No version of it, and nothing without a price. */
	    {"'gpt-4ox', 1000, 0, 0", ""},
	    {"'gpt-4', 1000, 0, 0", ""},
	    {"'GPT-4o', 1000, 0, 0", ""},
	    {"'', 1000, 0, 0", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char sql[160];

		snprintf(sql, sizeof(sql),
		    "SELECT trim_scale(chat.cost_of(%s))", rows[i].of);
		EXPECT_VALUE(sql, rows[i].cost);
	}
}

#define USER "00000000-0000-7000-8000-00000000000a"
#define USED(model, ago, cost, billed)                                         \
	"INSERT INTO chat.usage_tracking (user_id, id, model, prompt_tokens,"  \
	" completion_tokens, cost, is_billed, counted_on, created_at) SELECT " \
	"'" USER "', natter.uuid_v7(t), '" model "', 10, 20, " cost            \
	", " billed ", (t AT TIME ZONE 'UTC')::date, t FROM (SELECT now() - "  \
	"interval '" ago "') x(t);"

Test(prices, doctor_names_models_without_one)
{
	admin_sql("INSERT INTO auth.users (id, username) VALUES ('" USER
		  "', 'ada');" USED("gpt-4o-2024-08-06", "1 day", "0.1", "true")
		      USED("cheap", "2 days", "0", "true")
			  USED("old", "20 days", "0", "true")
			      USED("cached", "1 day", "0", "false")
				  USED("natter-local", "1 day", "0", "true"));
	EXPECT_VALUE("SELECT string_agg(m, ' ') FROM "
		     "chat.models_unpriced('7 days') m",
	    "cheap");
	EXPECT(0, "Set", "prices", "set", "cheap", "--input", "0", "--output",
	    "0");
	EXPECT_VALUE(
	    "SELECT count(*) FROM chat.models_unpriced('7 days') m", "0");
}

Test(prices, usage_is_told_at_the_shell)
{
	admin_sql("INSERT INTO auth.users (id, username) VALUES ('" USER
		  "', 'ada');" USED("=b", "1 day", "0.25", "true")
		      USED("a", "1 day", "0.5", "true") USED("a", "2 days",
			  "0.125", "true") USED("a", "100 days", "9", "true"));
	EXPECT(0, USER ",ada,3,0,0,30,0,60,90,0.875,USD\r\n", "usage", "--by",
	    "user", "--csv");
	EXPECT(0,
	    "model,replies,estimated_replies,unpriced_replies,"
	    "prompt_tokens,cached_tokens,"
	    "completion_tokens,total_tokens,cost,currency\r\n"
	    "'=b,1,0,0,10,0,20,30,0.25,USD\r\na,2,0,0,20,0,40,60,0.625,USD",
	    "usage", "--by", "model", "--csv");
	EXPECT(0, "ada", "usage", "--by", "day,user");
	EXPECT(0, ",ada,4,0,", "usage", "--by", "user", "--csv", "--from",
	    "2000-01-01");
	EXPECT(2, "--by takes", "usage", "--by", "week");
	EXPECT(2, "--from takes a day", "usage", "--from", "soon");
	EXPECT(2, "--to takes a day", "usage", "--to", "2026-02-30");
	EXPECT(2, "--from is after --to", "usage", "--from", "2026-02-01",
	    "--to", "2026-01-31");
	EXPECT_VALUE("SELECT count(*) FROM audit.log WHERE action = "
		     "'usage.read' AND actor_kind = 'natterctl'",
	    "4");
}
