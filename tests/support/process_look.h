/*
 * What a process holds, looked up in /proc: to see that it does not grow.
 */
#ifndef TESTS_PROCESS_LOOK_H
#define TESTS_PROCESS_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* libcurl keeps idle connections to the model, up to a bound of its own:
 * TCP sockets to the model's port are counted apart. */
struct descriptors {
	size_t own, model;
	size_t requests; /* of its own: connections taken at its socket */
};

/* False when only root may look (the process writes no core files). */
bool process_descriptors(pid_t pid, unsigned model_port, const char *socket,
    struct descriptors *out);

/* Resident memory; 0 when it is gone. */
long process_resident_kib(pid_t pid);

#endif
