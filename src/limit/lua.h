/*
 * The scripts of charge.lua and give_back.lua as text (made by make).
 */
#ifndef LIMIT_LUA_H
#define LIMIT_LUA_H

extern const char limit_charge_lua[];
extern const char limit_give_back_lua[];

#endif
