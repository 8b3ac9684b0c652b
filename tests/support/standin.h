/*
 * What the files of the model stand-in share.  Three layers, each ignorant of
 * the one before it in this list: model_standin.c (routes, counters shown),
 * standin_http.c (connections), and standin_script.c with standin_reply.c
 * (what a chat request asks for, and the bytes that answer it).  One thread.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct conn;

#define MUST_CHECK __attribute__((warn_unused_result))

enum standin_err {
	STANDIN_OK,
	STANDIN_BAD_JSON,   /* the body is no chat request */
	STANDIN_BAD_SCRIPT, /* unknown directive or bad value */
	STANDIN_NO_LISTEN,  /* the address cannot be had */
	STANDIN__MAX
};

/* The directives of one message; see standin.def. */
struct script {
#define NUMBER(name, value, preset, sentence) int32_t name;
#define STRING(name, value, sentence)         char *name; /* owned */
#include "standin.def"
};

enum reply_stage { STAGE_OPEN, STAGE_DELTAS, STAGE_FINISH };

/* One chat request and how far its answer has come.  Owned by its conn. */
struct reply {
	struct script script;
	char *label;      /* directive text, "" without; owned */
	char *key;        /* that came, or NULL; owned */
	char *model;      /* JSON, with its quotes; owned */
	char *text;       /* reply content; owned */
	char *args;       /* tool call arguments; owned */
	const char *tool; /* the tool of this round; script's */
	int32_t calls;    /* of this answer */
	size_t text_len, args_len;
	size_t text_at;      /* bytes of text already sent */
	int32_t text_deltas; /* content deltas in all */
	int32_t deltas;      /* those and the tool call deltas */
	int32_t delta;       /* deltas already sent */
	int32_t leads;       /* pings and thoughts already sent */
	uint32_t number;     /* of the chat request, for ids */
	uint32_t prompt_tokens, completion_tokens;
	uint64_t started_ms; /* loop clock; set by the connection */
	enum reply_stage stage;
	int32_t status; /* 200, or what status or fail ask for */
	bool is_stream, wants_usage, is_tool_call, has_bad_line, is_complete;
};

/* What the connection has to do after reply_fill. */
enum reply_next {
	REPLY_GO,    /* call again, at once if there is room */
	REPLY_WAIT,  /* call again at reply_due_ms */
	REPLY_GATE,  /* call again once one more gate is open */
	REPLY_END,   /* finish the body, keep the connection */
	REPLY_CLOSE, /* finish the body, close the connection */
	REPLY_CUT,   /* close without finishing the body */
	REPLY_STALL, /* never call again */
};

/* A request whose head and body are complete; points into the input buffer. */
struct request {
	const char *method, *path, *head, *body;
	size_t method_len, path_len, head_len, body_len;
	bool is_http10, wants_close;
};

/* Counters; connections_open and streams_open survive /_reset. Tokens are
 * those of answers whose usage was told at their end. */
#define STANDIN_COUNTERS(X)     \
	X(requests)             \
	X(chat_requests)        \
	X(moderation_requests)  \
	X(embedding_requests)   \
	X(embedding_texts)      \
	X(connections_accepted) \
	X(connections_open)     \
	X(streams_open)         \
	X(streams_completed)    \
	X(prompt_tokens)        \
	X(completion_tokens)    \
	X(gates_open)           \
	X(client_hangups)       \
	X(bytes_sent)

struct counters {
#define COUNTER(name) uint64_t name;
	STANDIN_COUNTERS(COUNTER)
#undef COUNTER
};

extern struct counters counters;

/* Reads a chat request and its directives; on success the caller owns it. */
MUST_CHECK enum standin_err
reply_read(const char *body, size_t len, struct reply **out_reply);
void reply_free(struct reply *r);

/* Counts the deltas that the text and the tool call will be cut into. */
void reply_plan(struct reply *r);

/* standin_moderate.c: answers a moderation request as words in its input say:
 * see there. */
void moderate(struct conn *c, const struct request *q);

/* standin_embed.c: answers a request for vectors; words in its texts script
 * faults: see there. */
void embed(struct conn *c, const struct request *q);

/* Answers with a status and this JSON; never answers. */
void standin_say(struct conn *c, int32_t status, const char *json);
void standin_hang(struct conn *c);

/* Prints the directives, one line each, to standard output. */
void script_help(void);

/* Appends the next event of a streamed answer to out. */
enum reply_next reply_fill(struct reply *r, struct buf *out);

/* Milliseconds from started_ms to the next delta of a stream ... */
uint64_t reply_due_ms(const struct reply *r);

/* ... and to a plain answer: when a stream's last delta would have gone. */
uint64_t reply_plain_due_ms(const struct reply *r);

/* Appends the body of a plain (or failed, or garbage) answer to out. */
void reply_plain(const struct reply *r, struct buf *out);

/* Appends deterministic random bytes. */
void reply_garbage(const struct reply *r, struct buf *out);

/* Appends an error body in OpenAI's shape; code NULL: the status's own. */
void reply_error(
    struct buf *out, int32_t status, const char *code, const char *message);

/* Called with every complete request; must answer it in one of two ways: */
typedef void (*http_route_fn)(struct conn *c, const struct request *q);

/* with a JSON body at once, */
void http_answer(struct conn *c, int32_t status, const struct buf *body);

/* or as its script says, now or later.  Takes r. */
void http_begin(struct conn *c, struct reply *r);

/* Opens the next gate (see standin.def): what waits there goes on, and what has
 * yet to come there does not stop. */
void http_open_gate(void);

/* The value of a header (name in lower case); NULL when absent. */
const char *
http_header(const struct request *q, const char *name, size_t *out_len);

/* Serves until SIGTERM or SIGINT; prints the address it got. Also on a Unix
 * socket at this path, unless that is "". */
MUST_CHECK enum standin_err
http_serve(const char *host, int port, const char *socket, http_route_fn route);

#endif
