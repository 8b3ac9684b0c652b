-- Writes a reply's log anew, whole, unless somebody has ended it: 1, or 0.
-- KEYS[1]: the log. ARGV: the start event's data; the text's position, or ''
-- where there is no text yet; the text; the log's longest life in seconds; the
-- hint for those who follow; the events about tools, a JSON array of [n, bytes
-- of text before it, name, data]. The text between them becomes deltas under
-- the numbers before theirs.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local fields = last and last[2] or {}
for i = 1, #fields, 2 do
  if fields[i] == 'e' and (fields[i + 1] == 'done' or
      fields[i + 1] == 'error') then
    return 0
  end
end
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], '1-0', 'e', 'start', 'd', ARGV[1])
local told = 0
local function tell(bytes, position)
  if bytes > told then
    redis.call('XADD', KEYS[1], position, 't',
      string.sub(ARGV[3], told + 1, bytes))
    told = bytes
  end
end
for _, e in ipairs(cjson.decode(ARGV[6])) do
  tell(e[2], string.format('%d-%d', e[1] - 1, e[2]))
  redis.call('XADD', KEYS[1], string.format('%d-%d', e[1], e[2]), 'e', e[3],
    'd', e[4])
end
tell(#ARGV[3], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[1], ARGV[5])
return 1
