-- Writes a reply's log anew, whole, unless somebody has ended it: 1, or 0.
-- KEYS[1]: the log. ARGV: the start event's data; the text's position, or ''
-- where there is no text yet; the text; the log's longest life in seconds; the
-- hint for those who follow; the events besides the text, [position, name,
-- data] each, as JSON.
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
if ARGV[2] ~= '' then
  redis.call('XADD', KEYS[1], ARGV[2], 't', ARGV[3])
end
for _, event in ipairs(cjson.decode(ARGV[6])) do
  redis.call('XADD', KEYS[1], event[1], 'e', event[2], 'd', event[3])
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[1], ARGV[5])
return 1
