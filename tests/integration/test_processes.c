/*
 * natterd as a set of processes: deaths, restarts, drains and reloads under
 * load. What a client was told must be true afterwards; what it was not told,
 * it must be able to find out.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/clock.h"
#include "stack.h"
#include "standin_text.h"

#define CLIENTS 12

static struct stack stack;

static void
teardown(void)
{
	stack_stop(&stack);
}

TestSuite(processes, .fini = teardown, .timeout = 180);

static void
pause_ms(int ms)
{
	struct timespec t = {
	    .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

/* A client in a thread of its own. */
struct client {
	pthread_t thread;
	struct person person;
	const char *say;
	struct answer answer;
	_Atomic bool has_started; /* the first delta came */
};

static void
event_came(void *arg, int n)
{
	struct client *c = arg;

	if (n >= 2)
		atomic_store(&c->has_started, true);
}

static void *
client_run(void *arg)
{
	struct client *c = arg;
	char path[128], json[512];
	struct ask ask = {.method = "POST",
	    .base = stack.base,
	    .path = path,
	    .json = json,
	    .token = c->person.token,
	    .timeout_ms = 60000,
	    .on_event = event_came,
	    .arg = c};

	snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages",
	    c->person.conversation);
	snprintf(
	    json, sizeof(json), "{\"content\":\"%s\",\"stream\":true}", c->say);
	http_ask(&ask, &c->answer);
	return NULL;
}

static bool
client_has_started(void *arg)
{
	struct client *c = arg;

	return atomic_load(&c->has_started);
}

static void
clients_start(struct client *clients, size_t n, const char *say)
{
	for (size_t i = 0; i < n; i++) {
		clients[i] = (struct client){.say = say};
		person_make(&stack, &clients[i].person);
	}
	stack_model_open(&stack); /* the gate before the first delta */
	for (size_t i = 0; i < n; i++)
		pthread_create(
		    &clients[i].thread, NULL, client_run, &clients[i]);
	for (size_t i = 0; i < n; i++)
		cr_assert(wait_until(client_has_started, &clients[i], 60000),
		    "client %zu got no token", i);
}

static void
clients_join(struct client *clients, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pthread_join(clients[i].thread, NULL);
}

static void
expect_text_stored(const struct answer *a, const char *status)
{
	const char *id = answer_event_text(a, "start", "message_id");
	char got[32];
	char *text =
	    db_text("SELECT content FROM chat.messages WHERE id = $1", id);

	db_value("SELECT status FROM chat.messages WHERE id = $1", id, got,
	    sizeof(got));
	cr_expect_str_eq(got, status);
	cr_expect_str_eq(text, a->text.p);
	free(text);
}

static void
expect_works(const struct person *p)
{
	struct answer a;

	person_say(&stack, p, "are you there", &a);
	cr_expect_eq(a.status, 200, "%ld %s", a.status, a.body.p);
	cr_expect(answer_ends_with(&a, "done"), "%s", a.body.p);
	answer_clear(&a);
}

struct pids {
	size_t want;
	pid_t pids[16];
	pid_t not_these[16];
	size_t n_not;
};

/* Are there as many workers as wanted, none of the old ones among them? */
static bool
has_fresh_workers(void *arg)
{
	struct pids *p = arg;
	size_t n = stack_workers(&stack, p->pids, 16);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < p->n_not; k++)
			if (p->pids[i] == p->not_these[k])
				return false;
	return n == p->want;
}

static bool
is_interrupted(void *arg)
{
	char status[32];

	db_value("SELECT status FROM chat.messages WHERE id = $1", arg, status,
	    sizeof(status));
	return strcmp(status, "interrupted") == 0;
}

Test(processes, a_killed_worker_is_replaced_and_its_replies_are_swept)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	static struct client clients[CLIENTS];
	struct pids p = {.want = 2};
	int cut = 0;

	stack_start(&stack, &o);
	/* The others have to be steady before they may sweep. */
	pause_ms(5500);
	/* All have begun and none ends before the kill. */
	clients_start(clients, CLIENTS, "[[events=60 gap=100 gate=30]] go");
	cr_assert(wait_until(has_fresh_workers, &p, 60000));
	kill(p.pids[0], SIGKILL);
	stack_model_open(&stack);
	clients_join(clients, CLIENTS);
	for (size_t i = 0; i < CLIENTS; i++) {
		struct answer *a = &clients[i].answer;
		char id[40];

		snprintf(id, sizeof(id), "%s",
		    answer_event_text(a, "start", "message_id"));
		if (answer_ends_with(a, "done")) {
			expect_text_stored(a, "complete");
		} else {
			cut++;
			cr_expect(wait_until(is_interrupted, id, 60000),
			    "the reply was not swept");
			expect_works(&clients[i].person);
		}
		answer_clear(a);
	}
	cr_expect_gt(cut, 0, "the killed worker had no reply");
	p.not_these[p.n_not++] = p.pids[0];
	cr_expect(wait_until(has_fresh_workers, &p, 60000));
}

