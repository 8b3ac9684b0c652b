/*
 * The script of reply_rebuild.lua as text (made by make).
 */
#ifndef SERVER_REPLY_LOG_LUA_H
#define SERVER_REPLY_LOG_LUA_H

extern const char reply_rebuild_lua[];

#endif
