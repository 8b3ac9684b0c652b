/*
 * Prices of models that a test makes up, which all natterd of a database see.
 */
#ifndef TESTS_PRICES_H
#define TESTS_PRICES_H

/* A million tokens of the model, of either kind, cost so much. */
void price_set(const char *model, const char *price);

/* Takes away those of the models that begin so. */
void prices_forget(const char *begin);

#endif
