/*
 * The rolling summary of a conversation (CHAT_SUMMARY): when the next turn may
 * lack room, the older half of the messages that were told, and the summary
 * before them, become a new one. It is asked for once the reply is stored
 * (chat/afterwork.h) and kept with the last message that it covers, so that
 * every branch below that message has it and no other.
 */
#ifndef CHAT_SUMMARY_H
#define CHAT_SUMMARY_H

#include <stdbool.h>

#include "base/errors.h"

struct afterwork;
struct arena;
struct pg_call;
struct prompt;
struct request;
struct turn_context;

/* Longest summary, in tokens that are asked for, and in bytes that are kept. */
#define SUMMARY_TOKENS    600
#define SUMMARY_BYTES_MAX 8192

/* How many of these rows, the oldest of them, a summary is to cover; 0: none,
 * since too little was said since the last one. */
int summary_rows(const struct turn_context *c);

/* Hangs the work onto the turn, where it calls for it; `task` is the template
 * that asks. Without memory there is none. Thread: front. */
void summary_want(struct request *req, const struct turn_context *c,
    const struct prompt *task);

/* afterwork_row's keep. Thread: ledger. */
bool
summary_keep(struct afterwork *w, struct arena *a, struct pg_call *out_call);

#endif
