/*
 * A ring of pointers under one mutex, with a condition for a popper that
 * sleeps in queue_wait and an eventfd for one that sleeps in a loop. Knows
 * nothing of what it carries.
 *
 * The eventfd is written when the queue stops being empty and read when it
 * becomes so, both under the mutex: it costs two system calls per burst, not
 * per item.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/queue.h"

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	int fd;
	size_t max;
	size_t n;
	size_t first;
	bool is_closed;
	bool is_woken;     /* queue_wake was called since the last wait */
	bool is_signalled; /* the eventfd is readable */
	void *items[];
};

static void
signal_fd(struct queue *q)
{
	if (q->is_signalled)
		return;
	ssize_t n;
	do
		n = write(q->fd, &(uint64_t){1}, sizeof(uint64_t));
	while (n < 0 && errno == EINTR);
	assert(n == sizeof(uint64_t));
	q->is_signalled = true;
}

static void
clear_fd(struct queue *q)
{
	if (!q->is_signalled)
		return;
	uint64_t count;
	ssize_t n;
	do
		n = read(q->fd, &count, sizeof(count));
	while (n < 0 && errno == EINTR);
	assert(n == sizeof(count));
	q->is_signalled = false;
}

static void *
take(struct queue *q)
{
	void *item = NULL;
	if (q->n) {
		item = q->items[q->first];
		q->items[q->first] = NULL;
		q->first = q->first + 1 == q->max ? 0 : q->first + 1;
		q->n--;
	}
	if (q->n == 0)
		clear_fd(q);
	return item;
}

static struct timespec
deadline(int timeout_ms)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += timeout_ms / 1000;
	ts.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	return ts;
}

static bool
init_sync(struct queue *q)
{
	pthread_condattr_t attr;
	if (pthread_condattr_init(&attr) != 0)
		return false;
	bool is_ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
		     pthread_cond_init(&q->filled, &attr) == 0;
	(void)pthread_condattr_destroy(&attr);
	if (!is_ok)
		return false;
	if (pthread_mutex_init(&q->lock, NULL) != 0) {
		(void)pthread_cond_destroy(&q->filled);
		return false;
	}
	return true;
}

struct queue *
queue_new(size_t max)
{
	size_t size;
	assert(max > 0);
	if (__builtin_mul_overflow(max, sizeof(void *), &size) ||
	    __builtin_add_overflow(size, sizeof(struct queue), &size))
		return NULL;
	struct queue *q = calloc(1, size);
	if (!q)
		return NULL;
	q->max = max;
	q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->fd < 0) {
		free(q);
		return NULL;
	}
	if (!init_sync(q)) {
		(void)close(q->fd);
		free(q);
		return NULL;
	}
	return q;
}

void
queue_free(struct queue *q)
{
	if (!q)
		return;
	(void)pthread_mutex_destroy(&q->lock);
	(void)pthread_cond_destroy(&q->filled);
	(void)close(q->fd);
	free(q);
}

bool
queue_push(struct queue *q, void *item)
{
	assert(item);
	pthread_mutex_lock(&q->lock);
	bool fits = !q->is_closed && q->n < q->max;
	if (fits) {
		size_t room_to_end = q->max - q->first;
		size_t at =
		    q->n < room_to_end ? q->first + q->n : q->n - room_to_end;
		q->items[at] = item;
		q->n++;
		signal_fd(q);
		pthread_cond_signal(&q->filled);
	}
	pthread_mutex_unlock(&q->lock);
	return fits;
}

void *
queue_pop(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	void *item = take(q);
	pthread_mutex_unlock(&q->lock);
	return item;
}

void *
queue_wait(struct queue *q, int timeout_ms)
{
	struct timespec until = deadline(timeout_ms < 0 ? 0 : timeout_ms);
	int rc = 0;
	pthread_mutex_lock(&q->lock);
	while (q->n == 0 && !q->is_closed && !q->is_woken && rc == 0) {
		rc = timeout_ms < 0
			 ? pthread_cond_wait(&q->filled, &q->lock)
			 : pthread_cond_timedwait(&q->filled, &q->lock, &until);
	}
	q->is_woken = false;
	void *item = take(q);
	pthread_mutex_unlock(&q->lock);
	return item;
}

void
queue_wake(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->is_woken = true;
	pthread_cond_signal(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

void
queue_close(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->is_closed = true;
	signal_fd(q);
	pthread_cond_broadcast(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

bool
queue_is_closed(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	bool is_closed = q->is_closed;
	pthread_mutex_unlock(&q->lock);
	return is_closed;
}

size_t
queue_length(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	size_t n = q->n;
	pthread_mutex_unlock(&q->lock);
	return n;
}

int
queue_fd(const struct queue *q)
{
	return q->fd;
}
