/*
 * The facts that doctor's queries cannot see: settings, Redis, files, clocks,
 * migrations. Judges nothing: that is doctor.def's matter.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/config.h"
#include "chat/prompts.h"
#include "ctl/doctor.h"
#include "ctl/migration_plan.h"
#include "ctl/settings.h"
#include "store/redis.h"

#define REDIS_MS 2000

static void
add_config(struct json_object *o, const struct config *c)
{
	struct json_object *t = json_object_new_object();

#define CONFIG_GROUP(title)
#define CONFIG_TEXT(key, field, ...) json_put_text(t, #key, c->field);
#define CONFIG_SECRET(key, field, ...)
#define CONFIG_NUMBER(key, field, ...) json_put_number(t, #key, c->field);
#define CONFIG_SWITCH(key, field, ...) json_put_flag(t, #key, c->field);
#define CONFIG_CHOICE(key, field, ...) json_put_text(t, #key, c->field);
#include "base/config.def"
#undef CONFIG_GROUP
#undef CONFIG_TEXT
#undef CONFIG_SECRET
#undef CONFIG_NUMBER
#undef CONFIG_SWITCH
#undef CONFIG_CHOICE
	json_object_object_add(o, "config", t);
}

/* Of DATABASE_URL only what is no secret. */
static void
add_database(struct json_object *o, const char *url)
{
	static const char *const kept[] = {"user", "host", "sslmode"};
	struct json_object *t = json_object_new_object();
	PQconninfoOption *options =
	    url != NULL && url[0] != '\0' ? PQconninfoParse(url, NULL) : NULL;

	for (PQconninfoOption *p = options; p != NULL && p->keyword; p++)
		for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
			if (p->val != NULL && strcmp(p->keyword, kept[i]) == 0)
				json_put_text(t, kept[i], p->val);
	PQconninfoFree(options);
	json_object_object_add(o, "database", t);
}

static void
add_file(struct json_object *files, const char *what, const char *path)
{
	struct json_object *t;
	struct stat st;
	char mode[16];

	if (path == NULL || path[0] == '\0')
		return;
	t = json_object_new_object();
	json_put_text(t, "what", what);
	json_put_text(t, "path", path);
	if (stat(path, &st) != 0) {
		json_put_text(t, "why", strerror(errno));
	} else {
		snprintf(
		    mode, sizeof(mode), "%04o", (unsigned)(st.st_mode & 07777));
		json_put_text(t, "mode", mode);
	}
	json_object_array_add(files, t);
}

/* INFO's lines, KEY:VALUE, as members. */
static void
add_info(struct json_object *t, char *text)
{
	char *save = NULL, *colon;

	for (char *line = strtok_r(text, "\r\n", &save); line != NULL;
	     line = strtok_r(NULL, "\r\n", &save)) {
		colon = strchr(line, ':');
		if (line[0] == '#' || colon == NULL)
			continue;
		*colon = '\0';
		json_put_text(t, line, colon + 1);
	}
}

/* One parameter; a Redis that does not tell leaves it out. */
static void
add_parameter(struct json_object *t, struct redis *redis, const char *name)
{
	const char *argv[] = {"CONFIG", "GET", name};
	AUTO_REPLY redisReply *r = NULL;

	if (redis_command(redis, 3, argv, NULL, &r) != OK ||
	    r->type != REDIS_REPLY_ARRAY || r->elements != 2)
		return;
	if (strcmp(name, "requirepass") == 0)
		json_put_flag(t, "has_password", r->element[1]->len > 0);
	else
		json_put_text(t, name, r->element[1]->str);
}

static void
add_redis_clock(struct json_object *t, struct redis *redis)
{
	const char *argv[] = {"TIME"};
	AUTO_REPLY redisReply *r = NULL;
	int64_t before = (int64_t)clock_wall_ms(), theirs;

	if (redis_command(redis, 1, argv, NULL, &r) != OK ||
	    r->type != REDIS_REPLY_ARRAY || r->elements != 2)
		return;
	theirs = strtoll(r->element[0]->str, NULL, 10) * 1000 +
		 strtoll(r->element[1]->str, NULL, 10) / 1000;
	json_put_number(
	    t, "skew_ms", theirs - (before + (int64_t)clock_wall_ms()) / 2);
}

static void
ask_redis(struct json_object *t, struct redis *redis)
{
	static const char *const parameters[] = {"maxmemory-policy", "save",
	    "appendonly", "bind", "protected-mode", "port", "requirepass",
	    "stop-writes-on-bgsave-error"};
	const char *argv[] = {"INFO"};
	AUTO_REPLY redisReply *r = NULL;

	if (redis_command(redis, 1, argv, NULL, &r) != OK ||
	    r->type != REDIS_REPLY_STRING) {
		json_put_text(t, "state", "away");
		json_put_text(t, "why", redis_why(redis));
		return;
	}
	add_info(t, r->str);
	json_put_text(t, "state", "ok");
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		add_parameter(t, redis, parameters[i]);
	add_redis_clock(t, redis);
}

