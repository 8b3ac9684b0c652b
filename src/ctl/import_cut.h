/*
 * Documents that wait to be cut into passages, as the daemon does with one that
 * is posted.
 *
 * Thread: there is one.
 */
#ifndef CTL_IMPORT_CUT_H
#define CTL_IMPORT_CUT_H

#include "ctl/account.h"

/* Cuts every document that is pending, in the caller's transaction. */
enum ctl_exit import_cut_documents(struct account *account) MUST_CHECK;

#endif
