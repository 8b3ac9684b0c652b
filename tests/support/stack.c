/*
 * Starts and stops real processes for end-to-end tests. Everything dies with
 * the test (PR_SET_PDEATHSIG) and lives in one folder below /tmp.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/id.h"
#include "stack.h"

#define MODEL_SOCKET "model.sock"
#define START_MS     20000

_Noreturn static void
give_up(const char *what)
{
	fprintf(stderr, "stack: %s: %s\n", what, strerror(errno));
	abort();
}

static const char *
demand(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL) {
		fprintf(
		    stderr, "stack: %s is not set: run scripts/check\n", name);
		abort();
	}
	return value;
}

static void
sleep_ms(int ms)
{
	struct timespec t = {
	    .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

bool
wait_until(bool (*is_so)(void *arg), void *arg, int ms)
{
	for (int waited = 0; waited <= ms; waited += 20) {
		if (is_so(arg))
			return true;
		sleep_ms(20);
	}
	return is_so(arg);
}

struct awaited {
	const _Atomic int *n;
	int at_least;
};

static bool
has_come(void *arg)
{
	const struct awaited *a = arg;

	return atomic_load(a->n) >= a->at_least;
}

bool
wait_for_count(const _Atomic int *n, int at_least, int ms)
{
	struct awaited a = {n, at_least};

	return wait_until(has_come, &a, ms);
}

/* The state letter and the parent of a process; 0 when it is gone. */
static char
process_state(pid_t pid, pid_t *out_parent)
{
	char path[64], line[512], *end;
	FILE *f;
	char state = 0;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) != NULL &&
	    (end = strrchr(line, ')')) != NULL)
		sscanf(end + 1, " %c %d", &state, &parent);
	fclose(f);
	if (out_parent != NULL)
		*out_parent = parent;
	return state;
}

bool
process_runs(pid_t pid)
{
	char state = process_state(pid, NULL);

	return state != 0 && state != 'Z' && state != 'X';
}

size_t
stack_workers(const struct stack *s, pid_t *pids, size_t max)
{
	char path[64], text[8192];
	size_t n = 0, got;
	char *at = text;
	FILE *f;
	long pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
	    (int)s->natterd, (int)s->natterd);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	got = fread(text, 1, sizeof(text) - 1, f);
	text[got] = '\0';
	fclose(f);
	while (n < max && (pid = strtol(at, &at, 10)) > 0)
		if (process_runs((pid_t)pid))
			pids[n++] = (pid_t)pid;
	return n;
}

/*
 * A port of our own. It stays bound without listening, so that nobody else is
 * given it before nginx, which binds with SO_REUSEADDR too, listens on it.
 */
static int
take_port(int *out_fd)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, (struct sockaddr *)&a, n) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) != 0)
		give_up("no free port");
	*out_fd = fd;
	return ntohs(a.sin_port);
}

int
stack_free_port(void)
{
	int fd, port = take_port(&fd);

	close(fd);
	return port;
}

/* The settings of the caller's environment would win over the file. */
static void
forget_settings(void)
{
#define CONFIG_GROUP(title)
#define CONFIG_TEXT(key, ...)   unsetenv(#key);
#define CONFIG_SECRET(key, ...) unsetenv(#key);
#define CONFIG_NUMBER(key, ...) unsetenv(#key);
#define CONFIG_SWITCH(key, ...) unsetenv(#key);
#define CONFIG_CHOICE(key, ...) unsetenv(#key);
#include "base/config.def"
}

/* Starts a program; its stdout goes to `out_fd`, its stderr to `log`. It gets
 * the signal `orphaned` when the test's process ends without having stopped it.
 */
static pid_t
start(char *const argv[], const char *log, int out_fd, int orphaned)
{
	pid_t parent = getpid(), pid = fork();
	int fd;

	if (pid < 0)
		give_up("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, orphaned);
	if (getppid() != parent)
		_exit(1);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	dup2(fd, STDERR_FILENO);
	dup2(out_fd >= 0 ? out_fd : fd, STDOUT_FILENO);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, STDIN_FILENO);
	closefrom(3);
	forget_settings();
	execvp(argv[0], argv);
	_exit(127);
}

static char *
slurp(const char *path)
{
	struct buf b = {0};
	char part[4096];
	FILE *f = fopen(path, "r");
	size_t n;

	if (f == NULL)
		give_up(path);
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		buf_add(&b, part, n);
	fclose(f);
	return buf_take(&b);
}