/* Does /readyz say so however often it is asked, whichever worker answers? */
static bool
all_drain(void *arg)
{
	struct ask ask = {.base = stack.base, .path = "/readyz"};
	bool yes = true;

	(void)arg;
	for (int i = 0; i < 16 && yes; i++) {
		struct answer a;

		http_ask(&ask, &a);
		yes = a.status == 503 &&
		      strcmp(answer_text(&a, "status"), "draining") == 0;
		answer_clear(&a);
	}
	return yes;
}

Test(processes, sigterm_lets_replies_finish_and_says_503_meanwhile)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_DRAIN_SECONDS=20"}};
	static struct client clients[CLIENTS];
	struct ask me = {.path = "/api/v1/me"};
	struct answer a;
	int status;

	stack_start(&stack, &o);
	/* Half of each reply waits until all of this was seen. */
	clients_start(clients, CLIENTS, "[[events=30 gate=15]] go");
	kill(stack.natterd, SIGTERM);
	cr_expect(wait_until(all_drain, NULL, 15000));
	me.base = stack.base;
	me.token = clients[0].person.token;
	http_ask(&me, &a);
	cr_expect_eq(a.status, 503, "%ld %s", a.status, a.body.p);
	cr_expect_str_eq(answer_text(&a, "code"), "draining");
	cr_expect_not_null(answer_header(&a, "Retry-After"));
	answer_clear(&a);
	stack_model_open(&stack);
	clients_join(clients, CLIENTS);
	for (size_t i = 0; i < CLIENTS; i++) {
		cr_expect(answer_ends_with(&clients[i].answer, "done"), "%s",
		    clients[i].answer.body.p);
		expect_text_stored(&clients[i].answer, "complete");
		answer_clear(&clients[i].answer);
	}
	waitpid(stack.natterd, &status, 0);
	stack.natterd = 0;
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(processes, after_the_drain_time_replies_end_with_an_error_and_are_kept)
{
	struct stack_options o = {.has_model = true,
	    .settings = {"CHAT_WORKERS=2", "CHAT_DRAIN_SECONDS=1"}};
	static struct client clients[CLIENTS];
	int status;

	stack_start(&stack, &o);
	clients_start(clients, CLIENTS, "[[events=600 gap=100]] go");
	status = stack_end_natterd(&stack, SIGTERM);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	clients_join(clients, CLIENTS);
	for (size_t i = 0; i < CLIENTS; i++) {
		struct answer *a = &clients[i].answer;

		cr_expect(answer_ends_with(a, "error"), "%s", a->body.p);
		cr_expect_str_eq(
		    answer_event_text(a, "error", "code"), "draining");
		cr_expect_gt(a->text.n, 0);
		expect_text_stored(a, "interrupted");
		answer_clear(a);
	}
}

Test(processes, sighup_changes_settings_without_losing_a_reply)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_WORKERS=2"}};
	static struct client clients[CLIENTS];
	struct pids p = {.want = 2};
	struct person other;

	stack_start(&stack, &o);
	person_make(&stack, &other);
	clients_start(clients, CLIENTS, "[[events=40 gap=100]] go");
	cr_assert(wait_until(has_fresh_workers, &p, 60000));
	memcpy(p.not_these, p.pids, sizeof(p.pids));
	p.n_not = 2;
	p.want = 3;
	stack_set(&stack, "CHAT_WORKERS=3");
	kill(stack.natterd, SIGHUP);
	for (int i = 0; i < 40; i++)
		expect_works(&other);
	clients_join(clients, CLIENTS);
	for (size_t i = 0; i < CLIENTS; i++) {
		cr_expect(answer_ends_with(&clients[i].answer, "done"), "%s",
		    clients[i].answer.body.p);
		expect_text_stored(&clients[i].answer, "complete");
		answer_clear(&clients[i].answer);
	}
	cr_expect(wait_until(has_fresh_workers, &p, 60000),
	    "three new workers, no old one");
}

static bool
log_says(void *arg)
{
	char line[4096];
	bool found = false;
	FILE *f = fopen(stack.log, "r");

	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = strstr(line, arg) != NULL;
	fclose(f);
	return found;
}

