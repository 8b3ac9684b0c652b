/*
 * What a child of child.c may do, and nothing else: read what the system's
 * folders hold, its own descriptors, its own memory. Limits, then a Landlock
 * ruleset where the kernel has that (5.13 and later), then a list of the system
 * calls that there are for it. All of it holds for whatever it becomes.
 *
 * Thread: a child between fork and execve; async-signal-safe.
 */
#ifndef KNOWLEDGE_CHILD_WALLS_H
#define KNOWLEDGE_CHILD_WALLS_H

#include <stdbool.h>

struct child_ask;

/* False: it must not go on. */
bool child_walls(const struct child_ask *ask);

/* Does this kernel keep a child out of files that it must not read? */
bool child_walls_have_paths(void);

#endif
