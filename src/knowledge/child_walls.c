/*
 * Three walls, one inside the other. Must not know what the child is run for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "knowledge/child.h"
#include "knowledge/child_walls.h"

#define FILES_MAX 32 /* libraries, fonts' tables, the pipes */

/* Of others' machines Landlock and the limits alone hold. */
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

static bool
limit(int resource, rlim_t most)
{
	const struct rlimit r = {most, most};
	return setrlimit((__rlimit_resource_t)resource, &r) == 0;
}

static bool
limit_all(const struct child_ask *ask)
{
	return limit(RLIMIT_CPU, (rlim_t)ask->seconds) &&
	       limit(RLIMIT_AS, (rlim_t)ask->max_bytes) &&
	       limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0) &&
	       limit(RLIMIT_NOFILE, FILES_MAX) && limit(RLIMIT_NPROC, 0);
}

/* All that the first version of Landlock knows; what is not granted of it is
 * refused. */
#define FILES   (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE)
#define HANDLED ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

/* Lets it read a file, or what a folder holds, if that is there. */
static void
open_path(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return;
	(void)syscall(__NR_landlock_add_rule, ruleset,
	    LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
}

/* What holds secrets of ours (settings, keys, /proc) is not among these. */
static bool
wall_paths(const struct child_ask *ask)
{
	static const char *const folders[] = {
	    "/usr", "/bin", "/lib", "/lib64", "/etc/fonts"};
	const struct landlock_ruleset_attr all = {.handled_access_fs = HANDLED};
	long ruleset =
	    syscall(__NR_landlock_create_ruleset, &all, sizeof(all), 0);

	if (ruleset < 0)
		return true;
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		open_path((int)ruleset, folders[i],
		    FILES | LANDLOCK_ACCESS_FS_READ_DIR);
	open_path((int)ruleset, "/etc/ld.so.cache", FILES);
	open_path((int)ruleset, ask->argv[0], FILES);
	bool ok = syscall(__NR_landlock_restrict_self, (int)ruleset, 0) == 0;
	close((int)ruleset);
	return ok;
}

bool
child_walls_have_paths(void)
{
	return syscall(__NR_landlock_create_ruleset, NULL, 0,
		   LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

#ifdef ARCH

#define LOAD(field)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(field))
#define ARGUMENT(i)  (offsetof(struct seccomp_data, args) + 8 * (size_t)(i))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define ABSENT       RETURN(SECCOMP_RET_ERRNO | ENOSYS)
#define REFUSED      RETURN(SECCOMP_RET_ERRNO | EPERM)
#define ALLOWED      RETURN(SECCOMP_RET_ALLOW)

/* Goes on behind the next statement unless A is this. */
#define IF_IS(value) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 0, 1)
#define IF_IS_NOT(value) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 1, 0)
#define IF_HAS(bits) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), 0, 1)

#define CALL(name) IF_IS(__NR_##name), ALLOWED,

/* Allowed where this argument is that number: four more statements. */
#define CALL_WITH(name, i, number)                                        \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)__NR_##name, 0, 4), \
	    LOAD(ARGUMENT(i)), IF_IS(number), ALLOWED, REFUSED

/* Or one of these. */
#define CALL_WITH_ANY(name, i, a, b, c, d, e, f)                               \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)__NR_##name, 0, 14),     \
	    LOAD(ARGUMENT(i)), IF_IS(a), ALLOWED, IF_IS(b), ALLOWED, IF_IS(c), \
	    ALLOWED, IF_IS(d), ALLOWED, IF_IS(e), ALLOWED, IF_IS(f), ALLOWED,  \
	    REFUSED

/* Opening: to read. */
#define CHANGES ((uint32_t)(O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))
#define CALL_TO_READ(name, i)                                             \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)__NR_##name, 0, 4), \
	    LOAD(ARGUMENT(i)), IF_HAS(CHANGES), REFUSED, ALLOWED

static bool
wall_calls(void)
{
	struct sock_filter rules[] = {
	    LOAD(offsetof(struct seccomp_data, arch)),
	    IF_IS_NOT(ARCH),
	    RETURN(SECCOMP_RET_KILL_PROCESS),
	    LOAD(offsetof(struct seccomp_data, nr)),
#include "knowledge/child_calls.def"
	    /* abort, of itself */
	    CALL_WITH(tgkill, 0, getpid()),
	    CALL_WITH(prlimit64, 0, 0),
	    /* its own descriptors; is one a terminal? */
	    CALL_WITH_ANY(fcntl, 1, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD,
		F_GETFL, F_SETFL),
	    CALL_WITH(ioctl, 1, TCGETS),
	    CALL_TO_READ(openat, 2),
#ifdef __x86_64__
	    CALL_TO_READ(open, 1),
#endif
	    ABSENT,
	};
	const struct sock_fprog program = {
	    sizeof(rules) / sizeof(*rules), rules};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#else

static bool
wall_calls(void)
{
	return true;
}

#endif

bool
child_walls(const struct child_ask *ask)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && limit_all(ask) &&
	       wall_paths(ask) && wall_calls();
}
