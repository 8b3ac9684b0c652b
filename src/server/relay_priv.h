/*
 * What the files of the relay and of its streams share. Thread: relay.
 */
#ifndef SERVER_RELAY_PRIV_H
#define SERVER_RELAY_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/id.h"
#include "chat/turn.h"
#include "model/breaker.h"
#include "model/mask.h"
#include "model/model.h"
#include "server/client.h"
#include "server/relay.h"
#include "server/stream_prepare.h"
#include "server/upstream.h"

struct afterworks;
struct checkpoints;
struct embed;
struct embedder;
struct errand;
struct queue;
struct queue_pair;
struct reader;
struct relay_redis;
struct reply_event;
struct site_call;
struct tool_batch;
struct tool_use;

struct relay {
	const struct config *config;
	struct ledger *ledger;
	struct upstream *upstream;
	struct relay_redis *redis; /* NULL once everything is over */
	/* What readers ask: their long answers hold up no append. */
	struct relay_redis *reading;
	uv_loop_t loop;
	struct queue *inbox;   /* struct handoff: new replies */
	struct queue *stored;  /* struct turn: back from the ledger */
	struct queue *rolls;   /* struct roll: back from the ledger */
	struct queue *cancels; /* struct cancels: from the ledger */
	uv_poll_t inbox_poll;
	uv_poll_t stored_poll;
	uv_poll_t rolls_poll;
	uv_poll_t cancels_poll;
	uv_async_t wake;      /* relay_drain was called */
	uv_prepare_t prepare; /* flushes dirty streams before the loop waits */
	uv_timer_t flush_timer; /* wakes the loop for coalesced text */
	uv_timer_t drain_timer;
	uv_timer_t late_timer;  /* looks for clients that do not take the end */
	uv_timer_t roll_timer;  /* asks whose sessions have ended */
	bool is_asking;         /* a roll is with the ledger */
	struct stream *streams; /* all, doubly linked */
	struct stream *dirty;   /* those with something to flush */
	size_t n_streams;
	struct reader *readers; /* all, doubly linked */
	size_t n_readers;
	struct afterworks *afterworks; /* afterwork.c's */
	struct embedder *embedder;     /* embedder.c's; NULL: it is off */
	struct queue *tooled; /* struct tool_batch: back from the ledger */
	uv_poll_t tooled_poll;
	struct queue_pair *looks; /* what readers ask the ledger */
	uv_poll_t looks_poll;

	struct errand *errands; /* all, doubly linked */

	/* relay_log.c: streams whose log is not whole, and logs whose reply
	 * ended meanwhile. */
	struct stream *lost, *lost_last;
	size_t n_rebuilding;     /* scripts in flight */
	char (*graves)[ID_TEXT]; /* messages; room for GRAVES_MAX, or NULL */
	size_t n_graves;
	uv_timer_t log_timer;
	/* relay_checkpoint.c */
	struct queue *kept; /* struct checkpoints: back from the ledger */
	uv_poll_t kept_poll;
	bool is_keeping; /* some are with the ledger */

	uint64_t complained_ms[MODEL_PLACES]; /* that our key is refused */
	bool is_draining;
	bool is_closing;
	bool is_past_errands; /* no more begin */
	_Atomic size_t count; /* streams, inbox included */
	_Atomic size_t count_readers;
	_Atomic uint64_t drain_ms;
	_Atomic bool wants_drain;
	_Atomic bool has_ended;
};

enum stream_state {
	STREAM_PREPARING, /* no model has been asked: stream_prepare.h */
	STREAM_ASKING,    /* a request is with the model */
	STREAM_CHECKING,  /* the finished reply is: stream_moderate.c */
	STREAM_WAITING,   /* pausing before the next try, or is_listening */
	STREAM_TOOLING,   /* tools are at work for the model */
	STREAM_LEAVING,   /* its end is decided; tools are with the ledger */
	STREAM_STORING,   /* the turn is with the ledger: hands off it */
	STREAM_ENDING,    /* it is back: the last word is on its way */
	STREAM_OVER,      /* everything is said; waiting for handles to close */
};

