/*
 * Reads /proc/PID/fd, /proc/PID/statm, /proc/net/tcp and /proc/net/unix.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "process_look.h"

/* Is this inode a TCP socket to the port? */
static bool
goes_to(unsigned long inode, unsigned port)
{
	char line[512];
	unsigned long at;
	unsigned to;
	bool found = false;
	FILE *f = fopen("/proc/net/tcp", "r");

	while (!found && f != NULL && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line,
			    " %*d: %*x:%*x %*x:%x %*x %*x:%*x %*x:%*x %*x %*u "
			    "%*u %lu",
			    &to, &at) == 2 &&
			at == inode && to == port;
	if (f != NULL)
		fclose(f);
	return found;
}

/* Is this inode a connection that was taken at the Unix socket? */
static bool
came_by(unsigned long inode, const char *path)
{
	char line[512], name[128];
	unsigned long at;
	unsigned state;
	bool found = false;
	FILE *f = fopen("/proc/net/unix", "r");

	/* A socket that listens has its path, too, but is in state 1. */
	while (!found && f != NULL && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "%*s %*s %*s %*s %*s %x %lu %127s", &state,
			    &at, name) == 3 &&
			at == inode && state == 3 && strcmp(name, path) == 0;
	if (f != NULL)
		fclose(f);
	return found;
}

bool
process_descriptors(
    pid_t pid, unsigned model_port, const char *socket, struct descriptors *out)
{
	char path[64], target[128];
	struct descriptors found = {0};
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return false;
	while ((e = readdir(dir)) != NULL) {
		ssize_t n = readlinkat(
		    dirfd(dir), e->d_name, target, sizeof(target) - 1);
		unsigned long inode = 0;

		if (n < 0)
			continue;
		target[n] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) == 1 &&
		    goes_to(inode, model_port)) {
			found.model++;
			continue;
		}
		found.own++;
		found.requests += came_by(inode, socket);
	}
	closedir(dir);
	*out = found;
	return true;
}

long
process_resident_kib(pid_t pid)
{
	char path[64];
	long pages = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "r");
	if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f != NULL)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}
