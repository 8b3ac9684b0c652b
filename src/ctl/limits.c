/*
 * natterctl limits: set, unset, list, show. Through the functions
 * auth.admin_limits*, which let the owner's role in.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "ctl/account.h"
#include "limit/overrides.h"
#include "store/pg.h"

#define ALL   "all"
#define PAGE  1000
#define FIRST "00000000-0000-0000-0000-000000000000"

enum { NAME, OWN, OF_ROLE }; /* the columns of auth.admin_limits */

/* Whose limits, as the options say it. */
struct whose {
	const char *role;
	const char *user;
	const char *store;
	char id[ID_TEXT]; /* of the user or the store */
};

/* The limit's number in the table, -1 without one of that name. */
static int
limit_named(const char *name, size_t n)
{
	for (int i = 0; i < QUOTA__MAX; i++) {
		const char *known = quota_name((enum quota)i);

		if (strlen(known) == n && memcmp(known, name, n) == 0)
			return i;
	}
	return -1;
}

static enum ctl_exit
refuse_name(const char *name, size_t n)
{
	return ctl_refuse(CTL_USAGE,
	    "there is no limit \"%.*s\": natterctl limits set --help lists "
	    "them",
	    (int)n, name);
}

/* Reads LIMIT=NUMBER into the values. */
static enum ctl_exit
read_setting(const char *word, struct json_object *values)
{
	size_t n = strcspn(word, "=");
	int i = limit_named(word, n);
	const char *number = word + n + 1;
	size_t digits;

	if (word[n] == '\0')
		return ctl_refuse(CTL_USAGE,
		    "\"%s\" is not LIMIT=NUMBER, such as turns_per_minute=50",
		    word);
	if (i < 0)
		return refuse_name(word, n);
	digits = strspn(number, "0123456789");
	if (digits == 0 || digits > 13 || number[digits] != '\0' ||
	    strtoll(number, NULL, 10) > LIMIT_VALUE_MAX)
		return ctl_refuse(CTL_USAGE,
		    "%s takes a whole number from 0 (no limit) to %" PRId64
		    ", not \"%s\"",
		    quota_name((enum quota)i), (int64_t)LIMIT_VALUE_MAX,
		    number);
	json_put_number(
	    values, quota_name((enum quota)i), strtoll(number, NULL, 10));
	return CTL_OK;
}

/* Reads a name of which nothing is to stay. */
static enum ctl_exit
read_removal(const char *word, struct json_object *values)
{
	int i = limit_named(word, strlen(word));

	if (i < 0)
		return refuse_name(word, strlen(word));
	json_put_text(values, quota_name((enum quota)i), NULL);
	return CTL_OK;
}

static enum ctl_exit
judge(const struct whose *w)
{
	if (!!w->role + !!w->user + !!w->store != 1)
		return ctl_refuse(CTL_USAGE,
		    "say whose limits: one of --user, --role and --store");
	if (w->role && strcmp(w->role, "user") != 0 &&
	    strcmp(w->role, "admin") != 0)
		return ctl_refuse(
		    CTL_USAGE, "--role: user or admin, not %s", w->role);
	return CTL_OK;
}

/* Refuses what a store cannot have. */
static enum ctl_exit
judge_values(const struct whose *w, struct json_object *values)
{
	const struct limits_of kind = {.store_id = w->store};

	for (int i = 0; i < QUOTA__MAX; i++) {
		enum quota q = (enum quota)i;

		if (json_object_object_get(values, quota_name(q)) != NULL &&
		    !overrides_fit(&kind, q))
			return ctl_refuse(CTL_USAGE,
			    "a store has no %s: other requests than turns are "
			    "in none",
			    quota_name(q));
	}
	return CTL_OK;
}

/* Finds the user or store. */
static enum ctl_exit
look_up(struct account *a, struct whose *w)
{
	const char *name;
	enum ctl_exit code;

	if (w->role)
		return CTL_OK;
	if (w->store)
		return account_store(a, w->store, w->id);
	code = account_name(a, w->user, &name);
	return code == CTL_OK ? account_user(a, name, w->id) : code;
}

/* Calls auth.admin_limits_put, or auth.admin_limits without a fourth value. */
static enum ctl_exit
call(struct account *a, const struct whose *w, const char *sql, int n,
    const char *values, PGresult **out_result)
{
	const char *params[4] = {
	    w->role,
	    w->user ? w->id : NULL,
	    w->store ? w->id : NULL,
	    values,
	};

	return account_call(a, sql, n, params, out_result);
}

static void
print_done(const struct whose *w, const char *word, const char *does)
{
	printf("%s %s %s: %s.\n",
	    w->role   ? "Role"
	    : w->user ? "User"
		      : "Store",
	    w->role   ? w->role
	    : w->user ? w->user
		      : w->store,
	    word, does);
}

