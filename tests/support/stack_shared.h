/*
 * One stack, or a few, for all tests of a program that break nothing: starting
 * a stack takes longer than most tests. Criterion runs every test in a process
 * of its own, so the stacks go to them through the environment.
 */
#ifndef TESTS_STACK_SHARED_H
#define TESTS_STACK_SHARED_H

#include "stack.h"

/* Starts one more stack; in ReportHook(PRE_ALL). */
void stack_share(const struct stack_options *options);

/* The shared stack, in a test; of several, the nth, from 0. */
void stack_take(struct stack *s);
void stack_take_nth(struct stack *s, size_t n);

/* Stops them all; in ReportHook(POST_ALL). */
void stack_unshare(void);

#endif
