/*
 * natterd's main: the command line, what must be right before anything is
 * forked, and the loader that a reload calls again. The listening socket is
 * descriptor 0, as FastCGI has it (spawn-fcgi -n, or a systemd socket unit
 * with StandardInput=socket).
 */
#include <errno.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/site_rules.h"
#include "base/address.h"
#include "base/config.h"
#include "base/keyring.h"
#include "base/log.h"
#include "chat/prompts.h"
#include "base/zone.h"
#include "http/origin.h"
#include "server/descriptors.h"
#include "model/embedding.h"
#include "model/fallback.h"
#include "model/model_server.h"
#include "model/window.h"
#include "server/master.h"
#include "store/redis.h"

static const char *config_file;

static const char usage_text[] =
    "usage: natterd [--config FILE] [--activated] [--check]\n"
    "\n"
    "The FastCGI listening socket is standard input:\n"
    "  spawn-fcgi -n -s /run/natter/natterd.sock -M 0660 -b 4096 -- \\\n"
    "      /usr/sbin/natterd --config /etc/natter/natter.env\n"
    "\n"
    "  --config FILE  KEY=VALUE lines; the environment wins over them\n"
    "  --activated    a systemd socket unit holds the socket\n"
    "  --check        say whether the configuration can work, and exit\n"
    "  --version      print the version\n"
    "  --help         print this\n"
    "\n"
    "SIGTERM drains and ends, SIGHUP reloads. Exit status 78: a configuration\n"
    "that cannot work. Settings: natterctl config, natterd(8).\n";

/* An exchange that is off is as good as one that can work. */
static enum err
check_exchange(const struct config *c, char why[static MASTER_WHY])
{
	struct site_rules rules;
	char said[SITE_WHY] = "";
	enum err e = site_rules_read(c, &rules, said);

	if (e == OK || e == ERR_EXCHANGE_OFF)
		return OK;
	snprintf(why, MASTER_WHY, "%s", said);
	return e;
}

static enum err
check_stores(const struct config *c, char why[static MASTER_WHY])
{
	struct redis_address address = {0};
	PQconninfoOption *options;
	char *error = NULL;

	if (c->database_url[0] == '\0' || c->redis_url[0] == '\0' ||
	    c->jwt_keys_file[0] == '\0') {
		snprintf(why, MASTER_WHY, "%s is not set",
		    c->database_url[0] == '\0' ? "DATABASE_URL"
		    : c->redis_url[0] == '\0'  ? "REDIS_URL"
					       : "JWT_KEYS_FILE");
		return ERR_INVALID_FIELD;
	}
	options = PQconninfoParse(c->database_url, &error);
	if (options == NULL) {
		snprintf(why, MASTER_WHY,
		    "DATABASE_URL is not a Postgres URL or keyword string");
		PQfreemem(error);
		return ERR_INVALID_FIELD;
	}
	PQconninfoFree(options);
	if (redis_address_parse(c->redis_url, &address) != OK) {
		snprintf(why, MASTER_WHY,
		    "REDIS_URL is not redis:// or "
		    "unix:// followed by an address");
		return ERR_INVALID_FIELD;
	}
	redis_address_clear(&address);
	return OK;
}

/* Without the hash slots' folder every sign-in fails. */
static enum err
check_run_dir(const struct config *c, char why[static MASTER_WHY])
{
	struct stat st;

	if (stat(c->run_dir, &st) == 0 && !S_ISDIR(st.st_mode))
		errno = ENOTDIR;
	else if (access(c->run_dir, W_OK | X_OK) == 0)
		return OK;
	snprintf(why, MASTER_WHY,
	    "CHAT_RUN_DIR: natterd cannot make files in %.512s: %s", c->run_dir,
	    strerror(errno));
	return ERR_INVALID_FIELD;
}

static enum err
check_models(const struct config *c, char why[static MASTER_WHY])
{
	char said[FALLBACK_WHY] = "";
	enum err e = fallback_check(c, said);

	if (e != OK)
		snprintf(why, MASTER_WHY, "%s", said);
	return e;
}

/* A wildcard or a path would never match what a browser sends. */
static enum err
check_origins(const struct config *c, char why[static MASTER_WHY])
{
	if (origin_list_is_fit(c->origins))
		return OK;
	snprintf(why, MASTER_WHY,
	    "CHAT_ORIGINS takes origins as browsers send them: "
	    "https://app.example.com, no path, no *, spaces between");
	return ERR_INVALID_FIELD;
}

static enum err
check_windows(const struct config *c, char why[static MASTER_WHY])
{
	char said[WINDOW_WHY] = "";
	enum err e = window_check(c->model_window, said);

	if (e != OK)
		snprintf(why, MASTER_WHY, "%s", said);
	return e;
}

static enum err
check_tools(const struct config *c, char why[static MASTER_WHY])
{
	char said[ADDRESS_WHY] = "";
	enum err e = address_list_check(c->tools_allow, said);

	if (e != OK)
		snprintf(why, MASTER_WHY, "CHAT_TOOLS_ALLOW: %s", said);
	return e;
}

