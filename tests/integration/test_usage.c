/*
 * What replies used and cost, through a real nginx: on each message, summed up
 * for its owner, and for administrators, as JSON and as CSV.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "api_row.h"
#include "base/buf.h"
#include "stack.h"

/* Its price is this program's alone. */
#define MODEL "priced-by-test-usage"
#define PRICE "2.5, 1.25, 10"

static struct api_caller caller; /* a user */
static struct person boss;       /* an administrator */

static void
sql(const char *text)
{
	char ignored[8];

	db_value(text, NULL, ignored, sizeof(ignored));
}

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	struct stack_options o = {.has_model = true,
	    .settings = {
		"CHAT_WORKERS=2", "CHAT_MODEL=" MODEL, "CHAT_MODEL_RETRIES=0"}};

	(void)tests;
	stack_share(&o);
	sql("INSERT INTO chat.model_prices (model, input, cached_input, output)"
	    " VALUES ('" MODEL "', " PRICE ") ON CONFLICT DO NOTHING");
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	sql("DELETE FROM chat.model_prices WHERE model LIKE '" MODEL "%'");
	stack_unshare();
}

/* Asks as `p`; fails unless the status is the wanted one. */
static void
get(const struct person *p, const char *path, long status, struct answer *a)
{
	struct ask ask = {
	    .base = caller.stack.base, .path = path, .token = p->token};

	http_ask(&ask, a);
	cr_assert_eq(
	    a->status, status, "%s: %ld %s", path, a->status, a->body.p);
}

static void
make_boss(struct person *p)
{
	char json[512], ignored[8];
	struct answer a;
	struct ask ask = {.method = "POST",
	    .base = caller.stack.base,
	    .path = API "/auth/refresh",
	    .json = json};

	person_make(&caller.stack, p);
	db_value("UPDATE auth.users SET role = 'admin'"
		 " WHERE id = $1::text::uuid RETURNING 1",
	    p->user_id, ignored, sizeof(ignored));
	snprintf(json, sizeof(json), "{\"refresh_token\":\"%s\"}", p->refresh);
	http_ask(&ask, &a);
	cr_assert_eq(a.status, 200, "%s", a.body.p);
	snprintf(
	    p->token, sizeof(p->token), "%s", answer_text(&a, "access_token"));
	answer_clear(&a);
}

static void
setup(void)
{
	api_caller_make(&caller);
	make_boss(&boss);
}

static void
teardown(void)
{
	const struct person *people[] = {&caller.person, &boss};
	char ignored[8];

	api_check_workers(&caller);
	/* Rows that nobody's replies made are amiss to whoever sums them up. */
	for (size_t i = 0; i < 2; i++)
		db_value("DELETE FROM auth.users WHERE id = $1::text::uuid"
			 " RETURNING 1",
		    people[i]->user_id, ignored, sizeof(ignored));
}

TestSuite(usage, .init = setup, .fini = teardown, .timeout = 240);

/* Rows of the caller's, as a SELECT of (at, day, model, prompt, cached,
 * completion, cost, store) gives them. */
static void
use(const char *select)
{
	char text[1024], ignored[8];

	snprintf(text, sizeof(text),
	    "WITH made AS (INSERT INTO chat.usage_tracking (user_id, id,"
	    " counted_on, created_at, model, prompt_tokens, cached_tokens,"
	    " completion_tokens, cost, store_id) SELECT $1::text::uuid,"
	    " natter.uuid_v7(v.at), v.day, v.at + interval '1 minute', v.model,"
	    " v.prompt, v.cached, v.completion, v.cost, v.store::uuid FROM (%s)"
	    " v(at, day, model, prompt, cached, completion, cost, store)"
	    " RETURNING 1) SELECT count(*) FROM made",
	    select);
	db_value(text, caller.person.user_id, ignored, sizeof(ignored));
}

/* Seven days of 2024, two replies on each, one of them late in the evening. */
#define WEEK                                                                 \
	"SELECT timestamptz '2024-03-01 12:00Z' + i * interval '1 day',"     \
	" date '2024-03-01' + i, 'a', 10, 4, 20, 0.5, NULL"                  \
	" FROM generate_series(0, 6) i UNION ALL"                            \
	" SELECT timestamptz '2024-03-01 23:59:30Z' + i * interval '1 day'," \
	" date '2024-03-01' + i, 'b', 1, 0, 2, 0.25, NULL"                   \
	" FROM generate_series(0, 6) i"
