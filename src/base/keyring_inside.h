/*
 * What reading and changing the key ring's file share; nobody else includes
 * it. `why` has KEYRING_WHY bytes and must never hold a key.
 *
 *   keyring.c       the ring in memory, and reading it
 *   keyring_file.c  changing the file
 */
#ifndef BASE_KEYRING_INSIDE_H
#define BASE_KEYRING_INSIDE_H

#include "base/keyring.h"

#define KEYRING_FILE 8192 /* bytes: eight keys and a page of comments */
#define KEYRING_LINE 128

/* Writes the sentence of a refusal and returns ERR_INVALID_FIELD. */
enum err keyring_refuse(char *why, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Opens a regular file that nobody else may touch. */
enum err keyring_open(const char *path, int *out_fd, char *why) MUST_CHECK;

/* Reads the whole file as a NUL-terminated string; wipe it. */
enum err keyring_read(int fd, const char *path, char text[static KEYRING_FILE],
    char *why) MUST_CHECK;

/* Is it a kid, and which state has this name (-1: none)? */
bool keyring_is_kid(const char *s);
int keyring_state_named(const char *name);

/* Writes a new kid and a new key, as text. */
#define KEYRING_KEY_TEXT 64
void keyring_make_key(
    char kid[static KEYRING_KID], char key[static KEYRING_KEY_TEXT]);

#endif