/* Or no question would ever be answered. */
static enum err
check_moderation(const struct config *c, char why[static MASTER_WHY])
{
	const char *url = c->moderation_url;

	if (url[0] == '\0' || model_server_is_url(url))
		return OK;
	snprintf(why, MASTER_WHY,
	    "CHAT_MODERATION_URL: it must begin with https:// or http://, or "
	    "be http://unix:/PATH/OF/SOCKET:/v1");
	return ERR_INVALID_FIELD;
}

static enum err
check_embedding(const struct config *c, char why[static MASTER_WHY])
{
	char said[EMBEDDING_WHY] = "";
	enum err e = embedding_check(c, said);

	if (e != OK)
		snprintf(why, MASTER_WHY, "%s", said);
	return e;
}

static enum err
check_time_zone(const struct config *c, char why[static MASTER_WHY])
{
	bool is_zone = zone_find(c->time_zone) != NULL;

	zones_forget();
	if (is_zone)
		return OK;
	snprintf(why, MASTER_WHY,
	    "CHAT_TIME_ZONE: not a name of this host's time zone database "
	    "(tzdata), such as Europe/Berlin");
	return ERR_INVALID_FIELD;
}

/* Refuses settings that cannot work whatever the servers do. */
static enum err
check_settings(const struct config *c, char why[static MASTER_WHY])
{
	enum err e = check_stores(c, why);

	if (e == OK)
		e = check_run_dir(c, why);
	if (e == OK)
		e = check_models(c, why);
	if (e == OK)
		e = check_windows(c, why);
	if (e == OK)
		e = check_exchange(c, why);
	if (e == OK)
		e = check_origins(c, why);
	if (e == OK)
		e = check_tools(c, why);
	if (e == OK)
		e = check_moderation(c, why);
	if (e == OK)
		e = check_embedding(c, why);
	if (e == OK)
		e = check_time_zone(c, why);
	return e;
}

/* master_options.load: the settings and the key ring, or why not. */
static enum err
load(struct config **out_config, struct keyring **out_keys,
    char why[static MASTER_WHY])
{
	struct config *config = NULL;
	struct prompts *prompts = NULL;
	enum err e = config_load(config_file, &config, why);

	_Static_assert(PROMPTS_WHY <= MASTER_WHY, "a sentence fits");
	if (e == OK)
		e = check_settings(config, why);
	if (e == OK)
		e = prompts_load(config->prompts_dir, &prompts, why);
	if (e == OK)
		e = keyring_load(config->jwt_keys_file, out_keys, why);
	if (e != OK) {
		prompts_free(prompts);
		config_free(config);
		return e;
	}
	prompts_use(prompts);
	descriptors_fit(config);
	*out_config = config;
	return OK;
}

static bool
is_listening(int fd)
{
	socklen_t n = sizeof(int);
	int yes = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) == 0 &&
	       yes != 0;
}

/* Keys are in the memory of all of our processes. */
static void
leave_no_cores(void)
{
	struct rlimit cores = {0, 0};

	setrlimit(RLIMIT_CORE, &cores);
}

static int
check_only(void)
{
	struct config *config = NULL;
	struct keyring *keys = NULL;
	char why[MASTER_WHY] = "";

	if (load(&config, &keys, why) != OK) {
		fprintf(stderr, "natterd: %s\n", why);
		return EXIT_CONFIGURATION;
	}
	config_free(config);
	keyring_free(keys);
	puts("The configuration is valid.");
	return 0;
}

static int
run(bool is_activated)
{
	struct master_options options = {
	    .listen_fd = STDIN_FILENO,
	    .is_activated = is_activated,
	    .load = load,
	};

	if (!is_listening(STDIN_FILENO)) {
		fprintf(stderr,
		    "natterd: standard input is not a listening socket: start "
		    "it with spawn-fcgi -n or a systemd socket unit\n");
		return EXIT_CONFIGURATION;
	}
	leave_no_cores();
	return master_run(&options);
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"activated", no_argument, NULL, 'a'},
	    {"check", no_argument, NULL, 'k'},
	    {"version", no_argument, NULL, 'v'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	bool is_activated = false, only_check = false;
	int c;

	signal(SIGPIPE, SIG_IGN);
	log_init("master", LOG_INFO);
	while ((c = getopt_long(argc, argv, "c:", longs, NULL)) != -1) {
		if (c == 'c')
			config_file = optarg;
		else if (c == 'a')
			is_activated = true;
		else if (c == 'k')
			only_check = true;
		else if (c == 'v')
			return puts("natterd " PACKAGE_VERSION) < 0;
		else {
			fputs(usage_text, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (optind < argc) {
		fputs(usage_text, stderr);
		return 2;
	}
	if (sodium_init() < 0) {
		fputs("natterd: libsodium finds no random source\n", stderr);
		return 1;
	}
	descriptors_raise();
	return only_check ? check_only() : run(is_activated);
}
