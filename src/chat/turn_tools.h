/*
 * Which tools a turn offers its model: the part of beginning a turn that this
 * is. Thread: front.
 */
#ifndef CHAT_TURN_TOOLS_H
#define CHAT_TURN_TOOLS_H

#include <stddef.h>

struct config;
struct request;
struct turn;

/* How many bytes of a request Natter's own tools take; 0 where there are to be
 * none (CHAT_TOOLS). */
size_t turn_tools_bytes(const struct config *config);

/* The same where an answer is wanted once more: what changes nothing. */
void turn_tools_offer_again(const struct request *req, struct turn *t);

/* Gives the turn Natter's own tools, unless there are to be none; `question`
 * is what its user says. Without memory there are none. */
void turn_tools_offer(
    const struct request *req, struct turn *t, const char *question);

#endif