#define IN_MARCH "from=2024-03-01&to=2024-03-31"

/* Posts one message; the reply as it is stored. */
static void
say(const char *content, struct answer *out)
{
	char path[128];
	struct answer a;

	person_say(&caller.stack, &caller.person, content, &a);
	snprintf(path, sizeof(path), API "/messages/%s",
	    answer_event_text(&a, "start", "message_id"));
	answer_clear(&a);
	get(&caller.person, path, 200, out);
}

/* What is stored is cost as the daemon stores it, or the price list's. */
static void
price_rows(void)
{
	char ignored[8];

	db_value("WITH done AS (UPDATE chat.usage_tracking u SET cost ="
		 " coalesce(chat.cost_of(u.model, u.prompt_tokens,"
		 " u.cached_tokens, u.completion_tokens), 0)"
		 " WHERE u.user_id = $1::text::uuid AND u.cost = 0"
		 " RETURNING 1) SELECT count(*) FROM done",
	    caller.person.user_id, ignored, sizeof(ignored));
}

Test(usage, a_message_shows_its_tokens_and_its_cost)
{
	struct answer a;
	char path[128], want[64];

	say("[[text=400 seed=1]] go", &a);
	cr_expect_str_eq(answer_text(&a, "usage.completion_tokens"), "100");
	cr_expect_str_eq(answer_text(&a, "usage.cached_tokens"), "0");
	snprintf(path, sizeof(path), API "/messages/%s", answer_text(&a, "id"));
	price_rows();
	db_value("SELECT trim_scale((prompt_tokens * 2.5 + 100 * 10) / 1000000)"
		 " FROM chat.usage_tracking WHERE id = $1::text::uuid",
	    answer_text(&a, "id"), want, sizeof(want));
	answer_clear(&a);
	get(&caller.person, path, 200, &a);
	cr_expect_str_eq(answer_text(&a, "usage.cost"), want);
	answer_clear(&a);
	/* The list and the statistics say the same. */
	snprintf(path, sizeof(path),
	    API "/conversations/%s/messages?order=desc&limit=1",
	    caller.person.conversation);
	get(&caller.person, path, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.usage.cost"), want);
	answer_clear(&a);
}

Test(usage, the_done_event_tells_what_is_stored)
{
	static const char *const members[] = {"usage.prompt_tokens",
	    "usage.cached_tokens", "usage.completion_tokens",
	    "usage.total_tokens", "usage.cost", "usage.estimated"};
	char path[128], told[64];
	struct answer done, stored;

	person_say(
	    &caller.stack, &caller.person, "[[text=400 seed=1]] go", &done);
	snprintf(path, sizeof(path), API "/messages/%s",
	    answer_event_text(&done, "start", "message_id"));
	get(&caller.person, path, 200, &stored);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		snprintf(told, sizeof(told), "%s",
		    answer_event_text(&done, "done", members[i]));
		cr_expect_str_neq(told, "", "%s", members[i]);
		cr_expect_str_eq(
		    told, answer_text(&stored, members[i]), "%s", members[i]);
	}
	answer_clear(&stored);
	answer_clear(&done);
}

Test(usage, a_model_without_a_price_has_no_cost)
{
	struct answer a;
	char path[128];

	use("SELECT now(), current_date, 'nobody-knows-it', 1, 0, 1, 0, NULL");
	db_value("WITH m AS (UPDATE chat.usage_tracking u SET model ="
		 " 'nobody-knows-it', cost = 0 WHERE u.user_id ="
		 " $1::text::uuid AND u.message_id IS NOT NULL"
		 " RETURNING u.message_id) SELECT message_id FROM m LIMIT 1",
	    caller.person.user_id, path, 40);
	memmove(path + strlen(API "/messages/"), path, strlen(path) + 1);
	memcpy(path, API "/messages/", strlen(API "/messages/"));
	get(&caller.person, path, 200, &a);
	cr_expect_not_null(strstr(a.body.p, "\"cost\":null"), "%s", a.body.p);
	answer_clear(&a);
}