/* Writes `template` to `path` with @NAME@ replaced by the values. */
static void
fill_template(const char *template, const char *path,
    const char *const values[][2], size_t n)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		give_up(path);
	for (const char *p = template; *p != '\0'; p++) {
		size_t i;

		for (i = 0; i < n; i++)
			if (strncmp(p, values[i][0], strlen(values[i][0])) == 0)
				break;
		if (i == n) {
			fputc(*p, f);
			continue;
		}
		fputs(values[i][1], f);
		p += strlen(values[i][0]) - 1;
	}
	fclose(f);
}

/* Starts a stand-in at `address`, whose port may be 0, and on the socket
 * `name`, and writes its URL. */
static pid_t
start_standin(struct stack *s, const char *address, const char *name,
    char out_url[static 64])
{
	char log[96], path[96], line[128] = "";
	char *argv[] = {(char *)(uintptr_t)demand("MODEL_STANDIN"), "--listen",
	    (char *)(uintptr_t)address, "--socket", path, "--die-with-parent",
	    NULL};
	int ends[2];
	pid_t pid;
	FILE *f;

	snprintf(log, sizeof(log), "%s/standin.log", s->dir);
	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	if (pipe2(ends, O_CLOEXEC) != 0)
		give_up("pipe");
	pid = start(argv, log, ends[1], SIGKILL);
	close(ends[1]);
	f = fdopen(ends[0], "r");
	if (fgets(line, sizeof(line), f) == NULL ||
	    strncmp(line, "listening ", 10) != 0)
		give_up("the stand-in model did not start");
	fclose(f);
	line[strcspn(line, "\n")] = '\0';
	snprintf(out_url, 64, "http://%.48s", line + 10);
	return pid;
}

static void
write_config(struct stack *s, const struct stack_options *o)
{
	FILE *f = fopen(s->config, "w");
	char base[128];

	if (f == NULL)
		give_up(s->config);
	if (o->is_on_socket)
		snprintf(base, sizeof(base), "http://unix:%s/" MODEL_SOCKET ":",
		    s->dir);
	else
		snprintf(base, sizeof(base), "%s", s->model);
	fprintf(f, "DATABASE_URL=%s\nREDIS_URL=%s\nJWT_KEYS_FILE=%s\n",
	    o->database_url != NULL ? o->database_url : demand("DATABASE_URL"),
	    o->redis_url != NULL ? o->redis_url : demand("REDIS_URL"),
	    demand("NATTER_KEYS_FILE"));
	fprintf(f,
	    "CHAT_REGISTRATION=open\nCHAT_HASH_MEMORY=8192\n"
	    "CHAT_RUN_DIR=%s\nCHAT_HASH_SLOTS=64\n",
	    s->dir);
	/* On a busy machine Redis is late, not away. */
	fputs("CHAT_REDIS_TIMEOUT=3000\n", f);
	/* Tests of limits set their own. */
	fputs("CHAT_RATE_LIMIT_PER_MINUTE=0\nCHAT_RATE_LIMIT_PER_DAY=0\n"
	      "CHAT_API_RATE_PER_MINUTE=0\nCHAT_STREAMS_PER_USER=0\n"
	      "CHAT_USER_ADDRESS_RATE_PER_MINUTE=0\n"
	      "CHAT_ADDRESS_RATE_PER_MINUTE=0\n"
	      "CHAT_REFRESH_RATE_PER_MINUTE=0\n"
	      "CHAT_REFRESH_FAILURES_PER_MINUTE=0\n"
	      "CHAT_MAX_TOKENS_PER_DAY=0\n"
	      "CHAT_MODEL_COOLDOWN=0\nCHAT_TITLES=off\nCHAT_TOOLS=off\n",
	    f);
	if (o->has_model)
		fprintf(
		    f, "OPENAI_BASE_URL=%s/v1\nCHAT_MODEL=test-model\n", base);
	if (o->has_moderation)
		fprintf(f, "CHAT_MODERATION_URL=%s/v1\n", base);
	if (o->has_second)
		fprintf(f,
		    "CHAT_SECOND_BASE_URL=%s/v1\n"
		    "CHAT_SECOND_MODELS=second-model\n",
		    s->second);
	fclose(f);
	/* In place of a default: natterd refuses a key that comes twice. */
	for (size_t i = 0; i < 16 && o->settings[i] != NULL; i++)
		stack_set(s, o->settings[i]);
}

/* Where the clock is to be wrong, libfaketime comes first; $LIB is the loader's
 * own word for the folder. The monotonic clock stays right. */
