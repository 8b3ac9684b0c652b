/*
 * The stand-in's POST /v1/moderations. What it says is scripted by words
 * anywhere in the input:
 *
 *	#flag=violence,self-harm/intent   flagged, with these categories
 *	#replyflag=…                      the same, of a reply ("You said: …")
 *	#callflag=…                       of what is called (a paragraph "{…")
 *	#moderation=500                   that status
 *	#callfault=500                    the same, of what is called
 *	#moderation=garbage, =empty       200 and no JSON, or no results
 *	#moderation=hang                  no answer, ever
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "standin.h"

/* What follows the word, up to the next space or quote; the caller frees. */
static char *
value_of(const char *input, const char *word)
{
	const char *at = strstr(input, word);

	return at == NULL ? NULL
			  : strndup(at + strlen(word),
				strcspn(at + strlen(word), " \n\""));
}

static void
answer(struct conn *c, const char *flags)
{
	struct json_object *json = json_object_new_object();
	struct json_object *result = json_object_new_object();
	struct json_object *results = json_object_new_array();
	struct json_object *categories = json_object_new_object();
	char *copy = flags != NULL ? strdup(flags) : NULL, *rest = copy, *name;

	json_object_object_add(
	    categories, "sexual", json_object_new_boolean(false));
	json_object_object_add(
	    categories, "violence", json_object_new_boolean(false));
	while ((name = strsep(&rest, ",")) != NULL)
		json_object_object_add(
		    categories, name, json_object_new_boolean(true));
	json_object_object_add(
	    result, "flagged", json_object_new_boolean(flags != NULL));
	json_object_object_add(result, "categories", categories);
	json_object_array_add(results, result);
	json_object_object_add(json, "id", json_object_new_string("modr-1"));
	json_object_object_add(json, "results", results);
	standin_say(c, 200, json_object_to_json_string(json));
	json_object_put(json);
	free(copy);
}

static bool
is_call(const char *input)
{
	return *input == '{' || strstr(input, "\n\n{") != NULL;
}

void
moderate(struct conn *c, const struct request *q)
{
	char *body = strndup(q->body, q->body_len);
	struct json_object *json = json_tokener_parse(body);
	const char *input =
	    json_object_get_string(json_object_object_get(json, "input"));
	char *fault, *flags;

	free(body);
	if (input == NULL) {
		standin_say(c, 400, "{\"error\":{\"message\":\"no input\"}}");
		json_object_put(json);
		return;
	}
	fault = value_of(input, "#moderation=");
	flags = value_of(input, "#flag=");
	if (flags == NULL && strncmp(input, "You said:", 9) == 0)
		flags = value_of(input, "#replyflag=");
	if (flags == NULL && is_call(input))
		flags = value_of(input, "#callflag=");
	if (fault == NULL && is_call(input))
		fault = value_of(input, "#callfault=");
	if (fault == NULL)
		answer(c, flags);
	else if (strcmp(fault, "hang") == 0)
		standin_hang(c);
	else if (strcmp(fault, "garbage") == 0)
		standin_say(c, 200, "<html>no</html>");
	else if (strcmp(fault, "empty") == 0)
		standin_say(c, 200, "{\"results\":[]}");
	else
		standin_say(c, atoi(fault), "{}");
	free(fault);
	free(flags);
	json_object_put(json);
}
