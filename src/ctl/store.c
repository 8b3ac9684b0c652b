/*
 * natterctl store: add, list, set, remove, member. Through the functions
 * chat.admin_*, which let the owner's role in.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "chat/prompts.h"
#include "ctl/account.h"
#include "ctl/settings.h"
#include "store/pg.h"

#define MODEL_MAX 128

/* What add and set may say; NULL and false: nothing. */
struct wanted {
	const char *slug;
	const char *name;
	const char *description;
	const char *model;
	const char *prompt;
	const char *template; /* of its conversations' system messages */
	const char *config;   /* natterd's settings */
	bool is_open, is_members_only, is_active, is_inactive;
};

static void
put(struct json_object *o, const char *key, const char *text)
{
	if (text)
		json_put_text(o, key, *text ? text : NULL);
}

static enum ctl_exit
judge(const struct wanted *w)
{
	if ((w->is_open && w->is_members_only) ||
	    (w->is_active && w->is_inactive))
		return ctl_refuse(
		    CTL_USAGE, "a store cannot be both at a time");
	if (w->model && strlen(w->model) > MODEL_MAX)
		return ctl_refuse(
		    CTL_USAGE, "--model: at most %d characters", MODEL_MAX);
	return CTL_OK;
}

/* Has natterd, with these settings, such a template? */
static enum ctl_exit
judge_template(const struct wanted *w)
{
	struct prompts *p = NULL;
	enum ctl_exit code = CTL_OK;

	if (w->template == NULL || w->template[0] == '\0')
		return CTL_OK;
	code = ctl_templates(NULL, w->config, &p);
	if (code == CTL_OK && prompts_system(p, w->template) == NULL)
		code = ctl_refuse(CTL_FAILED,
		    "--prompt-template: there is no %s for system messages; "
		    "natterctl prompts list names those of CHAT_PROMPTS_DIR",
		    w->template);
	prompts_free(p);
	return code;
}

/* Writes what is wanted into store `id`, which is made where `is_new`. */
static enum ctl_exit
write_store(
    struct account *a, const struct wanted *w, const char *id, bool is_new)
{
	AUTO_JSON struct json_object *o = json_object_new_object();
	AUTO_PGRESULT PGresult *r = NULL;
	struct json_object *settings;
	const char *values[3] = {id, is_new ? "t" : "f", NULL};
	enum ctl_exit code;

	put(o, "slug", is_new ? w->slug : NULL);
	put(o, "name", w->name);
	if (w->description)
		json_put_text(o, "description", w->description);
	put(o, "model", w->model);
	put(o, "system_prompt", w->prompt);
	if (w->template != NULL) {
		settings = json_object_new_object();
		put(settings, "prompt_template", w->template);
		json_object_object_add(o, "settings", settings);
	}
	if (w->is_open || w->is_members_only)
		json_put_flag(o, "is_open", w->is_open);
	if (w->is_active || w->is_inactive)
		json_put_flag(o, "is_active", w->is_active);
	values[2] = json_text(o, NULL);
	code = account_call(a,
	    "SELECT id FROM chat.admin_store_put($1, $2, $3)", 3, values, &r);
	if (code == CTL_OK)
		printf("%s store %s (%s).\n", is_new ? "Made" : "Changed",
		    w->slug, id);
	return code;
}

/* Parses what add and set have in common and connects. */
static enum ctl_exit
begin(const struct command *self, int argc, char **argv, struct wanted *w,
    struct account *a)
{
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"name", OPTION_TEXT, &w->name},
	    {"description", OPTION_TEXT, &w->description},
	    {"model", OPTION_TEXT, &w->model},
	    {"system-prompt", OPTION_TEXT, &w->prompt},
	    {"prompt-template", OPTION_TEXT, &w->template},
	    {"config", OPTION_TEXT, &w->config},
	    {"open", OPTION_FLAG, &w->is_open},
	    {"members-only", OPTION_FLAG, &w->is_members_only},
	    {"active", OPTION_FLAG, &w->is_active},
	    {"inactive", OPTION_FLAG, &w->is_inactive},
	    {0},
	};

	/* --help ends it without a slug, whatever the code. */
	if (!ctl_options(self, argc, argv, rows, &w->slug, 1, &code)) {
		w->slug = NULL;
		return code;
	}
	code = judge(w);
	if (code == CTL_OK)
		code = judge_template(w);
	return code == CTL_OK ? ctl_connect_owner(&a->conn) : code;
}