/* What came of a try before its first token; metrics.def has the same order. */
enum try_kind {
	TRY_UNREACHED,     /* no connection, or it broke */
	TRY_TIMEOUT,       /* no token in time */
	TRY_BUSY,          /* 408, 409, 429 */
	TRY_SERVER_ERROR,  /* 5xx */
	TRY_KEY_REFUSED,   /* 401, 402 */
	TRY_FORBIDDEN,     /* 403: this model, or the key */
	TRY_UNKNOWN_MODEL, /* 404 */
	TRY_TOO_LONG,      /* for this model's context */
	TRY_REFUSED,       /* any other status */
	TRY_CUT,           /* the answer broke off */
	TRY_GARBLED,       /* an error inside the answer, or none in it */
	TRY_STOPPED,       /* the reply was ended from outside */
	TRY_ANSWERED,
};

/* A try that failed. `why` is for the log. */
struct try_failure {
	enum try_kind kind;
	long retry_after_s; /* the server's; 0: none */
	enum err error;     /* what the client is told if nobody answers */
	char why[256];
};

/* Whom a reply has asked, and whom it asks next. */
struct plan {
	struct breaker_pass pass; /* of the model that is asked */
	size_t next;              /* the stand-in to look at next */
	int tries;                /* of the model that is asked */
	bool is_open;             /* a try is under way, no token came */
	struct buf tried;         /* models given up, for the log */
};

enum log_state {
	LOG_NONE,   /* there is none: an instant reply, or given up */
	LOG_WHOLE,  /* every event goes there before the client has it */
	LOG_LOST,   /* the reply goes on without, until Redis is back */
	LOG_SEALED, /* somebody else has ended the reply */
};

/* What an event is about. */
enum log_step {
	STEP_NONE,
	STEP_START,
	STEP_TEXT,
	STEP_EVENT, /* what is said besides the text */
	STEP_END,
};

/* A stream's part in stream_log.c. */
struct stream_log {
	size_t asked;     /* bytes of text that have been made events */
	size_t told;      /* of the turn's other events, those said */
	size_t kept;      /* and that Postgres has, of an unlogged reply */
	uint64_t kept_ms; /* when they were given to the ledger */
	unsigned kept_as; /* their place in the batch, from 1; 0: none */
	enum log_state state : 8;
	enum log_step step : 8;     /* numbered, not said: in flight */
	bool is_busy : 1;           /* a command's answer is awaited */
	bool has_started : 1;       /* the client has heard `start` */
	bool is_followed : 1;       /* somebody else reads it */
	struct stream *prev, *next; /* while LOG_LOST: in relay->lost */
};

/* A stream's part in stream_tools.c. */
struct stream_tools {
	struct tool_batch *batch; /* with the ledger; NULL: none */
	struct site_call *calls;  /* with sites, doubly linked */
	size_t n_open;            /* uses that have not ended */
	int64_t reserved;         /* tokens, for all rounds; 0: not bounded */
	bool is_last;             /* the model was told to call no more */
	bool is_ready;            /* the next request is written */
	bool is_waiting;          /* the round's uses are yet to be done */
	bool is_noted;            /* what the last batch had to note */
	enum turn_status status;  /* of STREAM_LEAVING: how it ends */
	enum err error;
};

/*
 * How a stream speaks to its client: Natter's own events (stream_reply.c), or
 * OpenAI's protocol (stream_openai.c).
 */
struct voice {
	/* The step has been numbered: what came by now goes with it. */
	void (*step)(struct stream *s);
	void (*start)(struct stream *s, const struct reply_event *e);
	void (*event)(struct stream *s, const struct reply_event *e);
	/* Whether it can be resumed has changed. */
	void (*resumable)(struct stream *s);
	void (*heartbeat)(struct stream *s);
	/* `e`, or the document, then END_REQUEST. */
	void (*end)(struct stream *s, const struct reply_event *e);
	/* Nothing is in flight, and all text has been said. */
	void (*rest)(struct stream *s);
};
extern const struct voice voice_native, voice_openai;

