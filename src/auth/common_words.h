/*
 * The built-in list: every line of common_words.txt that is no comment,
 * each with its newline, in one string.
 *
 * Thread: any; constant.
 */
#ifndef AUTH_COMMON_WORDS_H
#define AUTH_COMMON_WORDS_H

extern const char common_words[];

#endif
