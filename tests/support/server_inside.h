/*
 * What the files of the test servers share; tests include servers.h.
 *
 *   servers.c         starting, stopping, remembering what runs
 *   server_kinds.c    what tells Postgres from Redis
 *   server_kept.c     data folders that are made once and copied
 *   server_process.c  folders and child processes
 */
#ifndef TESTS_SUPPORT_SERVER_INSIDE_H
#define TESTS_SUPPORT_SERVER_INSIDE_H

#include "servers.h"

struct server_kind {
	const char *name;
	bool (*prepare)(struct server *s);
	void (*exec)(struct server *s);
	bool (*is_ready)(struct server *s);
	int death_signal; /* leaves no shared memory behind */
};

extern const struct server_kind server_kind_postgres;
extern const struct server_kind server_kind_redis;

/* Says on stderr what went wrong. */
void server_complain(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* Makes s->folder and holds its lock. */
bool server_make_folder(struct server *s);

/* Removes s->folder and lets the lock go. */
void server_remove_folder(struct server *s);

/* Removes the folders of tests that died without doing so. */
void server_sweep(void);

/*
 * Fills s->folder/data: by `make`, or with a copy of what `make` made there for
 * somebody else who asked for the same name.
 */
bool
server_fill(struct server *s, const char *name, bool (*make)(struct server *s));

/* Runs `body` in a child that writes to s->folder/log; -1 on failure. */
pid_t server_spawn(struct server *s, void (*body)(struct server *));

/* The same, waiting for it to end; true when it exited with 0. */
bool server_run(struct server *s, void (*body)(struct server *));

/* In a child: becomes a program, with `fixed` and then the test's options. */
void
server_exec(const struct server *s, const char *path, const char *const *fixed);

/* Copies the server's log to stderr. */
void server_show_log(const struct server *s);

#endif