static void
start_natterd(struct stack *s, const struct stack_options *o)
{
	const char *asan = getenv("ASAN_OPTIONS");
	char clock[32], options[512];
	char *argv[] = {"env", options,
	    "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1", clock,
	    "FAKETIME_DONT_FAKE_MONOTONIC=1", "spawn-fcgi", "-n", "-s",
	    s->socket, "-M", "0666", "-b", "4096", "--",
	    (char *)(uintptr_t)demand("NATTERD"), "--config", s->config, NULL};

	if (o->clock == NULL) {
		s->natterd = start(argv + 5, s->log, -1, SIGKILL);
		return;
	}
	snprintf(clock, sizeof(clock), "FAKETIME=%s", o->clock);
	/* A sanitizer wants to be the first library. */
	snprintf(options, sizeof(options),
	    "ASAN_OPTIONS=%s:verify_asan_link_order=0",
	    asan != NULL ? asan : "");
	s->natterd = start(argv, s->log, -1, SIGKILL);
}

static void
start_nginx(struct stack *s, const struct stack_options *o)
{
	char path[128], port[16], *template;
	char *argv[] = {"nginx", "-p", s->dir, "-c", path, NULL};
	char include[1024], http[1024], source[256];
	const char *const values[][2] = {
	    {"@DIR@", s->dir},
	    {"@SOCKET@", s->socket},
	    {"@PORT@", port},
	    {"@CONNECTIONS@", "8192"},
	    {"include natter.conf;", include},
	    {"\tupstream natter {", http},
	};

	snprintf(port, sizeof(port), "%d", s->port);
	snprintf(include, sizeof(include), "include %s/nginx/natter.conf; %s",
	    demand("NATTER_SRCDIR"), o->site != NULL ? o->site : "");
	snprintf(http, sizeof(http), "%s\tupstream natter {",
	    o->http != NULL ? o->http : "");
	snprintf(source, sizeof(source), "%s/nginx/demo.conf.in",
	    demand("NATTER_SRCDIR"));
	template = slurp(source);
	snprintf(path, sizeof(path), "%s/nginx", s->dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/log", s->dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/nginx.conf", s->dir);
	fill_template(
	    template, path, values, sizeof(values) / sizeof(values[0]));
	free(template);
	snprintf(source, sizeof(source), "%s/nginx.log", s->dir);
	/* Killed, it would leave its workers. */
	s->nginx = start(argv, source, -1, SIGTERM);
}

static bool
is_ready(void *arg)
{
	struct stack *s = arg;
	struct ask ask = {
	    .base = s->base, .path = "/readyz", .timeout_ms = 2000};
	struct answer a;
	bool yes;

	http_ask(&ask, &a);
	yes = a.status == 200;
	answer_clear(&a);
	return yes;
}

static bool
is_live(void *arg)
{
	struct stack *s = arg;
	struct ask ask = {
	    .base = s->base, .path = "/livez", .timeout_ms = 2000};
	struct answer a;
	bool yes;

	http_ask(&ask, &a);
	yes = a.status == 200;
	answer_clear(&a);
	return yes;
}

void
stack_start(struct stack *s, const struct stack_options *o)
{
	*s = (struct stack){0};
	snprintf(s->dir, sizeof(s->dir), "/tmp/natter-test-XXXXXX");
	if (mkdtemp(s->dir) == NULL)
		give_up("mkdtemp");
	chmod(s->dir, 0755);
	s->port = take_port(&s->port_fd);
	snprintf(s->base, sizeof(s->base), "http://127.0.0.1:%d", s->port);
	snprintf(s->socket, sizeof(s->socket), "%s/fcgi", s->dir);
	snprintf(s->log, sizeof(s->log), "%s/natterd.log", s->dir);
	snprintf(s->config, sizeof(s->config), "%s/natter.env", s->dir);
	if (o->has_model)
		s->standin =
		    start_standin(s, "127.0.0.1:0", MODEL_SOCKET, s->model);
	if (o->has_second)
		s->second_standin =
		    start_standin(s, "127.0.0.1:0", "second.sock", s->second);
	write_config(s, o);
	start_natterd(s, o);
	start_nginx(s, o);
	if (o->may_not_start)
		return;
	if (wait_until(o->may_be_unready ? is_live : is_ready, s, START_MS) &&
	    process_runs(s->nginx))
		return;
	fprintf(
	    stderr, "stack: not ready; natterd's log:\n%s\n", slurp(s->log));
	abort();
}

