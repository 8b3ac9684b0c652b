/*
 * Which network addresses lie inside: loopback, private, link-local (a cloud's
 * metadata among them), shared by a provider's customers, multicast, reserved.
 * Also what an administrator allows of them, as a list of words:
 *
 *   10.1.0.0/16  fd00::/8     all ports of these addresses
 *   10.1.2.3  10.1.2.3:8080   one address, all ports or one
 *   ::1  [::1]:8080
 *   shop.internal             whatever this name leads to
 *   shop.internal:8080
 *
 * Thread: any; pure.
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/errors.h"

/* Could anybody out there have this address? No for what is not IP. */
bool address_is_outside(const struct sockaddr *at);

/* The size of the sentence that address_list_check writes. */
#define ADDRESS_WHY 160

/* Can every word of the list be understood? Else ERR_INVALID_FIELD, and `why`
 * goes on after the setting's name. */
enum err
address_list_check(const char *list, char why[static ADDRESS_WHY]) MUST_CHECK;

/* Does the list allow a connection to `at`, made for the URL's `host`? */
bool
address_list_has(const char *list, const char *host, const struct sockaddr *at);

#endif
