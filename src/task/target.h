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
	bool is_plain;
	int number;
};

/* Reads the words [from, to). */
struct target target_read(const struct words *w, size_t from, size_t to);

/* "all my tasks": are they many that begin at `from`? */
bool target_names_many(const struct words *w, size_t from);

#endif