static void
add_redis(struct json_object *o, const char *url)
{
	struct json_object *t = json_object_new_object();
	struct redis_address a = {0};
	struct redis *redis = NULL;

	json_object_object_add(o, "redis", t);
	if (url == NULL || url[0] == '\0') {
		json_put_text(t, "state", "none");
		return;
	}
	if (redis_address_parse(url, &a) == OK) {
		json_put_text(t, "host", a.path != NULL ? a.path : a.host);
		redis_address_clear(&a);
		redis = redis_new(url, REDIS_MS);
	}
	if (redis != NULL) {
		ask_redis(t, redis);
	} else {
		json_put_text(t, "state", "away");
		json_put_text(t, "why", "REDIS_URL cannot be read");
	}
	redis_free(redis);
}

static enum ctl_exit
add_migrations(struct json_object *o, PGconn *conn)
{
	static const char *const states[] = {[PLAN_APPLIED] = "applied",
	    [PLAN_PENDING] = "pending",
	    [PLAN_EDITED] = "edited",
	    [PLAN_MISSING] = "unknown to this natterctl",
	    [PLAN_DISORDER] = "out of order"};
	struct json_object *list = json_object_new_array();
	struct migrations *files = NULL;
	struct migration_plan *plan = NULL;
	char why[MIGRATIONS_WHY], name[160];
	enum ctl_exit code;

	json_object_object_add(o, "migrations", list);
	if (migrations_load(NULL, &files, why) != OK)
		return ctl_refuse(CTL_FAILED, "%s", why);
	code = migration_plan_read(conn, files, &plan);
	for (size_t i = 0; code == CTL_OK && i < plan->n; i++) {
		struct json_object *t = json_object_new_object();

		snprintf(name, sizeof(name), "%03d_%.150s",
		    plan->list[i].version, plan->list[i].name);
		json_put_text(t, "name", name);
		json_put_text(t, "state", states[plan->list[i].state]);
		json_object_array_add(list, t);
	}
	migration_plan_free(plan);
	migrations_free(files);
	return code;
}

static void
add_postgres_clock(struct json_object *o, PGconn *conn)
{
	int64_t before = (int64_t)clock_wall_ms(), theirs;
	AUTO_PGRESULT PGresult *r = PQexec(conn,
	    "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");

	if (!ctl_is_ok(r))
		return;
	theirs = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
	json_put_number(o, "postgres_skew_ms",
	    theirs - (before + (int64_t)clock_wall_ms()) / 2);
}

/* The templates that stores may name, or why there are none. */
static void
add_templates(struct json_object *o, const char *folder)
{
	struct json_object *names = json_object_new_array();
	struct prompts *p = NULL;
	char why[PROMPTS_WHY];

	if (prompts_load(folder, &p, why) != OK)
		json_put_text(o, "templates_why", why);
	for (size_t i = 0; p != NULL && i < p->n; i++)
		if (prompts_system(p, p->list[i].name) != NULL)
			json_object_array_add(
			    names, json_object_new_string(p->list[i].name));
	json_object_object_add(o, "templates", names);
	prompts_free(p);
}

/* How many connections to one address this host can have at once. */
static void
add_ports(struct json_object *o)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
	char line[64], *end;
	long first, last;

	if (f == NULL)
		return;
	if (fgets(line, sizeof(line), f) != NULL) {
		first = strtol(line, &end, 10);
		last = strtol(end, NULL, 10);
		if (first > 0 && last >= first)
			json_put_number(o, "ports", last - first + 1);
	}
	fclose(f);
}

enum ctl_exit
doctor_facts(PGconn *conn, const struct doctor_options *options,
    struct json_object **out_facts)
{
	struct config *config = NULL;
	struct json_object *o, *files;
	enum ctl_exit code = ctl_settings(options->config_file, &config);

	if (code != CTL_OK)
		return code;
	o = json_object_new_object();
	files = json_object_new_array();
	json_put_number(o, "slow_s", options->slow_s);
	add_config(o, config);
	add_database(o, config->database_url);
	add_file(files, "settings", options->config_file);
	add_file(files, "keys", config->jwt_keys_file);
	add_ports(o);
	json_object_object_add(o, "files", files);
	add_postgres_clock(o, conn);
	add_redis(o, config->redis_url);
	add_templates(o, config->prompts_dir);
	config_free(config);
	code = add_migrations(o, conn);
	if (code != CTL_OK)
		json_object_put(o);
	else
		*out_facts = o;
	return code;
}
