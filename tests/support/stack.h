/*
 * A whole Natter for one test: its own spawn-fcgi'ed natterd, its own nginx
 * with the shipped snippet and, where wanted, its own stand-in model, on the
 * Postgres and Redis that the environment names (scripts/demo --env). A test
 * sets what it needs and breaks what it likes; nobody else notices.
 *
 * Environment: DATABASE_URL, SUPERUSER_DATABASE_URL, REDIS_URL, NATTERD,
 * NATTER_SRCDIR (where nginx/ is), NATTER_KEYS_FILE, MODEL_STANDIN. Failures
 * to start abort with a sentence.
 */
#ifndef TESTS_STACK_H
#define TESTS_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <libpq-fe.h>

#include "http_client.h"

struct stack_options {
	const char *settings[16]; /* "CHAT_WORKERS=1", over the defaults */
	bool has_model;           /* start a stand-in model and use it */
	bool is_on_socket;        /* it is asked on a Unix socket */
	bool has_moderation;      /* it moderates, too */
	bool has_second;          /* and a second one, as CHAT_SECOND_… */
	const char *database_url; /* instead of DATABASE_URL */
	const char *redis_url;    /* instead of REDIS_URL */
	const char *site;         /* further lines of nginx's server {} */
	const char *http;         /* and of its http {} */
	const char *clock;        /* natterd's clock is off: "+300" seconds */
	bool may_be_unready;      /* wait for /livez only */
	bool may_not_start;       /* do not wait at all */
};

struct stack {
	char dir[64];
	char base[64];   /* http://127.0.0.1:PORT */
	char model[64];  /* http://127.0.0.1:PORT of the stand-in */
	char second[64]; /* the same of the second one */
	char socket[96]; /* natterd's */
	char log[96];    /* natterd's stderr */
	char config[96]; /* natterd's settings file */
	int port;
	int port_fd;   /* keeps the port ours until nginx has it */
	pid_t natterd; /* the master */
	pid_t nginx;
	pid_t standin;
	pid_t second_standin;
};

/* Starts it; stack_stop stops it, checks that natterd exited 0 when `clean`. */
void stack_start(struct stack *s, const struct stack_options *options);
void stack_stop(struct stack *s);

/* Writes "KEY=value" into natterd's settings file in place of KEY's line. */
void stack_set(const struct stack *s, const char *setting);

/* Stops natterd by `signal` and returns its wait status; 0 in s->natterd. */
int stack_end_natterd(struct stack *s, int signal);

/* Ends the stand-in model, and starts it again at the same address. */
void stack_model_end(struct stack *s);
void stack_model_again(struct stack *s);

/* Opens the next gate of the stand-in model's replies (see standin.def). */
void stack_model_open(const struct stack *s);

/* The same as an ask's on_event, its arg the stack: a reply with gate=1 is told
 * piece by piece, each an event of its own, however busy the machine is. */
void stack_model_step(void *stack, int n);

/* One of the stand-in model's counters (STANDIN_COUNTERS), and of another one
 * by its address, such as s->second. */
long stack_model_count(const struct stack *s, const char *name);
long standin_count(const char *base, const char *name);

/* Has natterd read all that the stand-in model has said so far? (A condition
 * for wait_until; its arg is the stack.) */
bool stack_model_is_heard(void *stack);

/* Sets the counters to 0, and with them shuts the gates. */
void stack_model_reset(const struct stack *s);
void standin_reset(const char *base);

/* The pids of natterd's workers, read from /proc; returns how many. */
size_t stack_workers(const struct stack *s, pid_t *pids, size_t max);

/* A port of loopback that nobody listens at. */
int stack_free_port(void);

/* Does the process run (not gone, not a zombie)? */
bool process_runs(pid_t pid);

/* Waits up to `ms` until `is_so(arg)`; returns whether it came to be. */
bool wait_until(bool (*is_so)(void *arg), void *arg, int ms);

/* The same for a number that others count up. */
bool wait_for_count(const _Atomic int *n, int at_least, int ms);

/* A user of this stack, made through the API, with one conversation. */
struct person {
	char username[64];
	char token[2048];
	char refresh[256];
	char user_id[40];
	char conversation[40];
};

/* Registers a new user (CHAT_REGISTRATION=open) and starts a conversation. */
void person_make(const struct stack *s, struct person *p);

/* Makes one more conversation for the person; writes its id. */
void
person_converse(const struct stack *s, const struct person *p, char out_id[40]);

/* Posts `content` to the person's conversation as a stream. */
void person_say(const struct stack *s, const struct person *p,
    const char *content, struct answer *a);

/* The one value of a query as superuser, "" for none; `param` may be NULL. */
void db_value(const char *sql, const char *param, char *out, size_t size);

/* The same as bytes, for long text; the caller frees. */
char *db_text(const char *sql, const char *param);

#endif