/* Both commands that change something; `read` takes one word. */
static enum ctl_exit
change(const struct command *self, int argc, char **argv,
    enum ctl_exit (*read)(const char *word, struct json_object *values))
{
	AUTO_JSON struct json_object *values = json_object_new_object();
	AUTO_PGRESULT PGresult *r = NULL;
	struct whose w = {0};
	struct account a = {0};
	char **words;
	enum ctl_exit code;
	bool is_all;
	const struct option_row rows[] = {
	    {"role", OPTION_TEXT, &w.role},
	    {"user", OPTION_TEXT, &w.user},
	    {"store", OPTION_TEXT, &w.store},
	    {0},
	};

	if (!ctl_options_list(self, argc, argv, rows, &words, &code))
		return code;
	is_all = read == read_removal && strcmp(words[0], ALL) == 0 &&
		 words[1] == NULL;
	code = judge(&w);
	for (size_t i = 0; code == CTL_OK && !is_all && words[i]; i++)
		code = read(words[i], values);
	if (code == CTL_OK)
		code = judge_values(&w, values);
	if (code == CTL_OK)
		code = account_open(&a, NULL);
	if (code == CTL_OK)
		code = look_up(&a, &w);
	if (code == CTL_OK)
		code = call(&a, &w,
		    "SELECT name FROM auth.admin_limits_put($1, $2, $3, $4)", 4,
		    is_all ? NULL : json_text(values, NULL), &r);
	for (size_t i = 0; code == CTL_OK && words[i]; i++)
		print_done(&w, words[i],
		    read == read_removal ? "not set any more" : "set");
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_limits_set(const struct command *self, int argc, char **argv)
{
	return change(self, argc, argv, read_setting);
}

enum ctl_exit
ctl_limits_unset(const struct command *self, int argc, char **argv)
{
	return change(self, argc, argv, read_removal);
}

enum ctl_exit
ctl_limits_list(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	char after[ID_TEXT] = FIRST;
	enum ctl_exit code;
	int n = PAGE;

	if (!ctl_options(self, argc, argv, NULL, NULL, 0, &code))
		return code;
	code = ctl_connect_owner(&a.conn);
	while (code == CTL_OK && n == PAGE) {
		AUTO_PGRESULT PGresult *r = NULL;
		const char *value = after;

		code = account_call(&a,
		    "SELECT id, CASE WHEN role IS NOT NULL THEN 'role' WHEN "
		    "user_id IS NOT NULL THEN 'user' ELSE 'store' END,"
		    " coalesce(role, username, store), name, value"
		    " FROM auth.admin_limits_list($1, 1000)",
		    1, &value, &r);
		n = code == CTL_OK ? PQntuples(r) : 0;
		for (int i = 0; i < n; i++)
			printf("%-5s  %-20s  %-18s  %s\n", pg_text(r, i, 1),
			    pg_text(r, i, 2), pg_text(r, i, 3),
			    pg_text(r, i, 4));
		if (n > 0)
			snprintf(
			    after, sizeof(after), "%s", pg_text(r, n - 1, 0));
	}
	account_close(&a);
	return code;
}

static void
print_limit(const char *name, int64_t number, const char *source)
{
	char text[24] = "none";

	if (number > 0)
		snprintf(text, sizeof(text), "%" PRId64, number);
	printf("%-18s  %13s  %s\n", name, text, source);
}

/* What holds for the user, or with a store what it sets there. */
static enum ctl_exit
show(struct account *a, struct whose *w)
{
	const struct limits_of kind = {
	    .user_id = w->user, .store_id = w->store};
	AUTO_PGRESULT PGresult *r = NULL;
	struct quotas quotas;
	enum ctl_exit code = look_up(a, w);

	if (code == CTL_OK)
		code = call(a, w,
		    "SELECT name, own, of_role"
		    " FROM auth.admin_limits($1, $2, $3)",
		    3, NULL, &r);
	if (code != CTL_OK)
		return code;
	quotas_default(a->config, &quotas);
	for (int i = 0; i < PQntuples(r) && i < QUOTA__MAX; i++) {
		const char *own = pg_text(r, i, OWN);
		const char *of_role = pg_text(r, i, OF_ROLE);
		const char *set = own ? own : of_role;

		if (set || !w->store)
			print_limit(pg_text(r, i, NAME),
			    set ? strtoll(set, NULL, 10) : quotas.own[i],
			    overrides_source(&kind, own, of_role));
	}
	return CTL_OK;
}

enum ctl_exit
ctl_limits_show(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	struct whose user = {0}, store = {0};
	const char *file = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"store", OPTION_TEXT, &store.store},
	    {"config", OPTION_TEXT, &file},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, &user.user, 1, &code))
		return code;
	code = account_open(&a, file);
	if (code == CTL_OK)
		code = show(&a, &user);
	if (code == CTL_OK && store.store) {
		printf("\nIn store %s:\n", store.store);
		code = show(&a, &store);
	}
	account_close(&a);
	return code;
}