/* Failed and broken off ones are there as they were stored. */
Test(usage, sums_are_those_of_the_rows_however_they_ended)
{
	static const char *const says[] = {"[[text=40 seed=1]] a",
	    "[[text=80 seed=2 nousage=1]] b", "[[status=500]] c",
	    "[[cut=2 events=6]] d", "[[midstream_error=3 events=9]] e"};
	char want[128];
	struct answer a;

	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
		person_say(&caller.stack, &caller.person, says[i], &a);
		answer_clear(&a);
	}
	price_rows();
	db_value("SELECT count(*) || ' ' || sum(prompt_tokens) || ' ' ||"
		 " sum(completion_tokens) || ' ' || sum(is_estimated::int) ||"
		 " ' ' || trim_scale(sum(cost)) FROM chat.usage_tracking"
		 " WHERE user_id = $1::text::uuid",
	    caller.person.user_id, want, sizeof(want));
	get(&caller.person, API "/me/usage?by=conversation", 200, &a);
	struct buf got = {0};
	buf_printf(&got, "%s ", answer_text(&a, "data.0.replies"));
	buf_printf(&got, "%s ", answer_text(&a, "data.0.prompt_tokens"));
	buf_printf(&got, "%s ", answer_text(&a, "data.0.completion_tokens"));
	buf_printf(&got, "%s ", answer_text(&a, "data.0.estimated_replies"));
	buf_printf(&got, "%s", answer_text(&a, "data.0.cost"));
	cr_expect_str_eq(buf_text(&got), want, "%s", a.body.p);
	/* One of api_caller_make, and these. */
	cr_expect_str_eq(answer_text(&a, "data.0.replies"), "6");
	cr_expect_str_eq(answer_text(&a, "data.0.conversation_id"),
	    caller.person.conversation);
	cr_expect_str_eq(answer_text(&a, "data.1.replies"), "");
	buf_free(&got);
	answer_clear(&a);
}

/*
 * Follows the cursors of `path`, which has a query: joins `member` of all rows.
 * To be freed.
 */
static char *
walk(const struct person *p, const char *path, const char *member, int *n_pages)
{
	struct buf all = {0};
	char next[1024] = "", url[2048];

	*n_pages = 0;
	do {
		struct answer a;
		char where[64];

		snprintf(url, sizeof(url), "%s%s%s", path,
		    *next ? "&cursor=" : "", next);
		get(p, url, 200, &a);
		for (int i = 0;; i++) {
			snprintf(where, sizeof(where), "data.%d.%s", i, member);
			const char *text = answer_text(&a, where);
			if (!*text)
				break;
			buf_printf(&all, "%s ", text);
		}
		snprintf(
		    next, sizeof(next), "%s", answer_text(&a, "next_cursor"));
		answer_clear(&a);
		++*n_pages;
	} while (*next && *n_pages < 100);
	return buf_take(&all);
}

#define EXPECT_WALK(person, path, member, want, pages)              \
	do {                                                        \
		int n_;                                             \
		char *got_ = walk(person, path, member, &n_);       \
		cr_expect_str_eq(got_, want, "%s: %s", path, got_); \
		cr_expect_eq(n_, pages, "%s: %d pages", path, n_);  \
		free(got_);                                         \
	} while (0)

#define DAYS                                                      \
	"2024-03-07 2024-03-06 2024-03-05 2024-03-04 2024-03-03 " \
	"2024-03-02 2024-03-01 "

