/*
 * Calling auth.user_admin_* and preparing what they take. Knows no command.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/api_key_cache.h"
#include "auth/password_rule.h"
#include "auth/session_cache.h"
#include "base/arena.h"
#include "base/config.h"
#include "base/id.h"
#include "base/text.h"
#include "ctl/account.h"
#include "ctl/prompt.h"
#include "ctl/settings.h"
#include "store/pg.h"
#include "store/redis.h"

#define ARENA_MAX ((size_t)1024 * 1024)

enum ctl_exit
account_open(struct account *a, const char *file)
{
	enum ctl_exit code;

	*a = (struct account){.arena = arena_new(ARENA_MAX)};
	if (a->arena == NULL)
		return ctl_refuse(CTL_FAILED, "out of memory");
	code = ctl_settings(file, &a->config);
	return code == CTL_OK ? ctl_connect_owner(&a->conn) : code;
}

void
account_close(struct account *a)
{
	PQfinish(a->conn);
	config_free(a->config);
	arena_free(a->arena);
}

enum ctl_exit
account_name(struct account *a, const char *typed, const char **out_name)
{
	if (text_username(a->arena, typed, out_name) == OK)
		return CTL_OK;
	return ctl_refuse(CTL_USAGE,
	    "\"%s\" cannot be a username: 1 to 64 characters, none of them a "
	    "blank or a control character",
	    typed);
}

/* No such function or schema: the migrations have not run. */
static bool
is_unmigrated(const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	return state != NULL &&
	       (strcmp(state, "42883") == 0 || strcmp(state, "3F000") == 0);
}

enum ctl_exit
account_call(struct account *a, const char *sql, int n,
    const char *const *values, PGresult **out_result)
{
	PGresult *r =
	    PQexecParams(a->conn, sql, n, NULL, values, NULL, NULL, 0);
	enum ctl_exit code;

	if (ctl_is_ok(r)) {
		*out_result = r;
		return CTL_OK;
	}
	code = ctl_refuse(CTL_FAILED, "%s%s", ctl_pg_message(a->conn, r),
	    is_unmigrated(r) ? "; the schema is not there or old: run "
			       "natterctl migrate up"
			     : "");
	PQclear(r);
	return code;
}

enum ctl_exit
account_exists(struct account *a, const char *name, bool *out_exists)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(
	    a, "SELECT id FROM auth.user_for_login($1)", 1, &name, &r);

	if (code == CTL_OK)
		*out_exists = PQntuples(r) > 0;
	return code;
}

enum ctl_exit
account_password(const struct account *a, char **out_password)
{
	return prompt_generate((size_t)a->config->password_min, out_password);
}

enum ctl_exit
account_missing(const char *name)
{
	return ctl_refuse(CTL_FAILED,
	    "there is no user %s: natterctl user list shows them", name);
}

enum ctl_exit
account_user(struct account *a, const char *name, char out_id[static ID_TEXT])
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(
	    a, "SELECT id FROM auth.user_for_login($1)", 1, &name, &r);

	if (code == CTL_OK && PQntuples(r) == 0)
		code = account_missing(name);
	if (code == CTL_OK)
		snprintf(out_id, ID_TEXT, "%s", pg_text(r, 0, 0));
	return code;
}

enum ctl_exit
account_store(struct account *a, const char *slug, char out_id[static ID_TEXT])
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(
	    a, "SELECT id FROM chat.admin_stores($1, NULL, 1)", 1, &slug, &r);

	if (code != CTL_OK)
		return code;
	if (PQntuples(r) == 0)
		return ctl_refuse(CTL_FAILED,
		    "there is no store %s: natterctl store list shows them",
		    slug);
	snprintf(out_id, ID_TEXT, "%s", pg_text(r, 0, 0));
	return CTL_OK;
}

/* The same demands as POST /auth/register makes. */
static enum ctl_exit
judge_password(struct account *a, const char *name, const char *password)
{
	size_t n = strlen(password);
	const char *flaw = NULL;

	if (!text_is_clean(password, n))
		return ctl_refuse(CTL_USAGE, "the password is not valid UTF-8");
	if (text_length(password, n) < (size_t)a->config->password_min)
		return ctl_refuse(CTL_USAGE,
		    "the password is too short: at least %ld characters "
		    "(CHAT_PASSWORD_MIN)",
		    a->config->password_min);
	if (n > PASSWORD_MAX)
		return ctl_refuse(CTL_USAGE,
		    "the password is too long: at most %d bytes", PASSWORD_MAX);
	if (password_rule_judge(a->config, name, password, &flaw) != OK)
		return ctl_refuse(CTL_CONFIG,
		    "cannot read %s (CHAT_PASSWORD_LIST)",
		    a->config->password_list);
	if (flaw != NULL)
		return ctl_refuse(
		    CTL_USAGE, "the password will not do. %s", flaw);
	return CTL_OK;
}

enum ctl_exit
account_hash(struct account *a, const char *name, const char *password,
    char out_hash[static PASSWORD_HASH_TEXT])
{
	enum ctl_exit code = judge_password(a, name, password);

	if (code != CTL_OK)
		return code;
	switch (password_hash(a->config, password, out_hash)) {
	case OK:
		return CTL_OK;
	case ERR_BUSY:
		return ctl_refuse(CTL_FAILED,
		    "all CHAT_HASH_SLOTS are taken, or there is no memory for "
		    "a hash (CHAT_HASH_MEMORY): try again");
	default:
		return ctl_refuse(CTL_CONFIG,
		    "cannot hash: the folder %s (CHAT_RUN_DIR) must be there "
		    "and writable",
		    a->config->run_dir);
	}
}

enum ctl_exit
account_create(struct account *a, const struct account_new *new, bool *out_made)
{
	char id[ID_TEXT];
	const char *values[] = {
	    id, new->name, new->hash, new->role, new->display_name};
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code;

	id_make(id);
	code = account_call(a,
	    "SELECT auth.user_admin_create($1, $2, $3, $4, $5)", 5, values, &r);
	if (code == CTL_OK)
		*out_made = pg_flag(r, 0, 0);
	return code;
}

void
account_bury(struct account *a, const PGresult *r)
{
	struct session_ended ended = {pg_text(r, 0, 0), pg_text(r, 0, 1),
	    pg_text(r, 0, 2), a->config->access_ttl_s};
	struct redis *redis;
	enum err e;

	if (a->config->redis_url[0] == '\0') {
		ctl_note("REDIS_URL is not set: the user's sessions end when a "
			 "worker looks, which is within a second or two");
		return;
	}
	redis = redis_new(a->config->redis_url, a->config->redis_timeout_ms);
	e = redis != NULL ? session_cache_bury(redis, a->arena, &ended)
			  : ERR_UNAVAILABLE;
	if (e == OK)
		e = session_cache_distrust(redis, a->arena, ended.user_id);
	if (e != OK)
		ctl_note("Redis does not answer (%s): the user's sessions end "
			 "when a worker reaches it",
		    redis != NULL ? redis_why(redis) : "REDIS_URL is no URL");
	redis_free(redis);
}