/* It takes longer than what a worker has beyond its drain time (15 s). */
Test(processes, a_shorter_drain_time_does_not_cut_those_who_began_before)
{
	struct stack_options o = {
	    .has_model = true, .settings = {"CHAT_DRAIN_SECONDS=60"}};
	static struct client client;

	stack_start(&stack, &o);
	clients_start(&client, 1, "[[events=180 gap=100]] go");
	stack_set(&stack, "CHAT_DRAIN_SECONDS=0");
	kill(stack.natterd, SIGHUP);
	clients_join(&client, 1);
	cr_expect(answer_ends_with(&client.answer, "done"));
	expect_text_stored(&client.answer, "complete");
	answer_clear(&client.answer);
}

Test(processes, a_broken_configuration_is_refused_on_reload)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};
	struct pids p = {.want = 1}, after = {.want = 1};
	struct person person;

	stack_start(&stack, &o);
	cr_assert(wait_until(has_fresh_workers, &p, 60000));
	stack_set(&stack, "CHAT_WORKRES=3");
	kill(stack.natterd, SIGHUP);
	cr_expect(wait_until(log_says, "CHAT_WORKRES", 60000));
	cr_expect(has_fresh_workers(&after));
	cr_expect_eq(after.pids[0], p.pids[0], "the old worker serves on");
	person_make(&stack, &person);
	expect_works(&person);
}

Test(processes, workers_are_recycled_and_no_request_fails)
{
	struct stack_options o = {
	    .settings = {"CHAT_WORKERS=2", "CHAT_MAX_REQUESTS=40"}};
	struct pids p = {.want = 2};
	struct person person;
	struct ask ask = {.path = "/api/v1/conversations"};

	stack_start(&stack, &o);
	cr_assert(wait_until(has_fresh_workers, &p, 60000));
	memcpy(p.not_these, p.pids, sizeof(p.pids));
	p.n_not = 2;
	person_make(&stack, &person);
	ask.base = stack.base;
	ask.token = person.token;
	for (int i = 0; i < 300; i++) {
		struct answer a;

		http_ask(&ask, &a);
		cr_expect_eq(a.status, 200, "request %d: %ld", i, a.status);
		answer_clear(&a);
	}
	cr_expect(wait_until(has_fresh_workers, &p, 60000));
}

static bool
all_gone(void *arg)
{
	struct pids *p = arg;

	for (size_t i = 0; i < p->want; i++)
		if (process_runs(p->pids[i]))
			return false;
	return true;
}

/* Of a worker's threads, how many are as nice as natterd, how many nicer by 10,
 * and how many there are. */
struct nice_threads {
	int usual, back, all;
};

static struct nice_threads
threads_of(pid_t worker)
{
	int usual = getpriority(PRIO_PROCESS, (id_t)stack.natterd);
	struct nice_threads n = {0};
	char path[64];
	struct dirent *thread;
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", worker);
	threads = opendir(path);
	cr_assert_not_null(threads, "%s", path);
	while ((thread = readdir(threads)) != NULL) {
		int its;

		if (thread->d_name[0] == '.')
			continue;
		its = getpriority(PRIO_PROCESS, (id_t)atoi(thread->d_name));
		n.usual += its == usual;
		n.back += its == usual + 10;
		n.all++;
	}
	closedir(threads);
	return n;
}

/* Each worker's relay (and what it began) and bulk thread have, its front,
 * ledger, chores and search have not. */
static bool
have_stepped_back(void *arg)
{
	struct pids *p = arg;

	for (size_t i = 0; i < p->want; i++) {
		struct nice_threads n = threads_of(p->pids[i]);

		if (n.usual != 4 || n.back < 2 || n.usual + n.back != n.all)
			return false;
	}
	return true;
}

/* Or short requests would wait behind hundreds of replies' events, and behind
 * somebody's files. */
Test(processes, who_has_much_to_do_steps_back)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=2"}};
	struct pids p = {.want = 2};

	cr_assert_leq(getpriority(PRIO_PROCESS, 0), 9, "niceness ends at 19");
	stack_start(&stack, &o);
	cr_assert(wait_until(has_fresh_workers, &p, 15000));
	cr_expect(wait_until(have_stepped_back, &p, 5000));
}

Test(processes, workers_die_with_their_master)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=3"}};
	struct pids p = {.want = 3};

	stack_start(&stack, &o);
	cr_assert(wait_until(has_fresh_workers, &p, 60000));
	stack_end_natterd(&stack, SIGKILL);
	cr_expect(wait_until(all_gone, &p, 60000));
}

