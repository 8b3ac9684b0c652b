/*
 * Work that goes to another thread and comes back answered: a queue there, a
 * queue back, and how many are under way. An item changes hands with each call
 * that gives it; what is asked always finds its place among the answers.
 *
 * Some work only goes there: it is told, not asked. `more` places are kept for
 * it beside those of questions, and it may take those as well.
 *
 * Thread: queue_pair_ask, _take and _fd the asker's; _next, _answer and _waits
 * the answerer's; _tell both; _new and _free before and after both.
 */
#ifndef BASE_QUEUE_PAIR_H
#define BASE_QUEUE_PAIR_H

#include <stdbool.h>
#include <stddef.h>

struct queue_pair;

/* At most `max` questions and answers at a time; `free_item` is for what is in
 * the queues at the end. NULL without memory or descriptors. */
struct queue_pair *
queue_pair_new(size_t max, size_t more, void (*free_item)(void *));

/* Frees what nobody took, too. NULL is fine. */
void queue_pair_free(struct queue_pair *pair);

/* Asks; the answerer is to be woken. False, and the item is still the caller's:
 * `max` are under way, or as many wait, what was told included. */
bool queue_pair_ask(struct queue_pair *pair, void *item);

/* Tells: it does not come back. False, and the item is still the caller's: all
 * places are taken. The answerer may tell what it was told and cannot do now:
 * it waits again, behind the others. */
bool queue_pair_tell(struct queue_pair *pair, void *item);

/* The oldest answer, or NULL when there is none now. The descriptor is readable
 * while there is one. */
void *queue_pair_take(struct queue_pair *pair);
int queue_pair_fd(const struct queue_pair *pair);

/* The oldest of what was asked and told, or NULL. */
void *queue_pair_next(struct queue_pair *pair);

/* Gives what was asked back. */
void queue_pair_answer(struct queue_pair *pair, void *item);

/* Is there anything to be done? */
bool queue_pair_waits(const struct queue_pair *pair);

#endif
