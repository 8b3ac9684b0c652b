/*
 * The one way an object changes threads: a bounded queue of pointers with an
 * eventfd that is readable while something waits. Pushing gives the object
 * away; the giver must not touch it afterwards.
 *
 * Thread: any number of pushers, one popper.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue;

/* A queue of at most `max` objects; NULL without memory or descriptors. */
struct queue *queue_new(size_t max);

/* Frees the queue, not the objects in it. NULL is fine. */
void queue_free(struct queue *q);

/* Gives `item` (not NULL) away; false when the queue is full or closed. */
bool queue_push(struct queue *q, void *item);

/* Takes the oldest item, or NULL when there is none now. */
void *queue_pop(struct queue *q);

/*
 * Takes the oldest item, waiting up to `timeout_ms` (-1 = for ever); NULL on
 * time-out or when the queue is closed and empty.
 */
void *queue_wait(struct queue *q, int timeout_ms);

/* Ends the queue_wait of now, or the next one, as if its time were up. */
void queue_wake(struct queue *q);

/* No more pushes; a waiting popper wakes. */
void queue_close(struct queue *q);

/* Was queue_close called? Items may still wait. */
bool queue_is_closed(struct queue *q);

/* How many wait now. */
size_t queue_length(struct queue *q);

/* The eventfd: readable while something waits. queue_pop clears it. */
int queue_fd(const struct queue *q);

#endif
