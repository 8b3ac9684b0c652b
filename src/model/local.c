/*
 * natter-local: what answers on a fresh install, before anybody has connected
 * a model. It says what it is, what the user has stored and how to connect a
 * real model, and knows a handful of questions by their words. It is no model
 * and never pretends to be one. The same question and facts give the same
 * answer.
 */
#include <string.h>
#include <time.h>

#include "model/model.h"

/* Most keywords of one topic. */
#define KEYWORDS_MAX 11

/* What an answer is made of, in this order. */
enum {
	SAY_STORED = 1,  /* what the user has stored */
	SAY_CONNECT = 2, /* how a real model is connected */
	SAY_UNSURE = 4,  /* nothing: what documents say is better */
};

static const char connect_text[] =
    "To connect a model, whoever runs this server sets OPENAI_API_KEY (for "
    "OpenAI itself) or OPENAI_BASE_URL (for any other OpenAI-compatible "
    "server, with OPENAI_API_KEY if that one wants a key) and reloads "
    "natterd.";

/*
 * What is asked, by words that give it away, and what is said first. A space
 * in a keyword stands for whatever parts two words. The first row with a
 * keyword in the question answers; the last one has none and always does.
 */
static const struct topic {
	const char *keywords[KEYWORDS_MAX + 1];
	const char *opening;
	unsigned says;
} topics[] = {
    {{"how many conversations", "how many messages", "how many chats",
	 "how much have i", "have i stored", "you stored", "you know about me",
	 "my messages", "my conversations", "my statistics", "my stats"},
	"", SAY_STORED},
    {{"api key", "openai", "connect", "configure", "set up", "setup",
	 "base url", "openai_api_key", "openai_base_url", "real model",
	 "another model"},
	"This is natter-local, the built-in answerer that runs when no model "
	"is configured.",
	SAY_CONNECT},
    {{"what can you do", "what can i do", "what do you do", "help",
	 "how do you work", "how does this work"},
	"I am natter-local, the built-in answerer that runs when no model is "
	"configured. I keep your tasks: “remind me to send the invoice on "
	"Friday at 3pm”, “show my tasks”, “complete the invoice task”, “delete "
	"task 2”. I quote your documents when you ask about what is in them. "
	"And I can tell you what you have stored here, and how to connect a "
	"real model.",
	SAY_STORED | SAY_CONNECT},
    {{"who are you", "what are you", "your name", "natter-local", "which model",
	 "what model", "are you an ai", "are you a bot", "are you human",
	 "are you chatgpt"},
	"I am natter-local, the built-in answerer of this Natter server. I run "
	"when no model is configured; I am not a language model. I keep your "
	"tasks, quote your documents, and recognise a few plain questions.",
	SAY_STORED | SAY_CONNECT},
    {{"remind me", "reminder", "reminders", "task", "tasks", "todo", "to-do",
	 "to do list", "my list"},
	"I changed nothing: I am natter-local, not a language model, and that "
	"was none of the commands that I know. Say it plainly, one task in "
	"each "
	"message: “remind me to call mom tomorrow at 5pm”, “add milk to my "
	"list”, “what is due this week?”, “task 2 is done”, “move the dentist "
	"task to Friday”, “delete the gym task”.",
	SAY_UNSURE},
    {{"thanks", "thank you"}, "You are welcome!", SAY_STORED},
    {{"hello", "hi", "hey", "good morning", "good afternoon", "good evening"},
	"Hello! I am natter-local, the built-in answerer that runs when no "
	"model is configured, so I cannot hold a real conversation.",
	SAY_STORED | SAY_CONNECT},
    {{""},
	"I cannot answer that: I am natter-local, the built-in answerer that "
	"runs when no model is configured, and not a language model. Your "
	"message is stored in this conversation all the same.",
	SAY_STORED | SAY_CONNECT | SAY_UNSURE},
};

/* A letter, a digit or a part of one in UTF-8. */
static bool
is_word_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

static char
lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Do the words of `keyword` stand at `text`, and end there? */
static bool
stands_at(const char *text, const char *keyword)
{
	for (; *keyword != '\0'; keyword++) {
		if (*keyword != ' ') {
			if (lower(*text++) != *keyword)
				return false;
			continue;
		}
		if (*text == '\0' || is_word_char(*text))
			return false;
		while (*text != '\0' && !is_word_char(*text))
			text++;
	}
	return !is_word_char(*text);
}

static bool
holds(const char *text, const char *keyword)
{
	bool is_inside = false; /* of a word */

	if (*keyword == '\0')
		return true;
	for (; *text != '\0'; text++) {
		if (!is_inside && stands_at(text, keyword))
			return true;
		is_inside = is_word_char(*text);
	}
	return false;
}

static const struct topic *
topic_of(const char *question)
{
	const struct topic *t = topics;

	for (;; t++) {
		for (const char *const *k = t->keywords; *k != NULL; k++) {
			if (holds(question, *k))
				return t;
		}
	}
}

static void
put_count(struct buf *out, int64_t n, const char *thing)
{
	buf_printf(out, "%lld %s%s", (long long)n, thing, n == 1 ? "" : "s");
}

static void
put_date(struct buf *out, int64_t ms)
{
	static const char *const months[] = {"January", "February", "March",
	    "April", "May", "June", "July", "August", "September", "October",
	    "November", "December"};
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	if (ms <= 0 || gmtime_r(&seconds, &tm) == NULL)
		return;
	buf_printf(out, ", the first of them from %d %s %d", tm.tm_mday,
	    months[tm.tm_mon], tm.tm_year + 1900);
}

static void
put_stored(struct buf *out, const struct local_facts *facts)
{
	if (facts->username != NULL && *facts->username != '\0') {
		buf_puts(out, facts->username);
		buf_puts(out, ", you have ");
	} else {
		buf_puts(out, "You have ");
	}
	if (facts->messages <= 0) {
		buf_puts(out, "nothing stored here yet.");
		return;
	}
	put_count(out, facts->conversations, "conversation");
	buf_puts(out, " with ");
	put_count(out, facts->messages, "message");
	buf_puts(out, " stored here");
	put_date(out, facts->first_ms);
	buf_putc(out, '.');
}

bool
local_knows(const char *question)
{
	return (topic_of(question)->says & SAY_UNSURE) == 0;
}

void
local_cannot(struct buf *out)
{
	buf_puts(out,
	    "The model that answers here cannot be reached right now. I am "
	    "natter-local, stand in for it, and do nothing in its place: your "
	    "tasks are as they were. Please try again in a moment.");
}

void
local_answer(struct buf *out, const struct local_facts *facts)
{
	const char *question = facts->question != NULL ? facts->question : "";
	const struct topic *topic = topic_of(question);

	buf_puts(out, topic->opening);
	if (facts->has_searched && !local_knows(question))
		buf_puts(out,
		    " I looked in your documents too, and found nothing that "
		    "answers it.");
	if ((topic->says & SAY_STORED) != 0) {
		if (*topic->opening != '\0')
			buf_putc(out, ' ');
		put_stored(out, facts);
	}
	if ((topic->says & SAY_CONNECT) != 0) {
		buf_puts(out, "\n\n");
		buf_puts(out, connect_text);
	}
}
