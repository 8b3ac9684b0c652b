/*
 * Which new passwords are refused although they are long enough: those that
 * are guessed first. Length is all that is asked for otherwise; there are no
 * rules about capitals and digits, which people meet with "Password1!".
 *
 * Refused are, without regard to case, to blanks, dots and dashes, and to
 * digits and signs that stand for letters:
 *
 *   - what is made, for its larger part, of few words of the built-in list
 *     (common_words.txt), walks and years: "Dragonmaster2024!",
 *     "passwordpassword1", "I love you forever". Four listed words are enough,
 *     or three and some of one's own
 *   - a password of the file CHAT_PASSWORD_LIST, also with up to seven digits
 *     or signs around it
 *   - the username with less than eight characters besides
 *   - nothing but blanks; the same few characters over and over; a walk over
 *     the keyboard, the alphabet or the digits
 *
 * Thread: any. Reads CHAT_PASSWORD_LIST, where it is set, from end to end.
 */
#ifndef AUTH_PASSWORD_RULE_H
#define AUTH_PASSWORD_RULE_H

#include "base/errors.h"

struct config;

/*
 * Judges a new password of at most PASSWORD_MAX bytes: *out_flaw is NULL when
 * it may be used, otherwise a sentence that says why not. ERR_INTERNAL when
 * CHAT_PASSWORD_LIST cannot be read.
 */
enum err password_rule_judge(const struct config *config, const char *username,
    const char *password, const char **out_flaw) MUST_CHECK;

#endif
