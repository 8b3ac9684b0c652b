/*
 * natterctl store tool: add, set, list, secret, remove. Through the functions
 * chat.admin_store_tool*, which let the owner's role in; what a tool must be
 * like is checked before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/json.h"
#include "chat/store_tool_rule.h"
#include "ctl/account.h"
#include "ctl/prompt.h"
#include "store/pg.h"

/* What the commands may say; NULL and false: nothing. */
struct wanted {
	const char *words[2]; /* the store's slug, the tool's name */
	const char *url;
	const char *description;
	const char *parameters_file;
	const char *method;
	const char *timeout_ms;
	const char *secret_file;
	const char *overlap_s;
	bool is_active, is_inactive, is_sure;
	char *parameters; /* owned, likewise */
	char *secret;
	char store[ID_TEXT], tool[ID_TEXT];
	bool is_made; /* the secret: it is to be shown */
};

static void
wanted_clear(struct wanted *w)
{
	free(w->parameters);
	ctl_wipe(w->secret);
}

/* Holds what was said against the rules. */
static enum ctl_exit
judge(const struct wanted *w)
{
	const struct store_tool_said said = {
	    .name = w->words[1],
	    .description = w->description,
	    .parameters = w->parameters,
	    .url = w->url,
	    .method = w->method,
	    .timeout_ms = w->timeout_ms,
	    .secret = w->secret,
	};
	struct store_tool_fault fault;
	long ignored;

	if (w->is_active && w->is_inactive)
		return ctl_refuse(CTL_USAGE, "a tool cannot be both at a time");
	if (w->overlap_s && !store_tool_overlap(w->overlap_s, &ignored))
		return ctl_refuse(CTL_USAGE,
		    "--overlap: a whole number from 0 to %d",
		    STORE_TOOL_OVERLAP_MAX_S);
	if (store_tool_check(&said, &fault) == OK)
		return CTL_OK;
	return ctl_refuse(CTL_USAGE, "%s: %s", fault.field, fault.why);
}

/* The secret of the file or, where there is to be one, a made one. */
static enum ctl_exit
get_secret(struct wanted *w, bool is_needed)
{
	if (w->secret_file)
		return prompt_read_file(w->secret_file, &w->secret);
	if (!is_needed)
		return CTL_OK;
	w->secret = calloc(1, STORE_TOOL_SECRET);
	if (!w->secret)
		return ctl_refuse(CTL_FAILED, "out of memory");
	store_tool_secret(w->secret);
	w->is_made = true;
	return CTL_OK;
}

static enum ctl_exit
get_parameters(struct wanted *w)
{
	size_t n;

	return w->parameters_file
		   ? ctl_read_file(w->parameters_file, &w->parameters, &n)
		   : CTL_OK;
}

/* Finds the tool by its name. */
static enum ctl_exit
find_tool(struct account *a, struct wanted *w)
{
	AUTO_PGRESULT PGresult *r = NULL;
	const char *values[] = {w->store, w->words[1]};
	enum ctl_exit code = account_call(a,
	    "SELECT id FROM chat.admin_store_tools($1, NULL, '', 1000)"
	    " WHERE name = $2",
	    2, values, &r);

	if (code != CTL_OK)
		return code;
	if (PQntuples(r) == 0)
		return ctl_refuse(CTL_FAILED,
		    "%s has no tool %s: natterctl store tool list %s shows "
		    "them",
		    w->words[0], w->words[1], w->words[0]);
	memcpy(w->tool, pg_text(r, 0, 0), ID_TEXT);
	return CTL_OK;
}

static void
show_secret(const struct wanted *w)
{
	if (w->is_made)
		printf(
		    "Its secret, which is not shown again:\n%s\n", w->secret);
}