/* One reply in flight. */
struct stream {
	struct relay *relay;
	struct stream *prev, *next;
	struct stream *dirty_next;
	bool is_dirty;
	enum stream_state state;

	struct turn *turn;
	bool wants_stream;
	const char *method;
	const struct route *route;
	char *origin; /* owned; NULL: not a page of an allowed origin */
	char *limits; /* owned; header lines, NULL: none, or they are sent */
	const char *request_id; /* the turn's */
	struct phases phases;   /* of the front */

	struct client client;
	struct preparation preparation;
	struct transfer transfer;
	struct plan plan;
	struct model_parser parser;
	long http_status;      /* of the model's answer to this try */
	struct buf error_body; /* of a non-2xx answer, cut */
	bool is_full;          /* the reply reached its longest size */
	bool is_withheld;      /* none of it is told before it is checked */
	bool has_let_go;       /* of what the model was sent */
	struct unmask unmask;  /* of what the model says */

	uv_timer_t timer;
	int handles;            /* libuv handles not closed yet */
	uint64_t asked_ms;      /* when this try began */
	uint64_t last_byte_ms;  /* from the model */
	uint64_t last_sent_ms;  /* to the client, for the heartbeat */
	uint64_t last_flush_ms; /* of text, for coalescing */
	uint64_t end_ms;        /* CHAT_REPLY_MAX_SECONDS are over */
	uint64_t retry_ms;      /* when STREAM_WAITING ends */

	const struct voice *voice;
	struct openai_voice *openai; /* of voice_openai; NULL: the other */

	struct stream_log log;
	struct stream_tools tools;
	bool is_listening;  /* somebody else asks the very same */
	bool is_looking;    /* and whether they are done is being asked */
	bool looks_again;   /* and once more after that */
	uint64_t answer_ms; /* when to look again, or to hold the lock */

	size_t sent;       /* bytes of turn->text written to the client */
	uint64_t event_id; /* of the last event */
	int status;        /* HTTP status told to the client */
	char *why;         /* for the log; owned, NULL: none */
};

/* Makes the stream and starts it. Takes the handoff over in any case. */
void stream_begin(struct relay *r, const struct handoff *h);

/* The turn came back from the ledger: says the last word and closes. */
void stream_stored(struct stream *s);

/* Writes text that waits, or notices that the model is done. */
void stream_service(struct stream *s);

/* Ends the reply now as interrupted, text so far is kept; `why` is constant. */
void stream_interrupt(struct stream *s, enum err error, const char *why);

/* Ends the reply now as its user wished; text so far is kept. */
void stream_cancel(struct stream *s);

/* Ends the running reply as failed; text so far is kept. `why` is for the log.
 */
void stream_fail(struct stream *s, enum err error, const char *why);

/* Everything is prepared: asks the model, or says the answer that came. */
void stream_go(struct stream *s);

/* Likewise, since nobody hears it and nobody will. */
void stream_hang_up(struct stream *s);

/* stream_try.c: chooses the first model to ask. */
void stream_try_first(struct stream *s);

/* A try begins; the model is at work on it; it brought its first token (or a
 * whole answer without one); it was ended from outside. */
void stream_try_began(struct stream *s);
void stream_try_works(struct stream *s);
void stream_try_answered(struct stream *s);
void stream_try_stopped(struct stream *s);

/* How long the first token of a try may take, in ms. */
uint64_t stream_first_token_ms(const struct config *config);

