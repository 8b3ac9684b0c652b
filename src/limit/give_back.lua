-- Gives back what charge.lua charged. KEYS: buckets. ARGV: what each is given,
-- us of a bucket that fills again, 1 of a day's. What has run out by then is
-- not there any more, or below the time that it is, which counts the same.
for i, key in ipairs(KEYS) do
	local level = tonumber(redis.call('GET', key))
	if level then
		level = math.max(level - tonumber(ARGV[i]), 0)
		redis.call('SET', key, string.format('%.0f', level), 'KEEPTTL')
	end
end
return #KEYS
