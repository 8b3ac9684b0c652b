/*
 * One child and its two pipes. Must not know what it is run for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "knowledge/child.h"
#include "knowledge/child_walls.h"

struct pipes {
	int in;     /* the sealed file */
	int out[2]; /* read, write */
	int complaint[2];
};

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
close_all(struct pipes *p)
{
	close_fd(&p->in);
	for (int i = 0; i < 2; i++) {
		close_fd(&p->out[i]);
		close_fd(&p->complaint[i]);
	}
}

/* The bytes as a file that nobody can change. */
static int
seal(const char *p, size_t n)
{
	int fd = memfd_create("document", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	while (fd >= 0 && done < n) {
		ssize_t wrote = write(fd, p + done, n - done);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			close_fd(&fd);
		else
			done += (size_t)wrote;
	}
	if (fd >= 0 && (lseek(fd, 0, SEEK_SET) != 0 ||
			   fcntl(fd, F_ADD_SEALS,
			       F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK |
				   F_SEAL_SEAL) != 0))
		close_fd(&fd);
	return fd;
}

static bool
open_pipes(const struct child_ask *ask, struct pipes *p)
{
	*p = (struct pipes){-1, {-1, -1}, {-1, -1}};
	p->in = seal(ask->in, ask->n);
	if (p->in >= 0 && pipe2(p->out, O_CLOEXEC) == 0 &&
	    pipe2(p->complaint, O_CLOEXEC) == 0)
		return true;
	close_all(p);
	return false;
}

/* In the child. Async-signal-safe calls alone. */
_Noreturn static void
become(const struct child_ask *ask, const struct pipes *p, pid_t parent)
{
	static char *const environment[] = {
	    (char *)(uintptr_t) "LC_ALL=C.UTF-8", NULL};
	sigset_t none;
	bool is_ready;

	sigemptyset(&none);
	is_ready =
	    prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
	    setpgid(0, 0) == 0 && dup2(p->in, STDIN_FILENO) >= 0 &&
	    dup2(p->out[1], STDOUT_FILENO) >= 0 &&
	    dup2(p->complaint[1], STDERR_FILENO) >= 0 &&
	    syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0 &&
	    chdir("/") == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0 &&
	    child_walls(ask);
	if (is_ready)
		execve(ask->argv[0], (char *const *)(uintptr_t)ask->argv,
		    environment);
	_exit(CHILD_UNSTARTED);
}

/* Takes what a pipe has. At its end the descriptor is closed. */
static void
take(int *fd, struct buf *to, size_t most, bool *out_is_over)
{
	char piece[16384];
	ssize_t n = read(*fd, piece, sizeof(piece));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close_fd(fd);
		return;
	}
	size_t room = most - to->n;
	*out_is_over = *out_is_over || (size_t)n > room;
	buf_add(to, piece, (size_t)n < room ? (size_t)n : room);
}

/* Reads both pipes until they end, or one of the limits is reached. */
static void
listen_to(const struct child_ask *ask, struct pipes *p, struct child_end *end)
{
	uint64_t end_ms = clock_mono_ms() + (uint64_t)ask->seconds * 1000;
	bool ignored = false;

	while (p->out[0] >= 0 || p->complaint[0] >= 0) {
		uint64_t now = clock_mono_ms();
		struct pollfd fds[] = {
		    {.fd = p->out[0], .events = POLLIN},
		    {.fd = p->complaint[0], .events = POLLIN},
		};
		end->is_late = now >= end_ms;
		if (end->is_late || end->is_too_large || end->out.failed)
			return;
		if (poll(fds, 2, (int)(end_ms - now)) <= 0)
			continue;
		if (fds[0].revents != 0)
			take(&p->out[0], &end->out, ask->max_out,
			    &end->is_too_large);
		if (fds[1].revents != 0)
			take(&p->complaint[0], &end->complaint,
			    CHILD_COMPLAINT_MAX, &ignored);
	}
}

/* Whatever it still does ends here. */
static void
reap(pid_t pid, struct child_end *end)
{
	int status = 0;

	kill(-pid, SIGKILL);
	kill(pid, SIGKILL); /* before it made its group */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	end->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
		end->is_late = true;
}

/* It has closed its pipes: waits for its end, but not for ever. */
static void
wait_for_end(pid_t pid, const struct child_ask *ask)
{
	uint64_t end_ms = clock_mono_ms() + (uint64_t)ask->seconds * 1000;
	siginfo_t info;

	do {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)pid, &info,
			WEXITED | WNOWAIT | WNOHANG) != 0 ||
		    info.si_pid == pid)
			return;
		clock_sleep_ms(1);
	} while (clock_mono_ms() < end_ms);
}

enum err
child_run(const struct child_ask *ask, struct child_end *out_end)
{
	struct pipes p;
	pid_t parent = getpid(), pid;

	*out_end = (struct child_end){.exit_code = -1};
	if (!open_pipes(ask, &p))
		return ERR_BUSY;
	pid = fork();
	if (pid == 0)
		become(ask, &p, parent);
	close_fd(&p.in);
	close_fd(&p.out[1]);
	close_fd(&p.complaint[1]);
	if (pid > 0) {
		listen_to(ask, &p, out_end);
		if (!out_end->is_late && !out_end->is_too_large)
			wait_for_end(pid, ask);
		reap(pid, out_end);
	}
	close_all(&p);
	return pid > 0 && !out_end->out.failed ? OK : ERR_BUSY;
}

void
child_end_free(struct child_end *end)
{
	buf_free(&end->out);
	buf_free(&end->complaint);
}
