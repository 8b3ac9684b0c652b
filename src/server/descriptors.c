/*
 * The limit of descriptors, raised and compared with the settings.
 */
#include <sys/resource.h>

#include "base/config.h"
#include "base/log.h"
#include "server/descriptors.h"

/* A reply has one to nginx and one to the model; who follows it from elsewhere
 * (at most as many again) has one more. */
#define PER_REPLY 3

/* Stores, queues, the log, and connections to the model that are kept idle
 * (upstream.c, whose lanes have two each): with room to spare. */
#define OTHERS 416

void
descriptors_raise(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

void
descriptors_fit(struct config *config)
{
	rlim_t wanted = (rlim_t)config->streams_max, fit = 1;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	if (files.rlim_cur > OTHERS + PER_REPLY)
		fit = (files.rlim_cur - OTHERS) / PER_REPLY;
	if (fit >= wanted)
		return;
	log_with(LOG_WARNING,
	    "CHAT_STREAMS_MAX is cut to what the file descriptors allow",
	    LOG_NUMBER("streams", fit), LOG_NUMBER("limit", files.rlim_cur),
	    LOG_NUMBER("needed", wanted * PER_REPLY + OTHERS),
	    LOG_TEXT("remedy", "raise LimitNOFILE (ulimit -Hn)"));
	config->streams_max = (long)fit;
}