static enum ctl_exit
write_tool(struct account *a, const struct wanted *w, bool is_new)
{
	AUTO_JSON struct json_object *o = json_object_new_object();
	AUTO_PGRESULT PGresult *r = NULL;
	const char *values[4] = {
	    w->store, w->tool, is_new ? w->secret : NULL, NULL};
	enum ctl_exit code;

	if (is_new)
		json_put_text(o, "name", w->words[1]);
	if (w->description)
		json_put_text(o, "description", w->description);
	if (w->parameters)
		json_put_raw(o, "parameters", w->parameters);
	if (w->url)
		json_put_text(o, "url", w->url);
	if (w->method)
		json_put_text(o, "method", w->method);
	if (w->timeout_ms)
		json_put_number(
		    o, "timeout_ms", strtol(w->timeout_ms, NULL, 10));
	if (w->is_active || w->is_inactive)
		json_put_flag(o, "is_active", w->is_active);
	values[3] = json_text(o, NULL);
	code = account_call(a,
	    "SELECT id FROM chat.admin_store_tool_put($1, $2, $3, $4)", 4,
	    values, &r);
	if (code == CTL_OK)
		printf("%s tool %s of %s (%s).\n",
		    is_new ? "Registered" : "Changed", w->words[1], w->words[0],
		    w->tool);
	return code;
}

/* Parses the options that are there, checks, connects, finds the store. */
static enum ctl_exit
begin(const struct command *self, int argc, char **argv,
    const struct option_row *rows, struct wanted *w, struct account *a)
{
	enum ctl_exit code;

	/* --help ends it without a slug, whatever the code. */
	if (!ctl_options(self, argc, argv, rows, w->words, 2, &code)) {
		w->words[0] = NULL;
		return code;
	}
	code = get_parameters(w);
	if (code == CTL_OK)
		code = judge(w);
	if (code == CTL_OK)
		code = ctl_connect_owner(&a->conn);
	return code == CTL_OK ? account_store(a, w->words[0], w->store) : code;
}

#define ROWS_OF_TOOL(w)                                         \
	{"url", OPTION_TEXT, &(w)->url},                        \
	    {"description", OPTION_TEXT, &(w)->description},    \
	    {"parameters", OPTION_TEXT, &(w)->parameters_file}, \
	    {"method", OPTION_TEXT, &(w)->method},              \
	    {"timeout", OPTION_TEXT, &(w)->timeout_ms},         \
	    {"active", OPTION_FLAG, &(w)->is_active},           \
	{                                                       \
		"inactive", OPTION_FLAG, &(w)->is_inactive      \
	}

enum ctl_exit
ctl_store_tool_add(const struct command *self, int argc, char **argv)
{
	struct wanted w = {0};
	struct account a = {0};
	const struct option_row rows[] = {
	    ROWS_OF_TOOL(&w),
	    {"secret-file", OPTION_TEXT, &w.secret_file},
	    {0},
	};
	enum ctl_exit code = begin(self, argc, argv, rows, &w, &a);

	id_make(w.tool);
	if (code == CTL_OK && w.words[0] &&
	    (!w.url || !w.description || !w.parameters))
		code = ctl_refuse(CTL_USAGE,
		    "a new tool needs --url, --description and --parameters");
	if (code == CTL_OK && w.words[0])
		code = get_secret(&w, true);
	if (code == CTL_OK && w.words[0])
		code = judge(&w);
	if (code == CTL_OK && w.words[0])
		code = write_tool(&a, &w, true);
	if (code == CTL_OK && w.words[0])
		show_secret(&w);
	account_close(&a);
	wanted_clear(&w);
	return code;
}

enum ctl_exit
ctl_store_tool_set(const struct command *self, int argc, char **argv)
{
	struct wanted w = {0};
	struct account a = {0};
	const struct option_row rows[] = {ROWS_OF_TOOL(&w), {0}};
	enum ctl_exit code = begin(self, argc, argv, rows, &w, &a);

	if (code == CTL_OK && w.words[0])
		code = find_tool(&a, &w);
	if (code == CTL_OK && w.words[0])
		code = write_tool(&a, &w, false);
	account_close(&a);
	wanted_clear(&w);
	return code;
}