enum ctl_exit
ctl_store_add(const struct command *self, int argc, char **argv)
{
	struct wanted w = {0};
	struct account a = {0};
	char id[ID_TEXT];
	enum ctl_exit code = begin(self, argc, argv, &w, &a);

	id_make(id);
	if (!w.name)
		w.name = w.slug;
	if (code == CTL_OK && w.slug)
		code = write_store(&a, &w, id, true);
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_store_set(const struct command *self, int argc, char **argv)
{
	struct wanted w = {0};
	struct account a = {0};
	char id[ID_TEXT];
	enum ctl_exit code = begin(self, argc, argv, &w, &a);

	if (code == CTL_OK && w.slug)
		code = account_store(&a, w.slug, id);
	if (code == CTL_OK && w.slug)
		code = write_store(&a, &w, id, false);
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_store_list(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	char after[80] = "";
	enum ctl_exit code;
	int n = 1;

	if (!ctl_options(self, argc, argv, NULL, NULL, 0, &code))
		return code;
	code = ctl_connect_owner(&a.conn);
	while (code == CTL_OK && n > 0) {
		AUTO_PGRESULT PGresult *r = NULL;
		const char *value = after;
		code = account_call(&a,
		    "SELECT slug, CASE WHEN is_open THEN 'open' ELSE "
		    "'members' END, CASE WHEN is_active THEN 'active' ELSE "
		    "'inactive' END, coalesce(model, '-'), name"
		    " FROM chat.admin_stores(NULL, $1, 1000)",
		    1, &value, &r);
		n = code == CTL_OK ? PQntuples(r) : 0;
		for (int i = 0; i < n; i++)
			printf("%-20s  %-7s  %-8s  %s  %s\n", pg_text(r, i, 0),
			    pg_text(r, i, 1), pg_text(r, i, 2),
			    pg_text(r, i, 3), pg_text(r, i, 4));
		if (n > 0)
			snprintf(
			    after, sizeof(after), "%s", pg_text(r, n - 1, 0));
	}
	account_close(&a);
	return code;
}

enum ctl_exit
ctl_store_remove(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *slug = NULL;
	char id[ID_TEXT];
	const char *value = id;
	bool is_sure = false;
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"yes", OPTION_FLAG, &is_sure},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, &slug, 1, &code))
		return code;
	if (!is_sure)
		return ctl_refuse(CTL_USAGE,
		    "this deletes the store's documents for good: say --yes");
	code = ctl_connect_owner(&a.conn);
	if (code == CTL_OK)
		code = account_store(&a, slug, id);
	if (code == CTL_OK)
		code = account_call(
		    &a, "SELECT chat.admin_store_delete($1)", 1, &value, &r);
	if (code == CTL_OK)
		printf("Deleted store %s with its documents.\n", slug);
	account_close(&a);
	return code;
}

/* Ends or makes the membership of the user with this id. */
static enum ctl_exit
change_member(struct account *a, const char *const ids[static 3],
    const char *const names[static 2], bool is_end)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(a,
	    is_end ? "SELECT 1 FROM chat.admin_member_delete($1, $2) d WHERE d"
		   : "SELECT role FROM chat.admin_member_put($1, $2, $3)",
	    is_end ? 2 : 3, ids, &r);

	if (code != CTL_OK)
		return code;
	if (PQntuples(r) == 0)
		return ctl_refuse(
		    CTL_FAILED, "%s is no member of %s", names[1], names[0]);
	if (is_end)
		printf("%s is no member of %s any more.\n", names[1], names[0]);
	else
		printf("%s is a %s of %s.\n", names[1], pg_text(r, 0, 0),
		    names[0]);
	return CTL_OK;
}

enum ctl_exit
ctl_store_member(const struct command *self, int argc, char **argv)
{
	struct account a = {0};
	const char *words[2] = {NULL, NULL};
	const char *role = NULL;
	const char *name = NULL;
	char store[ID_TEXT], user[ID_TEXT];
	bool is_end = false;
	enum ctl_exit code;
	const struct option_row rows[] = {
	    {"role", OPTION_TEXT, &role},
	    {"remove", OPTION_FLAG, &is_end},
	    {0},
	};

	if (!ctl_options(self, argc, argv, rows, words, 2, &code))
		return code;
	if (role && strcmp(role, "member") != 0 && strcmp(role, "manager") != 0)
		return ctl_refuse(
		    CTL_USAGE, "--role: member or manager, not %s", role);
	code = account_open(&a, NULL);
	if (code == CTL_OK)
		code = account_name(&a, words[1], &name);
	if (code == CTL_OK)
		code = account_store(&a, words[0], store);
	if (code == CTL_OK)
		code = account_user(&a, name, user);
	if (code == CTL_OK) {
		const char *const ids[3] = {store, user, role};
		const char *const names[2] = {words[0], name};
		code = change_member(&a, ids, names, is_end);
	}
	account_close(&a);
	return code;
}