Test(usage, ones_own_is_paged_by_day_model_and_conversation)
{
	struct answer a;

	use(WEEK);
	EXPECT_WALK(&caller.person, API "/me/usage?" IN_MARCH "&by=day&limit=3",
	    "day", DAYS, 3);
	EXPECT_WALK(&caller.person, API "/me/usage?" IN_MARCH "&limit=3",
	    "cost", "0.75 0.75 0.75 0.75 0.75 0.75 0.75 ", 3);
	EXPECT_WALK(&caller.person,
	    API "/me/usage?" IN_MARCH "&by=model&limit=1", "model", "a b ", 2);
	EXPECT_WALK(&caller.person,
	    API "/me/usage?" IN_MARCH "&by=conversation&limit=1", "replies",
	    "14 ", 1);
	/* The day is that of the beginning, and both ends are in it. */
	EXPECT_WALK(&caller.person,
	    API "/me/usage?from=2024-03-02&to=2024-03-03", "replies", "2 2 ",
	    1);
	get(&caller.person, API "/me/usage?" IN_MARCH "&by=model", 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.replies"), "7");
	cr_expect_str_eq(answer_text(&a, "data.0.prompt_tokens"), "70");
	cr_expect_str_eq(answer_text(&a, "data.0.cached_tokens"), "28");
	cr_expect_str_eq(answer_text(&a, "data.0.completion_tokens"), "140");
	cr_expect_str_eq(answer_text(&a, "data.0.total_tokens"), "210");
	cr_expect_str_eq(answer_text(&a, "data.0.cost"), "3.5");
	cr_expect_str_eq(answer_text(&a, "data.0.estimated_replies"), "0");
	answer_clear(&a);
	/* Nobody else's. */
	EXPECT_WALK(&boss, API "/me/usage?" IN_MARCH, "day", "", 1);
	/* A list's cursor is that list's. */
	get(&caller.person, API "/me/usage?" IN_MARCH "&limit=1", 200, &a);
	char url[1024];
	snprintf(url, sizeof(url),
	    API "/me/usage?" IN_MARCH "&by=model&cursor=%s",
	    answer_text(&a, "next_cursor"));
	answer_clear(&a);
	get(&caller.person, url, 400, &a);
	answer_clear(&a);
}

/* Rows may be of another day than their ids by the clock of their host. */
Test(usage, a_clock_that_is_off_loses_nothing)
{
	use("SELECT timestamptz '2024-05-03 00:30Z', date '2024-05-02', 'a',"
	    " 1, 0, 1, 0.1, NULL UNION ALL SELECT timestamptz"
	    " '2024-05-01 23:30Z', date '2024-05-02', 'a', 1, 0, 1, 0.1,"
	    " NULL");
	EXPECT_WALK(&caller.person,
	    API "/me/usage?from=2024-05-02&to=2024-05-02", "replies", "2 ", 1);
	EXPECT_WALK(&caller.person,
	    API "/me/usage?from=2024-05-03&to=2024-05-03", "replies", "", 1);
}

/* With the caller's id: what others of this database do is not seen. */
static const char *
of_caller(const char *query)
{
	static char path[4][512];
	static int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), API "/admin/usage?user=%s&%s",
	    caller.person.user_id, query);
	return p;
}