/* What to do after a try that failed. */
enum try_next {
	TRY_NEXT_NONE,  /* the reply has failed */
	TRY_NEXT_PAUSE, /* ask again after stream_try_pause_ms */
	TRY_NEXT_ASK,   /* ask; another model has been chosen */
	TRY_NEXT_LOCAL, /* natter-local's answer is in turn->prompt */
};
enum try_next
stream_try_failed(struct stream *s, const struct try_failure *f) MUST_CHECK;
uint64_t stream_try_pause_ms(const struct stream *s, long retry_after_s);

/* stream_trouble.c: what came of a try: an answer that is not 2xx, a broken
 * connection, an answer that model_parser_end finds fault with, silence. */
void trouble_refused(const struct stream *s, const struct transfer_end *end,
    struct try_failure *out);
void trouble_broken(const struct stream *s, const struct transfer_end *end,
    struct try_failure *out);
void
trouble_answer(const struct stream *s, enum err error, struct try_failure *out);
void trouble_silent(const struct stream *s, struct try_failure *out);

/* relay.c: puts the stream onto the dirty list. */
void relay_mark_dirty(struct stream *s);

/* relay.c: puts the stream onto the list of all. Called once, first. */
void relay_remember(struct stream *s);

/* relay.c: forgets the stream. Called once, when its last handle is closed. */
void relay_forget(struct stream *s);

/* relay.c: a reader has gone; nothing may be left now. */
void relay_reader_gone(struct relay *r);

/* relay_roll.c: begins to look for ended sessions, and takes down the rest. */
bool relay_roll_open(struct relay *r);
void relay_roll_free(struct relay *r);

/* relay_cancel.c: hears of cancelled replies, and takes down the rest. */
bool relay_cancel_open(struct relay *r);
void relay_cancel_listen(struct relay *r, const char *worker_id);
void relay_cancel_free(struct relay *r);

/* relay_follow.c: hears which replies somebody reads. */
void relay_follow_listen(struct relay *r);

/* Is the reply still the relay's: no turn has gone to the ledger? */
bool stream_is_running(const struct stream *s);

/* The last word is said: the stream goes. */
void stream_is_over(struct stream *s);

/* stream_log.c: begins to log, and says `start`. */
void stream_log_begin(struct stream *s);

/* stream_log.c: makes events of what is due, one append at a time. */
void stream_log_go(struct stream *s);

/* stream_log.c: writes the log anew; false: Redis is away. Of a stream whose
 * log is lost and that is not busy. */
bool stream_log_rebuild(struct stream *s);

/* stream_log.c: tells who follows the reply how far it is. */
void stream_log_hint(struct stream *s);

/* stream_log.c: the reply was ended elsewhere. */
void stream_log_seal(struct stream *s);

/* relay_log.c: all streams' logs, while Redis is away and when it is back. */
bool relay_log_open(struct relay *r);
void relay_log_close(struct relay *r); /* its handles; the loop runs after */
void relay_log_free(struct relay *r);
void relay_log_lost(struct stream *s);
void relay_log_found(struct stream *s);
void relay_log_bury(const struct stream *s);     /* it ends without its log */
int64_t relay_log_life_s(const struct relay *r); /* the longest of a log */

/* relay_checkpoint.c: texts of unlogged replies on their way to Postgres. */
bool relay_checkpoint_open(struct relay *r);
void relay_checkpoint_free(struct relay *r);
void relay_checkpoint(struct relay *r);

/* stream_tools.c: the model's answer is whole. True: it called tools that are
 * at work now, or will be once they were checked, and the reply goes on. */
bool stream_tools_begin(struct stream *s);

/* What the last answer calls may be done. */
void stream_tools_run(struct stream *s);

/* What the log was to be told it has been told, or it takes nothing now: uses
 * that waited for that are done. */
void stream_tools_logged(struct stream *s);

/* What a use has come to: its result is there. For those who run tools outside
 * of the ledger; never from inside of starting one. */
void stream_tools_ended(struct stream *s, struct tool_use *use);

/* The reply ends like that. True: not yet, tools are with the ledger, and
 * stream_store is called when they are back. */
bool stream_tools_leave(struct stream *s, enum turn_status status, enum err e);

