/*
 * Sets of words decide: the first one must be of the kind, the others may go
 * with it.
 */
#include "task/talk.h"
#include "task/words.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* Longer ones say more than that. */
#define SHORT_MAX 7

static const struct {
	enum command_intent intent;
	const char *first, *others;
} kinds[] = {
    {INTENT_CONFIRMATION_YES,
	"yes yep yeah yup yea sure ok absolutely definitely confirm confirmed "
	"correct affirmative aye",
	"yes yep yeah please do it go ahead sure of course ok that this right "
	"correct delete remove them i am really thanks thank you absolutely "
	"definitely confirm confirmed the task"},
    {INTENT_CONFIRMATION_NO,
	"no nope nah dont not never stop cancel negative wait nevermind",
	"no nope nah not dont do it never mind cancel stop please keep that "
	"this thanks thank you wait leave them i the task"},
    {INTENT_THANKS, "thanks thank thankyou",
	"thanks thank you so very much a lot for that the help your again "
	"ok great this everything"},
    {INTENT_THANKS, "great perfect awesome cool", "thanks thank you"},
    {INTENT_GREETING, "hello hi hey greetings hiya howdy yo",
	"hello hi hey there natter everyone all you again friend good morning "
	"afternoon evening bot assistant"},
    {INTENT_GREETING, "good", "morning afternoon evening day everyone there"},
};

/* These two are yes without a word that says so. */
static const char *const phrases_of_yes[][2] = {{"go", "ahead"}, {"do", "it"}};

static size_t
count_words(const struct words *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += w->at[i].kind != WORD_MARK;
	return n;
}

/* The first word that is no mark, from i on. */
static size_t
word_from(const struct words *w, size_t i)
{
	while (i < w->n && w->at[i].kind == WORD_MARK)
		i++;
	return i;
}

static bool
others_fit(const struct words *w, size_t i, const char *set)
{
	for (i = word_from(w, i); i < w->n; i = word_from(w, i + 1)) {
		if (!words_is_in(w, i, set))
			return false;
	}
	return true;
}

/* "2", "number 2", "the second one" */
static int
choice(const struct words *w)
{
	size_t i = word_from(w, 0);

	while (
	    words_is_in(w, i, "the number no task option take it its i mean"))
		i = word_from(w, i + 1);
	int n = words_number(w, i);
	if (n <= 0)
		n = words_ordinal(w, i);
	if (n <= 0 || !others_fit(w, i + 1, "one task please reminder option"))
		return 0;
	return n;
}

bool
talk_is_short(const struct words *w, struct command *out)
{
	size_t i = word_from(w, 0);
	size_t n = count_words(w);

	if (n == 0 || n > SHORT_MAX)
		return false;
	out->number = choice(w);
	if (out->number > 0) {
		out->intent = INTENT_CHOICE;
		return true;
	}
	for (size_t k = 0; k < COUNT(kinds); k++) {
		if (words_is_in(w, i, kinds[k].first) &&
		    others_fit(w, i + 1, kinds[k].others)) {
			out->intent = kinds[k].intent;
			return true;
		}
	}
	for (size_t k = 0; k < COUNT(phrases_of_yes); k++) {
		if (words_is(w, i, phrases_of_yes[k][0]) &&
		    words_is(w, i + 1, phrases_of_yes[k][1]) &&
		    others_fit(w, i + 2, kinds[0].others)) {
			out->intent = INTENT_CONFIRMATION_YES;
			return true;
		}
	}
	return false;
}

static bool
asks(const struct words *w, size_t begin)
{
	static const char first[] =
	    "what whats who whos whom whose when whens where wheres why whys "
	    "how hows which is are am was were do does did has have had can "
	    "could should shall may might will would isnt arent dont doesnt "
	    "didnt wont cant couldnt shouldnt";
	static const char plain[] =
	    "what whats who whos whom whose when whens where wheres why how "
	    "hows which";
	static const char persons[] =
	    "i you he she it we they there the this that my your a an his her "
	    "our their anyone anybody someone";

	for (size_t i = w->n; i > 0; i--) {
		if (w->at[i - 1].kind != WORD_MARK)
			break;
		if (words_is(w, i - 1, "?"))
			return true;
	}
	return words_is_in(w, begin, plain) ||
	       (words_is_in(w, begin, first) &&
		   words_is_in(w, begin + 1, persons));
}

static bool
demands(const struct words *w, size_t begin)
{
	static const char verbs[] =
	    "add analyze analyse answer build calculate change check compare "
	    "complete compose compute continue convert correct count create "
	    "define delete describe draft draw edit elaborate explain expand "
	    "extract find finish fix format generate give go help imagine "
	    "improve list look make name open outline paraphrase plan play "
	    "pretend print produce proofread provide read recommend reformat "
	    "remind remove rephrase replace rewrite say search send set show "
	    "simplify solve sort start stop suggest summarise summarize tell "
	    "test think translate try turn update use write";

	/* "Cancel culture" is no demand, "cancel my subscription" is. */
	static const char doubtful[] =
	    "cancel close drop forget mark move note pick push put rename "
	    "reschedule schedule shift tick";
	static const char objects[] =
	    "the my your a an this that it these those all every him her them "
	    "us me yourself about our its";

	return words_is_in(w, begin, verbs) ||
	       (words_is_in(w, begin, doubtful) &&
		   words_is_in(w, begin + 1, objects));
}

enum command_intent
talk_intent(const struct words *w, size_t begin)
{
	bool is_polite = begin > word_from(w, 0) &&
			 words_is_in(w, begin - 1, "please kindly you");

	if (asks(w, begin))
		return INTENT_QUESTION;
	/* "Test results are in" says something, "test this" wants it. */
	if (demands(w, begin) || is_polite)
		return INTENT_REQUEST;
	return INTENT_STATEMENT;
}
