/*
 * One stack for all tests of a program that break nothing: starting a stack
 * takes longer than most tests. Criterion runs every test in a process of its
 * own, so the stack goes to them through the environment.
 */
#ifndef TESTS_STACK_SHARED_H
#define TESTS_STACK_SHARED_H

#include "stack.h"

/* Starts the stack; in ReportHook(PRE_ALL). */
void stack_share(const struct stack_options *options);

/* The shared stack, in a test. */
void stack_take(struct stack *s);

/* Stops it; in ReportHook(POST_ALL). */
void stack_unshare(void);

#endif