/* What stands between the text of two rounds; "" where nothing must. */
const char *stream_tools_between(const struct turn *t, char next);

bool relay_tools_open(struct relay *r);
void relay_tools_free(struct relay *r);

/* stream_end.c: gives the turn to the ledger with its outcome. */
void stream_store(struct stream *s, enum turn_status status, enum err error);

/* stream.c: when something must happen is another time now. */
void stream_arm(struct stream *s);

/* stream_end.c: keeps the first reason given, for the log. What it came to, in
 * the request's line there and in the numbers; called once, when it goes. */
void stream_explain(struct stream *s, const char *why);
void stream_note_end(struct stream *s);

/* stream_ask.c: asks the model; or says an answer that came otherwise,
 * t->prompt. */
void stream_ask(struct stream *s);
void stream_answer_locally(struct stream *s);

/* stream_ask.c: the model has said all, [DONE] included. No text will come:
 * what waited for the rest of a placeholder is text. */
void stream_ask_answered(struct stream *s);
void stream_text_end(struct stream *s);

/* stream_ask.c: when a try has been silent too long or a pause is over, and
 * what is done then. */
uint64_t stream_ask_due_ms(const struct stream *s);
void stream_ask_tick(struct stream *s, uint64_t now_ms);

/* stream_answer.c: true: it waits for another's answer; retry_ms is its end. */
bool stream_answer_wait(struct stream *s);
void stream_answer_leave(struct stream *s);
uint64_t stream_answer_due_ms(const struct stream *s);
void stream_answer_tick(struct stream *s, uint64_t now_ms);
void stream_answer_forsake(struct stream *s);
void stream_answer_redis_changed(void *relay, bool is_away);

/* The reply is whole: checks it where that is wanted, and stores it. */
void stream_complete(struct stream *s);

/* stream_moderate.c: a step of preparing; the check of an answer that calls
 * tools (false: stream_tools_run or stream_fail comes later, or has); that of a
 * finished reply (likewise stream_complete); are replies withheld, or checked
 * at all; what is withheld goes. */
bool stream_moderate_question(struct stream *s);
bool stream_moderate_calls(struct stream *s);
bool stream_moderate_reply(struct stream *s);
bool stream_moderate_withholds(const struct config *config);
bool stream_moderate_checks(const struct config *config);
void stream_moderate_drop(struct stream *s);

/* stream_embed.c: a step of preparing; what the ledger has found; nobody waits
 * for that any more; when the wait for it ends, and that it may be over. */
bool stream_embed_question(struct stream *s);
void stream_embed_found(struct embed *e);
void stream_embed_stop(struct stream *s);
uint64_t stream_embed_due_ms(const struct stream *s);
void stream_embed_tick(struct stream *s, uint64_t now_ms);

/* stream_reply.c: the data of the first and the last event, and their names. */
const char *stream_start_data(
    const struct stream *s, enum log_state state, struct buf *out);
const char *stream_end_data(const struct stream *s, struct buf *out);

/* Sends the bytes to the client and frees them. */
void stream_send(struct stream *s, struct buf *b);

/* How long the reply is as its log counts it: its text or, of a completion that
 * nobody keeps and whose log has none, all that came. */
size_t stream_length(const struct stream *s);

/* Is its log to say how much text there is, and none of it? */
bool stream_is_mute(const struct stream *s);

/* A key that a model's server quotes is no matter of anybody else. */
void stream_hide_keys(const struct stream *s, char *text);

/* stream_openai.c: takes the voice up; false: no memory. Lets go of it. What a
 * try that failed has said is forgotten. Its client has gone. */
/* What its turn is to store; appends what else than text it says. */
bool stream_openai_begin(struct stream *s);
void stream_openai_store(struct stream *s);
void stream_openai_words(const struct stream *s, struct buf *out);
void stream_openai_free(struct stream *s);
void stream_openai_again(struct stream *s);
void stream_openai_left(struct stream *s);

#endif
