/*
 * Readers: clients that follow a reply which somebody else began, or they
 * themselves before their connection broke. The reply may be written by any
 * worker of any host, or have ended. A reader reads the reply's log in Redis
 * (reply_log.h) from its position on, piece by piece as its client takes it,
 * and again whenever the log's channel hints that there is more.
 *
 * Where the log says nothing (not yet, not any more, or Redis is away) it asks
 * Postgres what is stored, through the ledger (look.h), and again every few
 * seconds: so each reader comes to an end, whatever died meanwhile.
 *
 * Thread: relay.
 */
#ifndef SERVER_READER_H
#define SERVER_READER_H

#include "chat/follow.h"
#include "http/request.h"
#include "server/client.h"
#include "server/last_word.h"
#include "server/relay_priv.h"
#include "server/reply_log.h"

/* When nothing comes from the log Postgres is asked this often, in ms. */
#define READER_LOOK_MS 3000

enum reader_state {
	READER_FOLLOWING, /* the log */
	READER_TELLING,   /* what Postgres gave, in pieces */
	READER_OVER,      /* everything is said; waiting for handles */
};

struct reader {
	struct relay *relay;
	struct reader *prev, *next;

	struct follow *follow; /* owned */
	const char *method;
	const struct route *route;
	char *origin; /* as a stream's */
	char *limits;
	struct phases phases; /* of the front */

	struct client client;
	uv_timer_t timer;

	struct reply_position at; /* how far the client has come */
	size_t read_count;        /* entries of the next, or this, XRANGE */
	struct look *look;        /* the answer being told, owned */
	uint64_t next_look_ms;
	uint64_t last_sent_ms; /* for the heartbeat */
	size_t waiting;        /* in the client's buffer, when last looked */
	uint64_t told;         /* bytes of text, for the log line */

	enum reader_state state;
	int handles;     /* libuv's not closed yet, and a look that is away */
	int status;      /* HTTP status told */
	enum err error;  /* how it ended, for the log line */
	bool is_reading; /* an XRANGE is on its way */
	bool is_due;     /* and was overtaken by a hint */
	bool is_looking; /* a look is with the ledger */
	bool has_head;   /* the head was sent */
	char key[REPLY_LOG_KEY]; /* of the log, and its channel */
};

/* reader_stored.c: prepares the relay for readers; false: it cannot. */
bool readers_open(struct relay *r);

/* Begins a reader. Takes the handoff over in any case. */
void reader_begin(struct relay *r, const struct handoff *h);

/*
 * Ends one, or all of them, with an error event that says by `resumable` that
 * it is about this stream alone: the reply can be followed again.
 */
void reader_end(struct reader *x, enum err error);
void readers_end(struct relay *r, enum err error);

/* Cuts those that have been told everything and do not take it in time. */
void readers_cut_late(struct relay *r, uint64_t max_ms);

/* What reader_log.c and reader_stored.c share with reader.c. */
uint64_t reader_now_ms(const struct reader *x);
void reader_arm(struct reader *x);    /* the timer, after anything was done */
void reader_let_go(struct reader *x); /* of one handle; x may be gone then */
void reader_end_with(struct reader *x, const struct reply_event *last);
void reader_end_failed(struct reader *x, enum err error); /* as the reply */

/* reader_log.c: asks for the next entries, unless the client has to read
 * first; what channels call. */
void reader_read_on(struct reader *x);
void reader_hinted(void *arg, const char *payload);

/* reader_log.c: asks the reply's writer, wherever it is, for hints. */
void reader_say_followed(struct reader *x);

/* reader_stored.c: asks Postgres; tells as much of its answer as the client
 * takes now; says that what follows begins at the text's beginning. */
void reader_look(struct reader *x);
void reader_tell(struct reader *x);
void reader_begin_again(struct reader *x);

/* reader_say.c: what the client sees. Nothing of it ends the reader. */
void reader_say_start(struct reader *x);
void reader_say(struct reader *x, struct buf *events);
void reader_say_heartbeat(struct reader *x);

/* The last word: `done` or `error` with this data, JSON. */
void reader_say_end(struct reader *x, const struct reply_event *end);
void reader_say_error(struct reader *x, const struct last_problem *problem);

#endif