static int
end_process(pid_t pid, int signal, int patience_ms)
{
	int status = -1;

	if (pid <= 0)
		return 0;
	kill(pid, signal);
	for (int waited = 0; waited < patience_ms; waited += 10) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		sleep_ms(10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return status;
}

int
stack_end_natterd(struct stack *s, int signal)
{
	int status = end_process(s->natterd, signal, 90000);

	s->natterd = 0;
	return status;
}

void
stack_model_end(struct stack *s)
{
	end_process(s->standin, SIGKILL, 5000);
	s->standin = 0;
}

void
stack_model_again(struct stack *s)
{
	char url[64];

	s->standin =
	    start_standin(s, s->model + strlen("http://"), MODEL_SOCKET, url);
}

void
stack_stop(struct stack *s)
{
	char command[128];

	end_process(s->natterd, SIGTERM, 90000);
	end_process(s->nginx, SIGTERM, 5000);
	end_process(s->standin, SIGTERM, 5000);
	end_process(s->second_standin, SIGTERM, 5000);
	if (s->port_fd > 0)
		close(s->port_fd);
	s->port_fd = 0;
	snprintf(command, sizeof(command), "rm -rf '%s'", s->dir);
	if (getenv("NATTER_KEEP") == NULL && system(command) != 0)
		give_up("rm");
}

void
stack_set(const struct stack *s, const char *setting)
{
	size_t key = strcspn(setting, "=") + 1;
	char *old = slurp(s->config), *save = NULL;
	FILE *f = fopen(s->config, "w");

	if (f == NULL)
		give_up(s->config);
	for (char *line = strtok_r(old, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, setting, key) != 0)
			fprintf(f, "%s\n", line);
	fprintf(f, "%s\n", setting);
	fclose(f);
	free(old);
}

void
person_converse(const struct stack *s, const struct person *p, char out_id[40])
{
	struct ask ask = {.method = "POST",
	    .base = s->base,
	    .path = "/api/v1/conversations",
	    .token = p->token,
	    .json = "{}"};
	struct answer a;

	http_ask(&ask, &a);
	if (a.status != 201) {
		fprintf(stderr, "stack: conversation: %ld %s\n", a.status,
		    a.body.p);
		abort();
	}
	snprintf(out_id, 40, "%s", answer_text(&a, "id"));
	answer_clear(&a);
}

void
person_make(const struct stack *s, struct person *p)
{
	struct ask ask = {
	    .method = "POST", .base = s->base, .path = "/api/v1/auth/register"};
	char json[256], id[ID_SHORT_TEXT];
	struct answer a;

	*p = (struct person){0};
	id_make_short(id);
	snprintf(p->username, sizeof(p->username), "person-%s", id);
	snprintf(json, sizeof(json),
	    "{\"username\":\"%s\",\"password\":\"correct horse %s\"}",
	    p->username, id);
	ask.json = json;
	http_ask(&ask, &a);
	if (a.status != 201) {
		fprintf(
		    stderr, "stack: register: %ld %s\n", a.status, a.body.p);
		abort();
	}
	snprintf(
	    p->token, sizeof(p->token), "%s", answer_text(&a, "access_token"));
	snprintf(p->refresh, sizeof(p->refresh), "%s",
	    answer_text(&a, "refresh_token"));
	snprintf(
	    p->user_id, sizeof(p->user_id), "%s", answer_text(&a, "user.id"));
	answer_clear(&a);
	person_converse(s, p, p->conversation);
}

void
person_say(const struct stack *s, const struct person *p, const char *content,
    struct answer *a)
{
	struct json_object *o = json_object_new_object();
	char path[128];
	struct ask ask = {.method = "POST",
	    .base = s->base,
	    .path = path,
	    .token = p->token,
	    .timeout_ms = 60000};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    p->conversation);
	json_object_object_add(o, "content", json_object_new_string(content));
	json_object_object_add(o, "stream", json_object_new_boolean(1));
	ask.json = json_object_to_json_string(o);
	http_ask(&ask, a);
	json_object_put(o);
}

char *
db_text(const char *sql, const char *param)
{
	PGconn *c = PQconnectdb(demand("SUPERUSER_DATABASE_URL"));
	const char *params[] = {param};
	PGresult *r;
	char *value;

	if (PQstatus(c) != CONNECTION_OK) {
		fprintf(stderr, "stack: %s", PQerrorMessage(c));
		abort();
	}
	r = PQexecParams(
	    c, sql, param != NULL ? 1 : 0, NULL, params, NULL, NULL, 0);
	if (PQresultStatus(r) != PGRES_TUPLES_OK &&
	    PQresultStatus(r) != PGRES_COMMAND_OK) {
		fprintf(stderr, "stack: %s", PQerrorMessage(c));
		abort();
	}
	value = strdup(PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	PQfinish(c);
	return value;
}

void
db_value(const char *sql, const char *param, char *out, size_t size)
{
	char *value = db_text(sql, param);

	snprintf(out, size, "%s", value);
	free(value);
}
