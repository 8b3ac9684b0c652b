/*
 * What the caches do inside Redis. Owns the layout of ver:{user}: the fields v
 * and d, and "w:<token>" or "d:<token>" of each write that goes on. Time is
 * Redis's own, so that no host's clock matters.
 */
#include "store/cache_script.h"

/* ver:{user} outlives every value that it vouches for, in ms: 27 hours. */
#define VER_MS "97200000"

#define NOW                              \
	"local t = redis.call('TIME')\n" \
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

/*
 * Reads a user's versions; `marks` counts the writes that go on, and those of
 * them that delete. What is over is taken away: its write was decided before
 * anything could be kept again.
 */
#define STATE_OF                                     \
	"local function state_of(key)\n"             \
	"  local s = {marks = 0, deletions = 0}\n"   \
	"  local h = redis.call('HGETALL', key)\n"   \
	"  for i = 1, #h, 2 do\n"                    \
	"    if h[i] == 'v' or h[i] == 'd' then\n"   \
	"      s[h[i]] = h[i + 1]\n"                 \
	"    elseif tonumber(h[i + 1]) > now then\n" \
	"      s.marks = s.marks + 1\n"              \
	"      if h[i]:sub(1, 1) == 'd' then\n"      \
	"        s.deletions = s.deletions + 1\n"    \
	"      end\n"                                \
	"    else\n"                                 \
	"      redis.call('HDEL', key, h[i])\n"      \
	"    end\n"                                  \
	"  end\n"                                    \
	"  return s\n"                               \
	"end\n"

/* A command that a full Redis refuses: nil then. */
#define TRY                                                       \
	"local function try(...)\n"                               \
	"  local r = redis.pcall(...)\n"                          \
	"  if type(r) == 'table' and r.err then return nil end\n" \
	"  return r\n"                                            \
	"end\n"

/* Makes epoch and version where there is none. */
#define FOUND(field, fresh)                                              \
	"if not e then\n"                                                \
	"  e = " fresh "\n"                                              \
	"  if not try('SET', KEYS[1], e) then return {0} end\n"          \
	"end\n"                                                          \
	"if not s." field " then\n"                                      \
	"  s." field " = " fresh "\n"                                    \
	"  if not try('HSET', KEYS[2], '" field "', s." field ") then\n" \
	"    return {0}\n"                                               \
	"  end\n"                                                        \
	"  redis.call('PEXPIRE', KEYS[2], " VER_MS ")\n"                 \
	"end\n"

/* Enters KEYS[key] into the list KEYS[list] of at most so many. */
#define ENTER(list, key, max)                                                \
	"try('ZADD', KEYS[" list "], now, KEYS[" key "])\n"                  \
	"redis.call('PEXPIRE', KEYS[" list "], " VER_MS ")\n"                \
	"while redis.call('ZCARD', KEYS[" list "]) > " max " do\n"           \
	"  redis.call('UNLINK', redis.call('ZPOPMIN', KEYS[" list "])[1])\n" \
	"end\n"

struct redis_script cache_script_look = {
    .text = NOW STATE_OF TRY
    "local s = state_of(KEYS[2])\n"
    "if s.marks > 0 then return {0} end\n"
    "local e = redis.call('GET', KEYS[1])\n"
    "if e and s.v then\n"
    "  local stamp = e .. ' ' .. s.v .. ' ' .. ARGV[1] .. '\\n'\n"
    "  local got = redis.call('GET', KEYS[3])\n"
    "  if got and got:sub(1, #stamp) == stamp then\n"
    "    return {1, got}\n"
    "  end\n"
    "end\n"
    "local r = redis.pcall('SET', KEYS[4], ARGV[2], 'NX', 'PX', ARGV[3])\n"
    "if not r then return {3} end\n"
    "if r.err then return {0} end\n" FOUND(
	"v", "ARGV[4]") "return {2, e .. ' ' .. s.v .. ' ' .. ARGV[1]}\n",
};

struct redis_script cache_script_keep = {
    .text = NOW STATE_OF TRY
    "if redis.call('GET', KEYS[4]) == ARGV[3] then\n"
    "  redis.call('DEL', KEYS[4])\n"
    "end\n"
    "if ARGV[5] == '' then return 0 end\n"
    "local s = state_of(KEYS[2])\n"
    "local e = redis.call('GET', KEYS[1])\n"
    "if s.marks > 0 or not e or not s.v or\n"
    "    e .. ' ' .. s.v .. ' ' .. ARGV[2] ~= ARGV[1] then\n"
    "  return 0\n"
    "end\n"
    "if not try('SET', KEYS[3], ARGV[1] .. '\\n' .. ARGV[5],\n"
    "    'PX', ARGV[4]) then\n"
    "  return 0\n"
    "end\n" ENTER("5", "3", "64") "return 1\n",
};

/*
 * Where Redis has no memory for a mark, the versions are deleted instead,
 * which it can always do: nothing is kept while it has none. The values go
 * too: they would only lie there.
 */
