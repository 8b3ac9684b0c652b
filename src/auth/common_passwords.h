/*
 * The built-in list: every line of common_passwords.txt that is no comment,
 * each with its newline, in one string.
 *
 * Thread: any; constant.
 */
#ifndef AUTH_COMMON_PASSWORDS_H
#define AUTH_COMMON_PASSWORDS_H

extern const char common_passwords[];

#endif
