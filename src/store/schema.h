/*
 * Which schema this build was made for: the newest migration that is built in
 * (src/ctl/embed.awk writes it). `readyz` compares it with the newest one in
 * natter.schema_migrations.
 *
 * Thread: any; constant.
 */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

extern const int schema_newest;

#endif
