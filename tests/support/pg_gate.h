/*
 * A gate in front of a Postgres: connections go through it as through a wire,
 * until it is shut; then what Postgres says is kept back, and what it is told
 * still reaches it. So a test can hold the moment between a commit and its
 * answer for as long as it likes.
 *
 * A thread of the calling process carries the bytes. Thread: the test's own.
 */
#ifndef TESTS_SUPPORT_PG_GATE_H
#define TESTS_SUPPORT_PG_GATE_H

struct pg_gate;

/* Opens the gate to the server whose Unix socket is in `folder`. */
struct pg_gate *pg_gate_open(const char *folder);

/* The folder of the gate's own socket, for a URL's host. */
const char *pg_gate_folder(const struct pg_gate *g);

/* Keeps back what Postgres says from now on; lets it through again. */
void pg_gate_shut(struct pg_gate *g);
void pg_gate_let(struct pg_gate *g);

/* Cuts everything and frees. */
void pg_gate_close(struct pg_gate *g);

#endif
