/*
 * Holds a JSON value against a JSON Schema: the part of the vocabulary that
 * descriptions of functions use (type, enum, const, required, properties,
 * additionalProperties, items, lengths, bounds, counts, a few formats). Words
 * that it does not know hold nothing, as the standard says of annotations.
 *
 * The sentence says what is wrong in words that help a model to mend it. What
 * takes more than a million comparisons does not fit: nobody may hold a thread
 * up.
 *
 * Thread: any; pure.
 */
#ifndef BASE_JSON_SCHEMA_H
#define BASE_JSON_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

struct json_object;

#define JSON_SCHEMA_WHY 256

/*
 * Does the value fit? Else *out_why names the first member at fault, such as
 * "tags[2]: It must be a string." A schema that is no object fits everything.
 */
bool json_schema_fits(struct json_object *schema, struct json_object *value,
    char out_why[static JSON_SCHEMA_WHY]);

/*
 * Is it a schema of a function's arguments: of type object, with properties
 * that are schemas? Else *out_why says what is wrong with it.
 */
bool json_schema_is_sound(
    struct json_object *schema, char out_why[static JSON_SCHEMA_WHY]);

#endif