Test(usage, administrators_see_it_by_one_or_two)
{
	char store[40], query[256];
	struct answer a;

	use(WEEK);
	EXPECT_WALK(
	    &boss, of_caller(IN_MARCH "&by=day&limit=3"), "day", DAYS, 3);
	EXPECT_WALK(&boss, of_caller(IN_MARCH "&limit=2"), "replies",
	    "2 2 2 2 2 2 2 ", 4);
	EXPECT_WALK(&boss, of_caller(IN_MARCH "&by=model&limit=1"), "cost",
	    "3.5 1.75 ", 2);
	EXPECT_WALK(&boss, of_caller(IN_MARCH "&by=user"), "username",
	    (snprintf(query, sizeof(query), "%s ", caller.person.username),
		query),
	    1);
	EXPECT_WALK(&boss, of_caller(IN_MARCH "&by=model,day&limit=5"), "model",
	    "a b a b a b a b a b a b a b ", 3);
	EXPECT_WALK(&boss, of_caller(IN_MARCH "&by=day,model&limit=4"), "day",
	    "2024-03-07 2024-03-07 2024-03-06 2024-03-06 2024-03-05 "
	    "2024-03-05 2024-03-04 2024-03-04 2024-03-03 2024-03-03 "
	    "2024-03-02 2024-03-02 2024-03-01 2024-03-01 ",
	    4);
	EXPECT_WALK(&boss, of_caller(IN_MARCH "&model=b&by=day,user"),
	    "replies", "1 1 1 1 1 1 1 ", 1);
	db_value("INSERT INTO chat.stores (id, slug, name) VALUES"
		 " (gen_random_uuid(), left('u-' || $1::text, 63), 'U')"
		 " RETURNING id",
	    caller.person.user_id, store, sizeof(store));
	snprintf(query, sizeof(query),
	    "SELECT timestamptz '2024-03-02 12:00Z', date '2024-03-02', 'a',"
	    " 1, 0, 1, 0.125, '%s'",
	    store);
	use(query);
	snprintf(query, sizeof(query), IN_MARCH "&by=store&store=%s", store);
	EXPECT_WALK(&boss, of_caller(query), "store_id",
	    (snprintf(query, sizeof(query), "%s ", store), query), 1);
	EXPECT_WALK(&boss, of_caller(IN_MARCH "&by=store,day&limit=1"),
	    "replies", "2 2 2 2 2 2 1 2 ", 8);
	get(&boss, of_caller(IN_MARCH "&by=store"), 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.store_id"), "");
	cr_expect_str_eq(answer_text(&a, "data.1.store_id"), store);
	cr_expect_str_eq(answer_text(&a, "data.1.cost"), "0.125");
	cr_expect_str_eq(answer_text(&a, "data.0.day"), "");
	answer_clear(&a);
	db_value("DELETE FROM chat.stores WHERE id = $1::text::uuid"
		 " RETURNING 1",
	    store, query, 8);
}

Test(usage, days_whose_rows_are_gone_are_told_from_their_sums)
{
	char ignored[8];

	use("SELECT timestamptz '2021-02-03 12:00Z', date '2021-02-03', 'a',"
	    " 1, 0, 2, 0.5, NULL");
	db_value("WITH d AS (INSERT INTO chat.analytics_daily (user_id, day,"
		 " category, name, events, total, least, greatest)"
		 " SELECT $1::text::uuid, d, 'usage_tracking', n, 3, t, 0, t"
		 " FROM (VALUES (date '2021-02-01'), ('2021-02-02')) x(d),"
		 " (VALUES ('prompt_tokens', 30), ('cached_tokens', 6),"
		 " ('completion_tokens', 60), ('cost', 0.123)) y(n, t)"
		 " RETURNING 1) SELECT count(*) FROM d",
	    caller.person.user_id, ignored, sizeof(ignored));
	/* Of the other day the rows are there, and count. */
	sql("INSERT INTO chat.rollup_days (source, day, is_closed)"
	    " VALUES ('usage_tracking', '2021-02-01', true),"
	    " ('usage_tracking', '2021-02-02', false) ON CONFLICT DO NOTHING");
#define FEBRUARY "from=2021-01-31&to=2021-02-28"
	EXPECT_WALK(
	    &caller.person, API "/me/usage?" FEBRUARY, "replies", "1 3 ", 1);
	EXPECT_WALK(&caller.person, API "/me/usage?" FEBRUARY "&by=model",
	    "cost", "0.123 0.5 ", 1);
	EXPECT_WALK(&boss, of_caller(FEBRUARY "&by=day,user&limit=1"),
	    "total_tokens", "3 90 ", 2);
	EXPECT_WALK(
	    &boss, of_caller(FEBRUARY "&by=user"), "cached_tokens", "6 ", 1);
	EXPECT_WALK(
	    &boss, of_caller(FEBRUARY "&by=user&model=a"), "replies", "1 ", 1);
}

/* The body of a CSV, whose type is looked at. */
static void
get_csv(const char *query, const char *accept, struct answer *a)
{
	struct ask ask = {.base = caller.stack.base,
	    .path = of_caller(query),
	    .token = boss.token,
	    .headers = {accept}};

	http_ask(&ask, a);
	cr_assert_eq(a->status, 200, "%ld %s", a->status, a->body.p);
	cr_expect_eq(
	    strncmp(answer_header(a, "Content-Type"), "text/csv", 8), 0);
	cr_expect_not_null(
	    strstr(answer_header(a, "Content-Disposition"), ".csv"));
}

Test(usage, csv_is_what_rfc_4180_says_and_no_formula)
{
	struct answer a;

	use("SELECT timestamptz '2024-06-01 12:00Z' + i * interval '1 s',"
	    " date '2024-06-01', m, 10, 5, 20, 0.000125, NULL FROM (VALUES"
	    " (1, '=1+\"1\",x'), (2, '-2'), (3, '@a'), (4, '+b'),"
	    " (5, 'plain')) x(i, m)");
	get_csv("from=2024-06-01&to=2024-06-01&by=model&format=csv", NULL, &a);
#define SUMS ",1,0,0,10,5,20,30,0.000125,"
	char *currency = strstr(a.body.p, "plain" SUMS);
	cr_assert_not_null(currency, "%s", a.body.p);
	currency += strlen("plain" SUMS);
	char cut[8];
	snprintf(
	    cut, sizeof(cut), "%.*s", (int)strcspn(currency, "\r"), currency);
	struct buf want = {0};
	buf_puts(&want, "model,replies,estimated_replies,unpriced_replies,"
			"prompt_tokens,cached_tokens,"
			"completion_tokens,total_tokens,cost,currency\r\n");
	buf_printf(&want, "'+b" SUMS "%s\r\n", cut);
	buf_printf(&want, "'-2" SUMS "%s\r\n", cut);
	buf_printf(&want, "\"'=1+\"\"1\"\",x\"" SUMS "%s\r\n", cut);
	buf_printf(&want, "'@a" SUMS "%s\r\n", cut);
	buf_printf(&want, "plain" SUMS "%s\r\n", cut);
	buf_puts(&want, "end: 5 rows,,,,,,,,,\r\n");
	cr_expect_str_eq(a.body.p, buf_text(&want));
	buf_free(&want);
	answer_clear(&a);
	get_csv("from=2024-06-01&to=2024-06-01&by=day,user",
	    "Accept: text/csv, */*;q=0.1", &a);
	cr_expect_not_null(strstr(a.body.p, "2024-06-01,"), "%s", a.body.p);
	cr_expect_not_null(strstr(a.body.p, "\r\nend: 1 rows,"));
	answer_clear(&a);
	/* What the client says counts before what it accepts. */
	struct ask ask = {.base = caller.stack.base,
	    .path = of_caller("format=json"),
	    .token = boss.token,
	    .headers = {"Accept: text/csv"}};
	http_ask(&ask, &a);
	cr_expect_str_eq(answer_header(&a, "Content-Type"), "application/json");
	answer_clear(&a);
}

Test(usage, csv_goes_on_for_as_many_pages_as_there_are)
{
	struct answer a;
	size_t lines = 0;
	long replies = 0;

	/* In pieces: within one transaction every row's count makes the next
	 * one dearer. */
	for (int from = 0; from < 20000; from += 500) {
		char rows[512];
		snprintf(rows, sizeof(rows),
		    "SELECT timestamptz '2024-07-01Z' + i * interval '400 s',"
		    " (timestamptz '2024-07-01Z' + i * interval '400 s')::date,"
		    " 'm' || i %% 50, 1, 0, 1, 0.001, NULL"
		    " FROM generate_series(%d, %d) i",
		    from, from + 499);
		use(rows);
	}
	get_csv(
	    "from=2024-07-01&to=2024-12-31&by=day,model&format=csv", NULL, &a);
	for (const char *p = a.body.p; *p; p += strcspn(p, "\n") + 1) {
		lines++;
		const char *cell = strchr(p, ',');
		cell = cell ? strchr(cell + 1, ',') : NULL;
		replies += cell ? strtol(cell + 1, NULL, 10) : 0;
	}
	/* 93 days of 216 replies by 50 models; the last is not a whole one. */
	cr_expect_eq(replies, 20000, "%ld", replies);
	cr_expect_gt(lines, 4600u, "%zu", lines);
	char end[32];
	snprintf(end, sizeof(end), "\r\nend: %zu rows,", lines - 2);
	cr_expect_not_null(strstr(a.body.p, end), "%s: %s", end,
	    a.body.p + strlen(a.body.p) - 40);
	answer_clear(&a);
}

Test(usage, a_wrong_value_is_named)
{
#define FIELD(q, f) \
	ROW("GET " API q, NULL, 422, .code = "invalid_field", .field = f)
	static const struct api_row own[] = {
	    FIELD("/me/usage?by=user", "by"),
	    FIELD("/me/usage?by=", "by"),
	    FIELD("/me/usage?from=2026-02-30", "from"),
	    FIELD("/me/usage?to=tomorrow", "to"),
	    FIELD("/me/usage?from=2026-02-02&to=2026-02-01", "to"),
	    FIELD("/me/usage?limit=0", "limit"),
	    FIELD("/me/usage?limit=101", "limit"),
	    ROW("GET " API "/me/usage?cursor=x", NULL, 400,
		.code = "bad_cursor"),
	    ROW("GET " API "/me/usage", NULL, 401, .code = "token_missing",
		.is_nobody = true),
	    ROW("GET " API "/admin/usage", NULL, 403, .code = "forbidden"),
	};
	static const struct api_row all[] = {
	    FIELD("/admin/usage?by=conversation", "by"),
	    FIELD("/admin/usage?by=day,user,model", "by"),
	    FIELD("/admin/usage?by=day,day", "by"),
	    FIELD("/admin/usage?by=day,", "by"),
	    FIELD("/admin/usage?by=,day", "by"),
	    FIELD("/admin/usage?by=dayuser", "by"),
	    FIELD("/admin/usage?user=me", "user"),
	    FIELD("/admin/usage?store=shop", "store"),
	    FIELD("/admin/usage?model=", "model"),
	    FIELD("/admin/usage?format=xml", "format"),
	    FIELD("/admin/usage?from=2026-1-1", "from"),
	    FIELD(
		"/admin/usage?from=2026-02-02&to=2026-02-01&format=csv", "to"),
	};
	API_ROWS_RUN(&caller, own);
	snprintf(
	    caller.person.token, sizeof(caller.person.token), "%s", boss.token);
	API_ROWS_RUN(&caller, all);
}

/* The oldest and the newest day there are cost no more than others. */
Test(usage, spans_without_end_are_answered)
{
	struct answer a;

	get(&boss, API "/admin/usage?by=day,user&from=0001-01-01&to=9999-12-31",
	    200, &a);
	answer_clear(&a);
	get(&caller.person, API "/me/usage?from=0001-01-01&to=9999-12-31", 200,
	    &a);
	cr_expect_str_eq(answer_text(&a, "data.0.replies"), "1");
	answer_clear(&a);
}

/* What cost nothing because nobody knew a price is no bargain. */
Test(usage, says_which_replies_have_no_price)
{
	struct answer a;
	char ignored[8];

	db_value("WITH x AS (INSERT INTO chat.model_prices (model, input,"
		 " output) VALUES ('u-free', 0, 0), ('u-dear', 1, 1)"
		 " ON CONFLICT DO NOTHING) SELECT $1::text",
	    "", ignored, sizeof(ignored));
	use("SELECT timestamptz '2024-08-01 12:00Z' + i * interval '1 s',"
	    " date '2024-08-01', m, n, 0, n, cost, NULL FROM (VALUES"
	    " (1, 'u-free', 5, 0), (2, 'u-free-2', 5, 0), (3, 'u-freed', 5, 0),"
	    " (4, 'u-dear', 5, 0.1), (5, 'u-none', 5, 0), (6, 'u-none', 0, 0),"
	    " (7, 'natter-local', 5, 0)) x(i, m, n, cost)");
#define IN_AUGUST "from=2024-08-01&to=2024-08-01"
	get(&caller.person, API "/me/usage?" IN_AUGUST, 200, &a);
	cr_expect_str_eq(answer_text(&a, "data.0.unpriced_replies"), "2");
	cr_expect_str_eq(answer_text(&a, "data.0.replies"), "7");
	answer_clear(&a);
	EXPECT_WALK(&caller.person,
	    API "/me/usage?" IN_AUGUST "&by=model&limit=10", "unpriced_replies",
	    "0 0 0 0 1 1 ", 1);
	get(&boss, API "/admin/usage?" IN_AUGUST "&by=model&model=u-none", 200,
	    &a);
	cr_expect_str_eq(answer_text(&a, "data.0.unpriced_replies"), "1");
	answer_clear(&a);
	get_csv(IN_AUGUST "&by=model&model=u-freed&format=csv", NULL, &a);
	cr_expect_not_null(
	    strstr(a.body.p, "u-freed,1,0,1,5,"), "%s", a.body.p);
	answer_clear(&a);
}