Test(processes, a_crash_storm_does_not_become_a_fork_storm)
{
	struct stack_options o = {.settings = {"CHAT_WORKERS=1"}};
	struct pids p = {.want = 1};
	pid_t killed = 0; /* may be seen for a while yet */
	uint64_t began;
	int deaths = 0;

	stack_start(&stack, &o);
	began = clock_mono_ms();
	while (deaths < 7) {
		if (stack_workers(&stack, p.pids, 16) == 1 &&
		    p.pids[0] != killed) {
			killed = p.pids[0];
			kill(killed, SIGKILL);
			deaths++;
		}
		pause_ms(20);
	}
	/* 0.1 s, 0.2 s, 0.4 s ... from the second on at the latest. */
	cr_expect_geq(clock_mono_ms() - began, 3000);
	cr_expect(wait_until(has_fresh_workers, &p, 15000), "it recovers");
}

/* Runs natterd by hand and returns its exit status. */
static int
run_natterd(const char *arguments, char *out, size_t size)
{
	char command[512];
	FILE *f;
	size_t n;

	snprintf(command, sizeof(command),
	    "env -u DATABASE_URL -u REDIS_URL %s %s 2>&1 </dev/null",
	    getenv("NATTERD"), arguments);
	f = popen(command, "r");
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	return WEXITSTATUS(pclose(f));
}

/* How often natterd's log says so. */
static int
count_in_log(const char *words)
{
	char line[4096];
	FILE *f = fopen(stack.log, "r");
	int n = 0;

	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, words) != NULL;
	fclose(f);
	return n;
}

static bool
both_have_said_so(void *arg)
{
	(void)arg;
	return count_in_log("life sign failed") >= 2;
}

/* They are tried twice a second. */
Test(processes, life_signs_that_fail_are_logged_once_by_each_worker)
{
	struct stack_options o = {
	    .database_url = "postgresql:///?host=/nowhere",
	    .settings = {"CHAT_WORKERS=2"},
	    .may_be_unready = true};

	stack_start(&stack, &o);
	cr_expect(wait_until(both_have_said_so, NULL, 60000));
	pause_ms(2500); /* a few more tries */
	cr_expect_eq(count_in_log("life sign failed"), 2);
}

Test(processes, a_configuration_that_cannot_work_is_78_and_one_line)
{
	static const struct {
		const char *setting;
		const char *named;
	} rows[] = {
	    {"CHAT_WORKERS=none", "CHAT_WORKERS"},
	    {"CHAT_WORKERS=0", "CHAT_WORKERS"},
	    {"CHAT_WROKERS=2", "CHAT_WORKERS"},
	    {"DATABASE_URL=", "DATABASE_URL"},
	    {"REDIS_URL=http://x", "REDIS_URL"},
	    {"JWT_KEYS_FILE=/nowhere", "/nowhere"},
	    {"CHAT_RUN_DIR=/nowhere", "CHAT_RUN_DIR"},
	    {"CHAT_RUN_DIR=/etc/passwd", "CHAT_RUN_DIR"},
	    {"OPENAI_BASE_URL=127.0.0.1:11434/v1", "OPENAI_BASE_URL"},
	    {"OPENAI_API_KEY=sk-1 # mine", "OPENAI_API_KEY"},
	    {"CHAT_MODERATION_URL=127.0.0.1/v1", "CHAT_MODERATION_URL"},
	};
	struct stack_options o = {.may_be_unready = false};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char command[512], out[1024];

		stack_start(&stack, &o);
		stack_set(&stack, rows[i].setting);
		snprintf(command, sizeof(command), "--check --config %s",
		    stack.config);
		cr_expect_eq(run_natterd(command, out, sizeof(out)), 78, "%s",
		    rows[i].setting);
		cr_expect_not_null(
		    strstr(out, rows[i].named), "%s: %s", rows[i].setting, out);
		cr_expect_eq(strchr(out, '\n'), out + strlen(out) - 1,
		    "one line: %s", out);
		stack_stop(&stack);
		stack.natterd = stack.nginx = stack.standin = 0;
	}
}

Test(processes, a_role_above_row_level_security_ends_natterd_with_78)
{
	struct stack_options o = {
	    .may_not_start = true,
	    .database_url = getenv("SUPERUSER_DATABASE_URL"),
	};
	int status = 0;

	stack_start(&stack, &o);
	for (int i = 0;
	     i < 200 && waitpid(stack.natterd, &status, WNOHANG) == 0; i++)
		pause_ms(50);
	stack.natterd = 0;
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 78, "%d", status);
	cr_expect(log_says("DATABASE_URL cannot be used"));
}

Test(processes, without_a_listening_socket_it_says_how_to_start_it)
{
	struct stack_options o = {.may_be_unready = false};
	char command[512], out[1024];

	stack_start(&stack, &o);
	snprintf(command, sizeof(command), "--config %s", stack.config);
	cr_expect_eq(run_natterd(command, out, sizeof(out)), 78);
	cr_expect_not_null(strstr(out, "spawn-fcgi"), "%s", out);
}
