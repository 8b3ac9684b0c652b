/*
 * What names a task in a command: "the milk task", "task 2", "it", "the second
 * one".
 *
 * Pure. Thread: any.
 */
#ifndef TASK_TARGET_H
#define TASK_TARGET_H

#include <stdbool.h>
#include <stddef.h>

struct words;

/* A target without its articles, and what it says besides words. */
struct target {
	size_t from, to;
	bool is_named; /* says "task", or is a number or a quote */
	bool is_plain; /* that, or "it" */
	bool is_deed;  /* that, or begins as tasks do: "buy milk" */
	bool is_any;   /* "a task": none that there is */
	int number;
};

/* Reads the words [from, to). */
struct target target_read(const struct words *w, size_t from, size_t to);

/* "all my tasks", "tasks 1 and 3": are they many? */
bool target_names_many(const struct words *w, size_t from, size_t to);

#endif
