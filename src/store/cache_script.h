/*
 * The scripts of the caches: store/cache.c calls them, store/cache.h says what
 * lies under which key. Not for anybody else.
 */
#ifndef STORE_CACHE_SCRIPT_H
#define STORE_CACHE_SCRIPT_H

#include "store/redis.h"

/* What look scripts answer, as a number; text comes with two of them. */
enum cache_answer {
	ANSWER_BUSY,  /* a write goes on, or Redis takes no writes */
	ANSWER_HIT,   /* and the value, its stamp before it */
	ANSWER_BUILD, /* and the stamp */
	ANSWER_WAIT,  /* somebody else builds */
};

/* Keys: epoch, ver, value, lock. Arguments: variant, token, lock ms, a new id
 */
extern struct redis_script cache_script_look;

/* Keys: epoch, ver, value, lock, held. Arguments: stamp, variant, token, ttl
 * ms, value or "". 1: kept */
extern struct redis_script cache_script_keep;

/* Arguments: token, ms, a new id, is it a deletion, users */
extern const char cache_script_begin[];
extern const char cache_script_end[];

/* Keys: epoch, ver, value, lock. Arguments: user, a new id, token, lock ms */
extern struct redis_script cache_script_answer_look;

/* Keys: epoch, ver, value. Arguments: user, a new id */
extern struct redis_script cache_script_context_look;

/* Keys: epoch, ver, value, kept, lock. Arguments: stamp, ttl ms, value or "",
 * token. Tells who listens to the value's key. 1: kept */
extern struct redis_script cache_script_answer_keep;

/* Keys: lock. Arguments: token, lock ms */
extern const char cache_script_answer_renew[];

/* Keys: epoch, seen. Arguments: state, a new id, end all values whatever */
extern struct redis_script cache_script_tell;

#endif
