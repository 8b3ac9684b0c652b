/*
 * What every model looks like to the relay: a request to send and a parser for
 * what comes back. `openai` speaks HTTP to any OpenAI-compatible server; the
 * relay owns the transfer (curl_multi). `natter-local` needs no transfer.
 *
 * Thread: relay (parsing) and front (building); no I/O in here.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/errors.h"
#include "model/mask.h"
#include "model/model_calls.h"
#include "model/sse_parse.h"

/* One message of the prompt. Borrowed strings. */
struct model_message {
	const char *role; /* system, user, assistant, tool */
	const char *content;
	/* Messages as JSON objects with commas between them, which stand here
	 * instead; NULL: none. */
	const char *raw;
};

/* What to ask a model. Borrowed strings. */
struct model_request {
	const char *model;
	const struct model_message *messages;
	size_t n_messages;
	struct mask *mask;  /* of their contents; NULL: they go as they are */
	int64_t max_tokens; /* 0 = not sent */
	const char *tokens_field; /* its name; NULL: "max_tokens" */
	const char *user; /* opaque end-user id (OpenAI's `user`), or NULL */
	size_t marked; /* a message's index: where it begins in the body goes to
			* out_at (NULL: nobody asks) */
	size_t *out_at;
	const char *tools; /* the `tools` array as JSON; NULL: none */
};

/* What a reply amounted to; -1 where the model did not say. */
struct model_usage {
	int64_t prompt_tokens;
	int64_t completion_tokens;
	int64_t cached_tokens;
};

enum model_finish {
	MODEL_FINISH_NONE, /* not finished */
	MODEL_FINISH_STOP,
	MODEL_FINISH_LENGTH,
	MODEL_FINISH_CONTENT_FILTER,
	MODEL_FINISH_TOOL_CALLS,
};

/* "stop", "length", "content_filter", "tool_calls"; "" for none. */
const char *model_finish_name(enum model_finish f);

/* What a refusal says that its status does not. */
enum openai_refusal {
	OPENAI_PLAIN,
	OPENAI_TOO_LONG, /* the prompt is longer than this model takes */
	OPENAI_POLICY,   /* what was written is not wanted */
};

/* One object of an answer, as the server wrote it. Borrowed. */
struct model_object {
	const char *json;
	size_t n;
	bool is_whole;   /* a plain answer; else a chunk of a stream */
	size_t n_beside; /* bytes of what it says that is no text of the reply:
			  * reasoning, tool calls */
};

/*
 * Reads one model's answer, whatever its bytes: an event stream, or plain
 * JSON where a stream was asked for. Text is cleaned (valid UTF-8, no NUL)
 * before it is handed on. Errors are found in the stream ({"error":…}).
 */
struct model_parser {
	/* Called with each piece of text, in order. */
	void (*on_text)(void *arg, const char *text, size_t n);
	/* Called after that with each object that was understood and reports
	 * no error; NULL, as it is made: nobody asks. */
	void (*on_object)(void *arg, const struct model_object *object);
	void *arg;

	/* What is known so far. */
	enum model_finish finish;
	struct model_usage usage;
	struct model_calls calls; /* whole once the answer has ended */
	bool has_text;            /* some text was handed on */
	bool has_begun;  /* text, reasoning, a tool call or a plain answer is
			  * coming; comments and roles are nothing */
	bool has_done;   /* [DONE] or a whole plain answer was seen */
	bool has_failed; /* the server reported an error inside the answer */
	/* Events that were not understood; those too long are added at the
	 * end. */
	unsigned long bad_lines;
	char model[64]; /* the model's name as the server gave it */
	enum openai_refusal refusal; /* of an error inside the answer */
	char error[256]; /* the server's error message, cleaned, for the log */

	/* Private. */
	enum { MODEL_BODY_UNKNOWN, MODEL_BODY_SSE, MODEL_BODY_JSON } body;
	struct sse_parser sse;
	struct buf plain; /* a plain JSON answer while it comes in */
	char type[64];    /* the answer's Content-Type */
	char carry[4];    /* an incomplete UTF-8 tail between two deltas */
	size_t n_carry;
	uint16_t high;  /* half a surrogate pair between two deltas */
	bool has_chunk; /* an object with choices was seen */
};

/*
 * `max_bytes` bounds one line, one event and a plain answer. The parser points
 * into itself: it stays where it was made.
 */
void model_parser_init(struct model_parser *p,
    void (*on_text)(void *, const char *, size_t), void *arg, size_t max_bytes);

/*
 * The Content-Type of the answer, before its bytes; NULL when unknown. It only
 * explains a failure (a web page where the API was meant): what the answer is,
 * its first byte tells, because servers mislabel both kinds.
 */
void model_parser_content_type(struct model_parser *p, const char *type);
void model_parser_feed(struct model_parser *p, const char *bytes, size_t n);

/*
 * The transfer ended well; the last text may be handed on here. OK: a whole
 * answer. ERR_MODEL_CUT: it stopped without a finish_reason and without
 * [DONE]. ERR_MODEL_FAILED: an error inside, garbage, or nothing at all;
 * `error` then says what.
 */
enum err model_parser_end(struct model_parser *p) MUST_CHECK;
void model_parser_free(struct model_parser *p);

/* Appends the JSON body of POST {base}/chat/completions, streaming. */
void openai_request_body(struct buf *out, const struct model_request *req);

/* Appends what ends such a body: its tools (NULL: none) and its brace. */
void openai_request_end(struct buf *out, const char *tools);

/* Appends one message as it stands in such a body. */
void openai_message(struct buf *out, const struct model_message *message);

/* The same with its content masked; `mask` NULL: as it is. */
void openai_masked_message(
    struct buf *out, const struct model_message *m, struct mask *mask);
/* How the next request of a reply differs from the one before. */
struct openai_round {
	const char *messages; /* objects with commas between them, appended */
	size_t messages_len;
	int64_t max_tokens; /* the most that is left; 0: as it was */
	bool is_last;       /* the model may call no tool any more */
};

/* Appends to `out` the body `body` of openai_request_body with another round's
 * messages; false: no memory, or it is none. */
bool openai_next_body(struct buf *out, const struct buf *body,
    const struct openai_round *round) MUST_CHECK;

/* Puts another model into a body of openai_request_body; false: no memory,
 * and the body is as it was. */
bool openai_rename(struct buf *body, const char *model) MUST_CHECK;

/* Of the body of an answer that is not 2xx, or an error inside of one. */
enum openai_refusal openai_refusal_of(const char *body, size_t n);

/*
 * The error of a non-2xx answer's body: its message as one clean line, cut to
 * `size`, with keys masked, into `out`, for the log.
 */
void openai_error_message(const char *body, size_t n, char *out, size_t size);

/* May a request that got this HTTP status be tried again? (408 409 429 5xx) */
bool model_status_is_transient(long status);

/* What natter-local knows about the user who asks. */
struct local_facts {
	const char *username;
	const char *question;
	int64_t conversations;
	int64_t messages;
	int64_t first_ms;  /* wall ms of the user's first message, 0 = none */
	bool has_searched; /* the user's documents, in vain */
};

/* The name under which natter-local is asked for and stored. */
#define LOCAL_MODEL "natter-local"

/* Is it a question that it knows by its words? */
bool local_knows(const char *question);

/* Appends what it says to a command where it stands in for another model. */
void local_cannot(struct buf *out);

/* Appends natter-local's answer. */
void local_answer(struct buf *out, const struct local_facts *facts);

#endif