const char cache_script_begin[] = NOW
    "local mark = (ARGV[4] == '1' and 'd:' or 'w:') .. ARGV[1]\n"
    "local ends = string.format('%.0f', now + ARGV[2])\n"
    "local function forget(list)\n"
    "  for _, key in ipairs(redis.call('ZRANGE', list, 0, -1)) do\n"
    "    redis.call('UNLINK', key)\n"
    "  end\n"
    "  redis.call('UNLINK', list)\n"
    "end\n"
    "for i = 5, #ARGV do\n"
    "  local u = '{' .. ARGV[i] .. '}'\n"
    "  local r = redis.pcall('HSET', 'ver:' .. u, 'v', ARGV[3], mark, ends)\n"
    "  if type(r) == 'table' and r.err then\n"
    "    redis.call('DEL', 'ver:' .. u)\n"
    "  else\n"
    "    if ARGV[4] == '1' then\n"
    "      redis.call('HSET', 'ver:' .. u, 'd', ARGV[3])\n"
    "    end\n"
    "    redis.call('PEXPIRE', 'ver:' .. u, " VER_MS ")\n"
    "  end\n"
    "  forget('held:' .. u)\n"
    "  if ARGV[4] == '1' then forget('kept:' .. u) end\n"
    "end\n"
    "return 1\n";

/* The versions change whether or not the mark is there still: it may have got
 * lost, and what was kept since then with it. */
const char cache_script_end[] =
    "local mark = (ARGV[4] == '1' and 'd:' or 'w:') .. ARGV[1]\n"
    "for i = 5, #ARGV do\n"
    "  local key = 'ver:{' .. ARGV[i] .. '}'\n"
    "  redis.call('HDEL', key, mark)\n"
    "  local r = redis.pcall('HSET', key, 'v', ARGV[3])\n"
    "  if type(r) == 'table' and r.err then\n"
    "    redis.call('DEL', key)\n"
    "  else\n"
    "    if ARGV[4] == '1' then redis.call('HSET', key, 'd', ARGV[3]) end\n"
    "    redis.call('PEXPIRE', key, " VER_MS ")\n"
    "  end\n"
    "end\n"
    "return 1\n";

struct redis_script cache_script_answer_look = {
    .text = NOW STATE_OF TRY
    "local s = state_of(KEYS[2])\n"
    "local e = redis.call('GET', KEYS[1])\n"
    "local got = redis.call('GET', KEYS[3])\n"
    "if e and got then\n"
    "  local e2, u, d = got:match('^(%S+) (%S+) (%S+)\\n')\n"
    "  if e2 == e then\n"
    "    local from = state_of('ver:{' .. u .. '}')\n"
    "    if from.d == d and from.deletions == 0 then\n"
    "      return {1, got}\n"
    "    end\n"
    "  end\n"
    "end\n"
    "if s.deletions > 0 then return {0} end\n"
    "local r = redis.pcall('SET', KEYS[4], ARGV[3], 'NX', 'PX', ARGV[4])\n"
    "if not r then return {3} end\n"
    "if r.err then return {0} end\n" FOUND(
	"d", "ARGV[2]") "return {2, e .. ' ' .. ARGV[1] .. ' ' .. s.d}\n",
};

struct redis_script cache_script_context_look = {
    .text = NOW STATE_OF TRY
    "local s = state_of(KEYS[2])\n"
    "local e = redis.call('GET', KEYS[1])\n"
    "if s.deletions > 0 then return {0} end\n"
    "if e and s.d then\n"
    "  local stamp = e .. ' ' .. ARGV[1] .. ' ' .. s.d .. '\\n'\n"
    "  local got = redis.call('GET', KEYS[3])\n"
    "  if got and got:sub(1, #stamp) == stamp then return {1, got} end\n"
    "end\n" FOUND(
	"d", "ARGV[2]") "return {2, e .. ' ' .. ARGV[1] .. ' ' .. s.d}\n",
};

/* Whoever waits is told, kept or not. */
struct redis_script cache_script_answer_keep = {
    .text = NOW STATE_OF TRY
    "local function keep()\n"
    "  local s = state_of(KEYS[2])\n"
    "  local e = redis.call('GET', KEYS[1])\n"
    "  local e2, d = ARGV[1]:match('^(%S+) %S+ (%S+)$')\n"
    "  if ARGV[3] == '' or s.deletions > 0 or e ~= e2 or s.d ~= d or\n"
    "      not try('SET', KEYS[3], ARGV[1] .. '\\n' .. ARGV[3],\n"
    "      'PX', ARGV[2]) then\n"
    "    return 0\n"
    "  end\n" ENTER(
	"4", "3", "256") "  return 1\n"
			 "end\n"
			 "local kept = keep()\n"
			 "if redis.call('GET', KEYS[5]) == ARGV[4] then\n"
			 "  redis.call('DEL', KEYS[5])\n"
			 "end\n"
			 "redis.pcall('PUBLISH', KEYS[3], kept)\n"
			 "return kept\n",
};

const char cache_script_answer_renew[] =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then\n"
    "  return redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
    "end\n"
    "return 0\n";

struct redis_script cache_script_tell = {
    .text =
	"if ARGV[3] ~= '1' and redis.call('GET', KEYS[2]) == ARGV[1] then\n"
	"  return 0\n"
	"end\n"
	"local r = redis.pcall('SET', KEYS[1], ARGV[2])\n"
	"if type(r) == 'table' and r.err then redis.call('DEL', KEYS[1]) end\n"
	"redis.pcall('SET', KEYS[2], ARGV[1])\n"
	"return 1\n",
};
