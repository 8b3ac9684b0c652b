/*
 * Users, as `user` and `seed` make and change them: through the functions
 * auth.user_admin_*, which only the role natter_migrate may call. Refusals are
 * printed.
 *
 * Thread: there is one.
 */
#ifndef CTL_ACCOUNT_H
#define CTL_ACCOUNT_H

#include <libpq-fe.h>

#include "auth/password.h"
#include "base/id.h"
#include "ctl/ctl.h"

struct arena;
struct config;

/* What the commands work with; account_close releases it. */
struct account {
	PGconn *conn;
	struct config *config;
	struct arena *arena;
};

/* Loads the settings (`file` may be NULL) and connects. */
enum ctl_exit account_open(struct account *a, const char *file) MUST_CHECK;
void account_close(struct account *a);

/* The name as it is stored, or CTL_USAGE. It lives in a->arena. */
enum ctl_exit account_name(
    struct account *a, const char *typed, const char **out_name) MUST_CHECK;

/* Calls a function; CTL_OK gives a result to be cleared. */
enum ctl_exit account_call(struct account *a, const char *sql, int n,
    const char *const *values, PGresult **out_result) MUST_CHECK;

/* Is there a user of that name? */
enum ctl_exit account_exists(
    struct account *a, const char *name, bool *out_exists) MUST_CHECK;

/* The id of the user of that name, or of the store with that slug; CTL_FAILED
 * without one. */
enum ctl_exit account_user(struct account *a, const char *name,
    char out_id[static ID_TEXT]) MUST_CHECK;
enum ctl_exit account_store(struct account *a, const char *slug,
    char out_id[static ID_TEXT]) MUST_CHECK;

/* Makes a password that is long enough; to be freed with ctl_wipe. */
enum ctl_exit
account_password(const struct account *a, char **out_password) MUST_CHECK;

/* Says that there is no such user. */
enum ctl_exit account_missing(const char *name);

/* Checks a new password of `name` and hashes it. */
enum ctl_exit account_hash(struct account *a, const char *name,
    const char *password, char out_hash[static PASSWORD_HASH_TEXT]) MUST_CHECK;

/* A new user; *out_made is false when the name is taken. */
struct account_new {
	const char *name;
	const char *role;
	const char *display_name; /* or NULL */
	const char *hash;
};
enum ctl_exit account_create(struct account *a, const struct account_new *new,
    bool *out_made) MUST_CHECK;

/*
 * Tells Redis, when REDIS_URL is set, what the row (user_id, gone_sessions,
 * gone_tokens) says has ended, and prints when the sessions are over.
 */
void account_bury(struct account *a, const PGresult *r);

#endif