static enum ctl_exit
rotate(struct account *a, struct wanted *w)
{
	AUTO_PGRESULT PGresult *r = NULL;
	char overlap[12];
	const char *values[4] = {w->store, w->tool, w->secret, overlap};
	long overlap_s = STORE_TOOL_OVERLAP_S;
	enum ctl_exit code;

	if (w->overlap_s)
		(void)store_tool_overlap(w->overlap_s, &overlap_s);
	snprintf(overlap, sizeof(overlap), "%ld", overlap_s);
	code = account_call(a,
	    "SELECT secret_before_until FROM chat.admin_store_tool_secret("
	    "$1, $2, $3, $4)",
	    4, values, &r);
	if (code != CTL_OK)
		return code;
	printf("%s of %s has another secret", w->words[1], w->words[0]);
	if (pg_text(r, 0, 0))
		printf("; calls are signed with the one before, too, until %s",
		    pg_text(r, 0, 0));
	puts(".");
	show_secret(w);
	return CTL_OK;
}

enum ctl_exit
ctl_store_tool_secret(const struct command *self, int argc, char **argv)
{
	struct wanted w = {0};
	struct account a = {0};
	const struct option_row rows[] = {
	    {"secret-file", OPTION_TEXT, &w.secret_file},
	    {"overlap", OPTION_TEXT, &w.overlap_s},
	    {0},
	};
	enum ctl_exit code = begin(self, argc, argv, rows, &w, &a);

	if (code == CTL_OK && w.words[0])
		code = find_tool(&a, &w);
	if (code == CTL_OK && w.words[0])
		code = get_secret(&w, true);
	if (code == CTL_OK && w.words[0])
		code = judge(&w);
	if (code == CTL_OK && w.words[0])
		code = rotate(&a, &w);
	account_close(&a);
	wanted_clear(&w);
	return code;
}

enum ctl_exit
ctl_store_tool_remove(const struct command *self, int argc, char **argv)
{
	struct wanted w = {0};
	struct account a = {0};
	const struct option_row rows[] = {
	    {"yes", OPTION_FLAG, &w.is_sure},
	    {0},
	};
	enum ctl_exit code = begin(self, argc, argv, rows, &w, &a);

	if (code == CTL_OK && w.words[0] && !w.is_sure)
		code = ctl_refuse(
		    CTL_USAGE, "this removes the tool for good: say --yes");
	if (code == CTL_OK && w.words[0])
		code = find_tool(&a, &w);
	if (code == CTL_OK && w.words[0]) {
		AUTO_PGRESULT PGresult *r = NULL;
		const char *values[] = {w.store, w.tool};

		code = account_call(&a,
		    "SELECT chat.admin_store_tool_delete($1, $2)", 2, values,
		    &r);
	}
	if (code == CTL_OK && w.words[0])
		printf("%s has no tool %s any more.\n", w.words[0], w.words[1]);
	account_close(&a);
	wanted_clear(&w);
	return code;
}

enum ctl_exit
ctl_store_tool_list(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *slug = NULL;
	char store[ID_TEXT];
	const char *value = store;
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	if (!ctl_options(self, argc, argv, NULL, &slug, 1, &code))
		return code;
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = account_store(&a, slug, store);
	if (code == CTL_OK)
		code = account_call(&a,
		    "SELECT name, CASE WHEN is_active THEN 'active' ELSE "
		    "'inactive' END, timeout_ms || ' ms', method || ' ' || url,"
		    " coalesce('two secrets until ' || secret_before_until, '')"
		    " FROM chat.admin_store_tools($1, NULL, '', 1000)",
		    1, &value, &r);
	for (int i = 0; code == CTL_OK && i < PQntuples(r); i++)
		printf("%-24s  %-8s  %8s  %s  %s\n", pg_text(r, i, 0),
		    pg_text(r, i, 1), pg_text(r, i, 2), pg_text(r, i, 3),
		    pg_text(r, i, 4));
	account_close(&a);
	return code;
}
